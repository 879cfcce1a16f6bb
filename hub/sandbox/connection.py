"""Resets a connection for real. ASGI has no word for it, so uvicorn's protocol lends its transport."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final, cast

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT: Final = "sandbox.transport"
_LINGER_0: Final = struct.pack("ii", 1, 0)


class SandboxProtocol(HttpToolsProtocol):
    """Pass it to uvicorn as `http=`."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope.setdefault("extensions", {})[TRANSPORT] = self.transport


class _Reset(Response):
    """Sends nothing but a TCP reset."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI
        """Linger 0 makes the kernel send RST; then the app ends as if its client had gone."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self._transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


def reset_connection(request: Request) -> Response:
    """A response that resets the connection; HTTP 502 on a server that does not lend its transport."""
    transport = request.scope.get("extensions", {}).get(TRANSPORT)
    return Response(status_code=502) if transport is None else _Reset(transport)
