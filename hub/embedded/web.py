"""One web process: uvicorn with the hub's own socket protocol."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

import uvicorn

from hub.channels.ws.protocol import server_options
from hub.main import Entrance, create_app
from hub.settings import Settings
from hub.telemetry import configure_logging

MOST_FILES = 1_048_576


class Server(uvicorn.Server):
    """Tells the hub that it stops before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, entrance: Entrance) -> None:
        super().__init__(config)
        self._entrance = entrance

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept, say goodbye, wait for what runs, close the hub."""
        self._entrance.going_down()
        await super().shutdown(sockets)


def config(settings: Settings, entrance: Entrance) -> uvicorn.Config:
    """Pings are the hub's own frames, and compression costs a connection 100 KB: both are off here."""
    return uvicorn.Config(
        entrance,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        backlog=2048,
        access_log=False,
        log_config=None,  # the hub's own
        server_header=False,
        **server_options(settings),
    )


def serve(settings: Settings) -> None:
    """Serves until a signal comes."""
    configure_logging(settings)
    allow_many_files()
    entrance = create_app(settings)
    Server(config(settings, entrance), entrance).run()


def allow_many_files() -> None:
    """A socket is a file, and the usual soft limit of 1,024 is for another kind of program."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
