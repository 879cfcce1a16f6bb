"""`/v1/ws` as a raw ASGI app: who may open a socket here, and the hand-over to the gateway."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from hub.channels.ws.auth import origin_allowed
from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.protocol import TAKEOVER, Takeover
from hub.settings import Settings

log = logging.getLogger("hub.ws")

SUBPROTOCOL: Final = "hub.v1"
PATH: Final = "/v1/ws"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SocketApp:
    """Mount it at `/v1/ws`; it looks at no path."""

    def __init__(self, gateway: SocketGateway, settings: Settings) -> None:
        self._gateway = gateway
        self._origins = settings.ws_origins

    def going_down(self) -> None:
        """The server stops: sockets and long polls are answered now, not when their time is over."""
        self._gateway.going_down()

    @property
    def crowded(self) -> bool:
        """Whether handshakes had better wait."""
        return self._gateway.crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "websocket":
            await _problem(
                send, "http.response", HTTPStatus.UPGRADE_REQUIRED, "upgrade_required", "open a WebSocket"
            )
            return
        await receive()
        takeover: Takeover | None = scope.get("extensions", {}).get(TAKEOVER)
        refusal = self._refusal(scope, takeover)
        if refusal is not None:
            await _problem(send, "websocket.http.response", *refusal)
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if takeover is not None:
            takeover(self._gateway.connect)

    def _refusal(self, scope: Scope, takeover: Takeover | None) -> tuple[HTTPStatus, str, str] | None:
        headers = dict(scope["headers"])
        origin, host = _text(headers.get(b"origin")), _text(headers.get(b"host"))
        if not origin_allowed(origin, host, self._origins):
            return HTTPStatus.FORBIDDEN, "origin_refused", "pages of this origin may not open sockets here"
        if SUBPROTOCOL not in scope.get("subprotocols", ()):
            return HTTPStatus.BAD_REQUEST, "subprotocol_missing", f"offer the subprotocol {SUBPROTOCOL}"
        if self._gateway.refusal is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE, self._gateway.refusal, "no more sockets here for now"
        if takeover is None:
            log.error("wrong_websocket_protocol")
            return (
                HTTPStatus.NOT_IMPLEMENTED,
                "server_misconfigured",
                "the server runs without the hub's protocol",
            )
        return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


async def _problem(send: Send, kind: str, status: HTTPStatus, code: str, detail: str) -> None:
    body = msgspec.json.encode(
        {
            "type": f"/docs/problems/{code.replace('_', '-')}",
            "title": status.phrase,
            "status": status.value,
            "code": code,
            "detail": detail,
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"2"))
    if status is HTTPStatus.UPGRADE_REQUIRED:
        headers.append((b"upgrade", b"websocket"))
    await send({"type": f"{kind}.start", "status": status.value, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
