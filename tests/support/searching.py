"""Looks for what should be nowhere: in texts, in log records, in every row of a database and every key of Redis."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

from hub.redis_link import open_redis
from tests.services import AnyRedis


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


_READS: dict[bytes, Callable[[bytes], tuple[bytes | str | int, ...]]] = {
    b"string": lambda key: ("GET", key),
    b"hash": lambda key: ("HGETALL", key),
    b"list": lambda key: ("LRANGE", key, 0, -1),
    b"set": lambda key: ("SMEMBERS", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    b"stream": lambda key: ("XRANGE", key, "-", "+"),
}


async def redis_shown(server: AnyRedis) -> list[str]:
    """Every key with its value."""
    async with open_redis(server.url) as link:
        keys = await link.ask("KEYS", "*")
        kinds = await link.run([("TYPE", key) for key in keys])
        reads = [_READS[bytes(kind)](key) for key, kind in zip(keys, kinds, strict=True)]
        return [f"{key!r} {value}" for key, value in zip(keys, await link.run(reads), strict=True)]
