"""One web process: uvicorn with the hub's own socket protocol."""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from datetime import timedelta

import uvicorn

from hub.settings import Settings
from hub.telemetry import configure_logging

AFTER_DRAIN = timedelta(seconds=3)
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
        ws="hub.channels.ws.protocol:HubWebSocketProtocol",
        ws_max_size=settings.ws_max_frame,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        backlog=2048,
        access_log=False,
        log_config=None,  # the hub's own
        server_header=False,
        timeout_graceful_shutdown=math.ceil((settings.drain_timeout + AFTER_DRAIN).total_seconds()),
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
