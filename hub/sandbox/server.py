"""uvicorn around the application, ending its streams first so that it can stop."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import uvicorn

from hub.sandbox.app import new_app
from hub.sandbox.connection import SandboxProtocol
from hub.sandbox.world import World

log = logging.getLogger("hub.sandbox")


class SandboxServer(uvicorn.Server):
    """A server for one world. `run()` in a main thread or in another one; `should_exit` stops it."""

    def __init__(
        self, world: World, *, host: str = "127.0.0.1", port: int = 0, folder: Path | None = None
    ) -> None:
        self.world = world
        super().__init__(
            uvicorn.Config(
                new_app(world, folder=folder),
                host=host,
                port=port,
                http=SandboxProtocol,
                ws="none",
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=2,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Binds, and tells where."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("sandbox.serving", extra={"url": f"http://{host}:{port}/"})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, then what uvicorn ends."""
        self.world.feed.close()
        await super().shutdown(sockets)
