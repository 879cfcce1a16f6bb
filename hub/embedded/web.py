"""One web process: uvicorn with the hub's own socket protocol."""

from __future__ import annotations

import resource
from contextlib import suppress

import uvicorn

from hub.channels.ws.protocol import server_options
from hub.settings import Settings
from hub.telemetry import configure_logging

MOST_FILES = 1_048_576


def config(settings: Settings) -> uvicorn.Config:
    """Pings are the hub's own frames, and compression costs a connection 100 KB: both are off here."""
    return uvicorn.Config(
        "hub.main:create_app",
        factory=True,
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
    uvicorn.Server(config(settings)).run()


def allow_many_files() -> None:
    """A socket is a file, and the usual soft limit of 1,024 is for another kind of program."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
