"""One web process: uvicorn with the hub's own socket protocol."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from contextlib import suppress

import uvicorn

from hub.channels.ws.protocol import server_options
from hub.embedded.doorway import Doorway
from hub.main import Entrance, create_app
from hub.settings import Settings
from hub.telemetry import configure_logging

MOST_FILES = 1_048_576
_BACKLOG = 65_535
"""Who waits to be let in; the kernel's own bound holds as well. Those beyond it come again after 1 s, 2 s, 4 s."""
_FULL_COLLECTIONS_EVERY = 200
"""Of the collections of the middle generation. Each full one stops everything for as long as it takes to look at all
that lives, a quarter of a second with some thousand sockets."""


class Server(uvicorn.Server):
    """Lets those who come in one by one, and tells the hub that it stops before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, entrance: Entrance) -> None:
        super().__init__(config)
        self._entrance = entrance

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the hub, then its door."""
        await super().startup(sockets)
        if self.started:
            self.servers = [Doorway.instead_of(server, self._protocol) for server in self.servers]  # type: ignore[misc]
            spare_pauses()

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

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
        backlog=_BACKLOG,
        access_log=False,
        log_config=None,  # the hub's own
        server_header=False,
        **server_options(settings, crowded=entrance.crowded),
    )


def serve(settings: Settings) -> None:
    """Serves until a signal comes."""
    configure_logging(settings)
    allow_many_files()
    entrance = create_app(settings)
    Server(config(settings, entrance), entrance).run()


def spare_pauses() -> None:
    """What is there now stays for good: it is never looked at again for garbage, and full collections are rare."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTIONS_EVERY)


def allow_many_files() -> None:
    """A socket is a file, and the usual soft limit of 1,024 is for another kind of program."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
