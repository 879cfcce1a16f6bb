"""uvicorn's WebSocket protocol for the handshake; after it, `/v1/ws` goes on with a `Connection` of its own.

The ASGI app decides (origin, version, room) and accepts as any ASGI app does, then calls
`scope["extensions"]["hub.takeover"]`, and its task ends. From then on there is no task, queue or ASGI message
for the socket, and of the handshake nothing is left in memory.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from hub.settings import Settings

TAKEOVER: Final = "hub.takeover"


Succeed = Callable[[asyncio.Transport, set[Any]], asyncio.Protocol]
"""Makes the protocol that goes on, from the transport and the server's set of connections, which it must join."""
Takeover = Callable[[Succeed], None]


class _Nothing:
    """Stands where the transport was: what uvicorn does at the end of the handshake's task touches nobody."""

    def close(self) -> None:
        """Nothing is closed."""


_NOTHING: Final = cast("asyncio.Transport", _Nothing())


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


def server_options(settings: Settings) -> dict[str, Any]:
    """Arguments of `uvicorn.Config` that the gateway needs: its protocol, no compression, no timers of its own,
    and a shutdown that does not wait for ever."""
    return {
        "ws": HubWebSocketProtocol,
        "ws_max_size": settings.ws_max_frame,
        "ws_per_message_deflate": False,
        "ws_ping_interval": None,
        "ws_ping_timeout": None,
        "timeout_graceful_shutdown": math.ceil(settings.drain_timeout.total_seconds()) + 3,
    }
