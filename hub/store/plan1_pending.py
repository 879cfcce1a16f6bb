"""The part of a batch that SQL is to have: written by whoever commits, or after them from what Redis keeps of it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Unavailable
from hub.core.message import Change, ConversationId, Edited, Hidden, Pinned, Reacted, Recalled
from hub.core.ports import Batch
from hub.store import plan1_wire as wire
from hub.store import sql_batch
from hub.store.columns import from_micros, to_micros
from hub.store.plan1_redis import Plan1Redis
from hub.store.sql_bulk import Clash, Insertion, Rows, insert_all
from hub.store.sql_changes import Chat, Steps, Told, chat_of, chat_steps
from hub.store.sql_changes import run as run_steps
from hub.store.sql_engine import Database, Dialect
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata

log = logging.getLogger("hub.store")

_IN_REDIS = frozenset({"message", "queue_entry", "publish_batch"})
_marker = Insertion(metadata.tables["publish_batch"], ("id", "created_at", "published", "indexed", "refs"))


class _Kept(msgspec.Struct):
    """A part as Redis keeps it."""

    when: float
    at: int
    rows: list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]
    mentioned: list[dict[str, Any]]
    changes: Sequence[tuple[str, dict[str, Any], str, int, int]]
    """Name of the change, its fields, conversation, seq and time of what says so. Not the statements that were run:
    others may have changed the same meanwhile."""


_kept = msgspec.json.Decoder(_Kept)
_CHANGES: Final[Mapping[str, type[Change]]] = {
    kind.__name__: kind for kind in (Edited, Recalled, Reacted, Pinned, Hidden)
}


@dataclass(slots=True)
class SqlPart:
    """Rows, and what a batch does to other messages beside; `changed` where the latter had something to write."""

    at: int
    rows: Sequence[tuple[Insertion, Rows]]
    chat: Chat
    changed: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows) or self.changed

    def encoded(self) -> bytes:
        """For Redis; nothing where there is nothing to be done."""
        if not self:
            return b""
        rows = [(str(i.table.name), i.columns, list(some)) for i, some in self.rows]
        mentioned = [dict(row) for row in self.chat.mentioned]
        changes = [
            (type(change).__name__, _fields(change), m.conversation, m.seq, to_micros(m.created_at))
            for change, m in self.chat.changes
        ]
        return msgspec.json.encode(_Kept(time.time(), self.at, rows, mentioned, changes))


def _fields(change: Change) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(change)
    fields.pop("body", None)  # Redis has it, where it is
    return fields


def _chat_of(part: _Kept) -> Chat:
    changes: list[tuple[Change, Told]] = [
        (
            msgspec.convert({"body": "", **fields} if name == Edited.__name__ else fields, _CHANGES[name]),
            Told(ConversationId(conversation), seq, from_micros(at)),
        )
        for name, fields, conversation, seq, at in part.changes
    ]
    return Chat(part.mentioned, changes)


def part_of(batch: Batch) -> SqlPart:
    """What of a batch is rows of SQL in plan 1."""
    plain = not batch.deliveries and not any(d.notification or d.idempotency for d in batch.drafts)
    found: Iterable[tuple[Insertion, Rows]] = (
        sql_batch.conversations_made(batch) if batch.conversations else ()
    )
    if not plain:
        found = (*found, *sql_batch.insertions(batch))
    rows = [(i, some) for i, some in found if some and i.table.name not in _IN_REDIS]
    return SqlPart(to_micros(batch.at), rows, chat_of(batch))


def noted(part: SqlPart, dialect: Dialect) -> Steps:
    """The steps of its chat, and a note of it where one writes."""
    part.changed = False
    steps = chat_steps(part.chat, dialect)
    try:
        step = next(steps)
        while True:
            part.changed |= not step[0].startswith("SELECT")
            step = steps.send((yield step))
    except StopIteration:
        return


async def mark(connection: AsyncConnection, database: Database, id_: str, at: int) -> None:
    """The row that says that this batch's part is there: whoever comes second fails by its key."""
    await insert_all(connection, database.dialect, [(_marker, [(id_, at, True, True, b"[]")])])


class _Refused(Unavailable):
    """The database does not take a part, now or later."""

    def __init__(self) -> None:
        super().__init__("store_unavailable", "A batch could not be completed. Try again shortly.")


class Pending:
    """Parts that Redis keeps until SQL has them."""

    def __init__(self, redis: Plan1Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self.completed = 0
        """Parts whose committer did not live, or was not able, to see them through."""

    async def complete(self, *, older_than: timedelta, only: str | None = None, strict: bool = False) -> int:
        """See to it that SQL has what is kept for longer than this. A part whose committer is still at it is waited
        for, by the key of its marker. Returns how many were written here. Raises Unavailable; where SQL refuses a part
        for good, only if `strict`, and after the others."""
        before = time.time() - older_than.total_seconds()
        written = refused = 0
        for id_, raw in await self._kept(only):
            part = _kept.decode(raw)
            if part.when > before:
                continue
            try:
                written += await self._write(id_, part)
            except _Refused:
                refused += 1  # it stands in the way of no other, and is kept for who reads the log
                continue
            await self.forget([id_])
        self.completed += written
        if refused and strict:
            raise _Refused
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
            await run_steps(connection, chat_steps(_chat_of(part), self._database.dialect))

        try:
            await self._database.write(work)
        except (IntegrityError, sqlite3.IntegrityError) as error:
            if fault(error) is Fault.TAKEN:
                return False
            log.exception("pending_part_refused", extra={"batch": id_})
            raise _Refused from None
        log.warning("pending_part_completed", extra={"batch": id_})
        return True


def _forgiving(name: str, columns: Sequence[str]) -> Insertion:
    """An insert that leaves alone what is there."""
    return replace(Insertion(metadata.tables[name], tuple(columns)), clash=Clash.IGNORE)
