"""Logging: one event a line, constant name, fields beside it; JSON where a machine reads it."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from hub.settings import Settings

_SECRET_WORDS = ("token", "secret", "password", "authorization", "api_key", "cookie")


def configure_logging(settings: Settings) -> None:
    """Route the standard library's logging through structlog. Call once, at the start of a process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
        _without_colour,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    if root.level > logging.DEBUG:
        # uvicorn says two lines for every socket; a reconnect storm needs no log of its own
        for noisy in ("uvicorn.access", "uvicorn.error", "aiosqlite", "websockets"):
            logging.getLogger(noisy).setLevel(logging.WARNING)


def _without_colour(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    """uvicorn repeats its messages with escape codes."""
    event.pop("color_message", None)
    return event


def redact(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    """A secret must never be logged; where a field is named like one, only that it was there is kept."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "[redacted]"
    return event
