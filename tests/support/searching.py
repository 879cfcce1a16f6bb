"""Looks for what should be nowhere: in texts, in log records, in every row of a database and every key of Redis."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from tests.services import RedisServer


def search(where: str, texts: list[str], wanted: dict[str, str]) -> None:
    """Fails for any of these that is in any of those."""
    assert texts, where
    for name, secret in wanted.items():
        found = [text for text in texts if secret in text]
        assert not found, f"{where}: {name} in {found[0][:600]}"


def record_shown(record: logging.LogRecord) -> str:
    """All that a handler could print of a record."""
    raised = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return f"{record.name} {record.getMessage()} {record.__dict__} {raised}"


def rows_of(folder: Path, but_for: set[str] | None = None) -> list[str]:
    """Every row of every table."""
    (file,) = folder.glob("*.db")
    with sqlite3.connect(file) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [
            f"{name} {row}"
            for name in names
            if name not in (but_for or set())
            for row in connection.execute(f'SELECT * FROM "{name}"')
        ]


async def redis_shown(server: RedisServer) -> list[str]:
    """Every key with its value."""
    link = redis.from_url(server.url)
    reads: dict[Any, Callable[[Any], Any]] = {
        b"string": link.get,
        b"hash": link.hgetall,
        b"list": lambda key: link.lrange(key, 0, -1),
        b"set": link.smembers,
        b"zset": lambda key: link.zrange(key, 0, -1, withscores=True),
        b"stream": link.xrange,
    }
    found = [f"{key!r} {await reads[await link.type(key)](key)}" for key in await link.keys()]
    await link.aclose()
    return found
