"""An echo server on the gateway's own wire, for the Autobahn fuzzing client (`wstest -m fuzzingclient`).

    python -m bench.echo [port]

Everything of the gateway but its sessions: uvicorn's handshake, the take-over, `Connection` and the parser.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import uvicorn

from hub.channels.ws.codes import Parting
from hub.channels.ws.connection import Connection
from hub.channels.ws.protocol import TAKEOVER, server_options
from hub.channels.ws.session import Rules, Session
from hub.channels.ws.wire import Op, close_frame, head
from hub.settings import Settings

LIMIT = 16_777_216
RULES = Rules(frames_per_second=1_000_000_000, body_bytes=LIMIT)


class EchoConnection(Connection):
    """Echoes binary too, which the hub's subprotocol does not have."""

    __slots__ = ()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == Op.BINARY and not self.closed:
            self.write(head(len(payload), Op.BINARY) + payload)
        else:
            super()._take(opcode, payload)


class Echo:
    """The gateway of an echo server: no sessions, no bye."""

    def received(self, link: Connection, data: bytes) -> None:
        """Said back."""
        link.send(data)

    def noise(self, link: Connection) -> None:
        """Free here."""

    def violated(self, link: Connection, parting: Parting, detail: str) -> None:
        """Closed with the code that the standard asks for."""
        link.write(close_frame(parting.code, detail))
        link.closed = True
        link.linger()

    def full(self, link: Connection) -> None:
        """Buffered without a bound: the fuzzing client reads."""

    def drained(self, link: Connection) -> None:
        """Nothing was held back."""

    def closing(self, link: Connection) -> None:
        """Whoever does not answer stays."""

    def lost(self, link: Connection) -> None:
        """Nothing to forget."""

    def going_down(self) -> None:
        """Nobody is told."""


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """Accepts everybody."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    scope["extensions"][TAKEOVER](
        lambda transport, siblings: EchoConnection(
            transport, Echo(), siblings, Session(RULES, now=0.0), limit=LIMIT, opened=0.0
        )
    )


def main() -> None:
    """Serve until interrupted."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9_001
    settings = Settings(ws_max_frame=LIMIT, drain_timeout=timedelta(seconds=1))
    uvicorn.run(app, port=port, log_level="warning", lifespan="off", **server_options(settings))


if __name__ == "__main__":
    main()
