"""The part of a batch that SQL is to have: written by whoever commits, or after them from what Redis keeps of it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Unavailable
from hub.core.ports import Batch
from hub.store import plan1_wire as wire
from hub.store import sql_batch
from hub.store.columns import to_micros
from hub.store.plan1_redis import Plan1Redis
from hub.store.sql_bulk import Clash, Insertion, Rows, insert_all
from hub.store.sql_changes import Step, Steps
from hub.store.sql_engine import Database
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata

log = logging.getLogger("hub.store")

_IN_REDIS = frozenset({"message", "queue_entry", "publish_batch"})
_MOST = 200
_marker = Insertion(metadata.tables["publish_batch"], ("id", "created_at", "published", "indexed", "refs"))


class _Kept(msgspec.Struct):
    """A part as Redis keeps it."""

    when: float
    at: int
    rows: list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]
    steps: list[tuple[str, list[dict[str, Any]]]]


_kept = msgspec.json.Decoder(_Kept)


@dataclass(slots=True)
class SqlPart:
    """Rows, and statements that were run besides."""

    at: int
    rows: Sequence[tuple[Insertion, Rows]]
    steps: list[Step] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.steps)

    def encoded(self) -> bytes:
        """For Redis; nothing where there is nothing to be done."""
        if not self:
            return b""
        rows = [(str(i.table.name), i.columns, list(some)) for i, some in self.rows]
        steps = [(sql, [dict(row) for row in some]) for sql, some in self.steps]
        return msgspec.json.encode(_Kept(time.time(), self.at, rows, steps))


def part_of(batch: Batch) -> SqlPart:
    """What of a batch is rows of SQL in plan 1."""
    plain = not batch.deliveries and not any(d.notification or d.idempotency for d in batch.drafts)
    found: Iterable[tuple[Insertion, Rows]] = (
        sql_batch.conversations_made(batch) if batch.conversations else ()
    )
    if not plain:
        found = (*found, *sql_batch.insertions(batch))
    rows = [(i, some) for i, some in found if some and i.table.name not in _IN_REDIS]
    return SqlPart(to_micros(batch.at), rows)


def recorded(steps: Steps, into: list[Step]) -> Steps:
    """The same steps, and a note of those that write."""
    try:
        step = next(steps)
        while True:
            if not step[0].startswith("SELECT"):
                into.append(step)
            step = steps.send((yield step))
    except StopIteration:
        return


async def mark(connection: AsyncConnection, database: Database, id_: str, at: int) -> None:
    """The row that says that this batch's part is there: whoever comes second fails by its key."""
    await insert_all(connection, database.dialect, [(_marker, [(id_, at, True, True, b"[]")])])


class Pending:
    """Parts that Redis keeps until SQL has them."""

    def __init__(self, redis: Plan1Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self.completed = 0
        """Parts whose committer did not live, or was not able, to see them through."""

    async def complete(self, *, older_than: timedelta, only: str | None = None) -> int:
        """See to it that SQL has what is kept for longer than this. A part whose committer is still at it is waited
        for, by the key of its marker. Returns how many were written here. Raises Unavailable."""
        kept = await self._kept(only)
        before = time.time() - older_than.total_seconds()
        done: list[str] = []
        written = 0
        for id_, raw in kept[:_MOST]:
            part = _kept.decode(raw)
            if part.when <= before:
                written += await self._write(id_, part)
                done.append(id_)
        await self.forget(done)
        self.completed += written
        return written

    async def forget(self, batches: Sequence[str]) -> None:
        """SQL has them."""
        if batches:
            await self._redis.run([("HDEL", wire.PENDING, *batches)])

    async def _kept(self, only: str | None) -> list[tuple[str, bytes]]:
        if only is not None:
            (raw,) = await self._redis.run([("HGET", wire.PENDING, only)])
            return [(only, raw)] if raw else []
        (flat,) = await self._redis.run([("HGETALL", wire.PENDING)])
        return [(id_.decode(), raw) for id_, raw in zip(flat[::2], flat[1::2], strict=True)]

    async def _write(self, id_: str, part: _Kept) -> bool:
        async def work(connection: AsyncConnection) -> None:
            await mark(connection, self._database, id_, part.at)
            rows = [(_forgiving(name, columns), some) for name, columns, some in part.rows]
            await insert_all(connection, self._database.dialect, rows)
            for sql, some in part.steps:
                await connection.execute(text(sql), some)

        try:
            await self._database.write(work)
        except (IntegrityError, sqlite3.IntegrityError) as error:
            if fault(error) is Fault.TAKEN:
                return False
            log.exception("pending_part_refused", extra={"batch": id_})
            raise Unavailable(
                "store_unavailable", "A batch could not be completed. Try again shortly."
            ) from None
        log.warning("pending_part_completed", extra={"batch": id_})
        return True


def _forgiving(name: str, columns: Sequence[str]) -> Insertion:
    """An insert that leaves alone what is there."""
    return replace(Insertion(metadata.tables[name], tuple(columns)), clash=Clash.IGNORE)
