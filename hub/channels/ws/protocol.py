"""uvicorn's WebSocket protocol for the handshake; after it, `/v1/ws` goes on with a `Connection` of its own.

The ASGI app decides (origin, version, room) and accepts as any ASGI app does, then calls
`scope["extensions"]["hub.takeover"]`, and its task ends. From then on there is no task, queue or ASGI message
for the socket, and of the handshake nothing is left in memory.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from hub.channels.ws.turnstile import Turnstile
from hub.settings import Settings

HANDSHAKES: Final = 8
"""Of sockets, in one turn of the event loop: thousands that come at once are not one turn of seconds."""
TAKEOVER: Final = "hub.takeover"


Succeed = Callable[[asyncio.Transport, set[Any]], asyncio.Protocol]
"""Makes the protocol that goes on, from the transport and the server's set of connections, which it must join."""
Takeover = Callable[[Succeed], None]


class _Nothing:
    """Stands where the transport was: what uvicorn does at the end of the handshake's task touches nobody."""

    def close(self) -> None:
        """Nothing is closed."""


_NOTHING: Final = cast("asyncio.Transport", _Nothing())


_LATER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
)


class HubHttpProtocol(HttpToolsProtocol):
    """uvicorn's, where who wants to open a socket stands in line. Requests do not: they pass those who wait."""

    def __init__(self, *args: Any, line: Turnstile, longest: int, **options: Any) -> None:
        """`longest` is how many may stand in the line."""
        super().__init__(*args, **options)
        self._line = line
        self._longest = longest
        self._in_line = False

    def handle_websocket_upgrade(self) -> None:
        """The head of a handshake has been read."""
        if len(self._line) > self._longest:
            self._later()
        else:
            self._in_line = True
            self._line.enter(self._upgrade)

    def data_received(self, data: bytes) -> None:
        """Bytes from the socket."""
        if not self._in_line:
            super().data_received(data)
        elif not self.transport.is_closing():
            self.transport.abort()  # nobody may speak before the handshake is answered

    def shutdown(self) -> None:
        """The server stops."""
        if self._in_line:
            self._later()
        else:
            super().shutdown()

    def _upgrade(self) -> None:
        self._in_line = False
        if not self.transport.is_closing():
            super().handle_websocket_upgrade()

    def _later(self) -> None:
        self.transport.write(_LATER)
        self.transport.close()


class HubWebSocketProtocol(WebSocketsSansIOProtocol):
    """Pass it to uvicorn as `ws=`; `server_options` has all that belongs to it."""

    def handle_connect(self, event: Request) -> None:
        """The handshake request has come: the app's task starts after this."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[TAKEOVER] = self._hand_over

    def _hand_over(self, succeed: Succeed) -> None:
        """Give the socket away. Call it right after `websocket.accept`, in the same task."""
        if not self.handshake_complete or self.close_sent:
            message = "the handshake must be accepted before it is taken over"
            raise RuntimeError(message)
        self.stop_keepalive()
        transport, self.transport = self.transport, _NOTHING
        self.connections.discard(self)
        transport.set_protocol(succeed(transport, cast("set[Any]", self.connections)))
        # The request was parsed by a generator that holds on to its own parser: without this the handshake would
        # stay in memory until a full garbage collection.
        self.conn.parser.close()
        cast("dict[str, Any]", self.scope["extensions"]).clear()


def server_options(settings: Settings, *, crowded: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Arguments of `uvicorn.Config` that the gateway needs: its protocols, no compression, no timers of its own,
    and a shutdown that does not wait for ever. While it is `crowded` no handshake begins."""
    line = Turnstile(HANDSHAKES, held=crowded)
    return {
        "http": partial(HubHttpProtocol, line=line, longest=settings.hello_backlog),
        "ws": HubWebSocketProtocol,
        "ws_max_size": settings.ws_max_frame,
        "ws_per_message_deflate": False,
        "ws_ping_interval": None,
        "ws_ping_timeout": None,
        "timeout_graceful_shutdown": math.ceil(settings.drain_timeout.total_seconds()) + 3,
    }
