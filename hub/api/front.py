"""What every HTTP request passes: an id, a bound on its body, security headers on its answer, and the metrics."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.deps import rate_of
from hub.api.metrics import RequestMetrics
from hub.api.problems import Problem, answer

log = logging.getLogger("hub.api")

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_UPLOADS: Final = "/v1/media"
"""Files come here, as streams that nobody keeps in memory."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
)


class Front:
    """The outermost layer of ours. Sockets pass untouched."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: RequestMetrics,
        max_bytes: int,
        max_upload: int,
        new_id: Callable[[str], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_upload = max_upload
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"] = dict(scope.get("state", {}))
        state["request_id"] = self._id_of(scope)
        outgoing = _Outgoing(scope, send)
        started = time.perf_counter()
        try:
            await self._bounded(scope, receive, outgoing)
        finally:
            self._metrics.note(
                scope["method"] if scope["method"] in _METHODS else "other",
                _template(scope),
                outgoing.status,
                time.perf_counter() - started,
            )

    async def _bounded(self, scope: Scope, receive: Receive, outgoing: _Outgoing) -> None:
        most = self._max_upload if scope["path"] == _UPLOADS else self._max_bytes
        too_large = f"The body is larger than {most:,} bytes."
        if _length(scope) > most:
            await answer(Request(scope), "body_too_large", too_large)(scope, receive, outgoing)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise Problem("body_too_large", too_large)
            return message

        await self._app(scope, counted, outgoing)

    def _id_of(self, scope: Scope) -> str:
        """The caller's own id, if it is one that can stand in a log line; else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return str(value.decode("ascii"))
        return self._new_id("req")


class _Outgoing:
    """Adds what every answer carries, unless the answer says otherwise."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status = 500
        self._scope = scope
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS if name not in present]
            headers.append((b"x-request-id", self._scope["state"]["request_id"].encode("ascii")))
            rate = rate_of(self._scope)
            if rate is not None and b"ratelimit" not in present:
                headers += [(k.lower().encode(), v.encode()) for k, v in rate.headers().items()]
            message = {**message, "headers": headers}
        await self._send(message)


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _template(scope: Scope) -> str:
    """The path as the router knows it, so that ids do not become labels."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unmatched"))
