"""Plan 1, the group commit: rows of SQL in an open transaction, then one script that decides, then SQL's commit.

The order, and what a crash at each place leaves behind, is in docs/decisions/0018.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import SequenceTaken, StaleConversation, Unavailable
from hub.core.message import (
    RECALLED,
    ConversationId,
    Draft,
    Edited,
    Entry,
    Message,
    MessageId,
    Pinned,
    Published,
    Reacted,
    Recalled,
    UserKey,
)
from hub.core.ports import Batch
from hub.redis_wire import Argument
from hub.store import plan1_wire as wire
from hub.store import sql_batch
from hub.store import sql_rows as rows
from hub.store.columns import UtcTime, to_micros
from hub.store.plan1_pending import Pending, SqlPart, mark, noted, part_of
from hub.store.plan1_reading import Plan1Reading
from hub.store.plan1_redis import Life, Plan1Redis, away
from hub.store.sql_bulk import Listing, insert_all
from hub.store.sql_changes import blank
from hub.store.sql_changes import run as run_steps
from hub.store.sql_engine import Database
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata

CONVERSATION = metadata.tables["conversation"]
IDEMPOTENCY = metadata.tables["idempotency"]

_PATIENCE = timedelta(seconds=2)
"""No longer than a call to Redis is waited for: what comes later must not decide any more, since SQL has let go of the
conversations by then."""
EDIT = "edit"


@dataclass(frozen=True, slots=True)
class Bounds:
    """References in a queue's sorted set, in its overflow list, and messages of a conversation."""

    queue: int
    overflow: int
    history: int


class _NoLife(Exception):
    """The server has not been met before."""


@dataclass(slots=True)
class _Attempt:
    """One call of commit."""

    nonce: str
    part: SqlPart
    decided: bool = False


class Plan1Commit:
    """`MessageStore.commit` and the marks of what was published."""

    def __init__(
        self,
        redis: Plan1Redis,
        database: Database,
        life: Life,
        pending: Pending,
        reading: Plan1Reading,
        *,
        bounds: Bounds,
        idempotency_ttl: timedelta,
    ) -> None:
        self._redis = redis
        self._database = database
        self._life = life
        self._pending = pending
        self._reading = reading
        self._bounds = bounds
        self._ttl = idempotency_ttl
        self._script = wire.script("commit", "plan1_change")
        self._ids = Listing(database.dialect, id=str)
        # Shared locks, in one order, held until Redis has decided: a change of membership waits, and then sees the
        # numbers of this batch.
        self._versions = (
            select(CONVERSATION.c.id, CONVERSATION.c.version)
            .where(CONVERSATION.c.id.in_(self._ids.select))
            .order_by(CONVERSATION.c.id)
            .with_for_update(read=True)
        )
        gone: Any = bindparam("gone", expanding=True)
        self._forget_claims = delete(IDEMPOTENCY).where(
            IDEMPOTENCY.c.key.in_(self._ids.select),
            or_(IDEMPOTENCY.c.created_at < bindparam("stale", type_=UtcTime), IDEMPOTENCY.c.key.in_(gone)),
        )

    async def commit(self, batch: Batch) -> None:
        """See the port."""
        attempt = _Attempt(secrets.token_hex(wire.NONCE // 2), part_of(batch))
        gone = await self._claims_of_nobody(batch)
        try:
            await self._transact(batch, attempt, gone)
        except _NoLife:
            await self._life.begin()
            try:
                await self._transact(batch, attempt, gone)
            except _NoLife:
                raise away() from None
        if attempt.part:
            await self._let_go(batch.id)

    async def _transact(self, batch: Batch, attempt: _Attempt, gone: Sequence[str]) -> None:
        async def work(connection: AsyncConnection) -> None:
            await self._write_rows(connection, batch, attempt, gone)
            await self._decide(batch, attempt)

        try:
            await self._database.write(work)
        except (IntegrityError, sqlite3.IntegrityError) as error:
            if fault(error) is Fault.TAKEN and not attempt.decided:
                raise SequenceTaken from None
            raise
        except Exception:
            if not attempt.decided:
                raise
            # Redis has it. Without rows there was nothing to commit; with some, they are written from what it keeps.
            if attempt.part:
                await self._pending.complete(older_than=timedelta(0), only=batch.id, strict=True)

    async def _write_rows(
        self, connection: AsyncConnection, batch: Batch, attempt: _Attempt, gone: Sequence[str]
    ) -> None:
        dialect = self._database.dialect
        part = attempt.part
        made = [(i, some) for i, some in part.rows if i.table.name in ("conversation", "member")]
        await insert_all(connection, dialect, made)
        await self._check_versions(connection, batch)
        keys = sql_batch.claim_keys(batch)
        if keys:
            stale = {"stale": sql_batch.asked_at(batch) - self._ttl, "gone": list(gone)}
            await connection.execute(self._forget_claims, self._ids.of(keys) | stale)
        await insert_all(connection, dialect, [one for one in part.rows if one not in made])
        await run_steps(connection, noted(part, dialect))
        if part:
            await mark(connection, self._database, batch.id, part.at)

    async def _check_versions(self, connection: AsyncConnection, batch: Batch) -> None:
        expected = sql_batch.expected_versions(batch)
        found = await connection.execute(self._versions, self._ids.of(list(expected)))
        actual = {row.id: row.version for row in found}
        moved = [id_ for id_, version in expected.items() if actual.get(id_) != version]
        if moved:
            raise StaleConversation(moved)

    async def _claims_of_nobody(self, batch: Batch) -> Sequence[str]:
        """Idempotency-Keys of the batch that were used for messages that are gone."""
        keys = sql_batch.claim_keys(batch)
        if not keys:
            return []
        query = select(IDEMPOTENCY.c.key, IDEMPOTENCY.c.resource_id).where(
            IDEMPOTENCY.c.key.in_(self._ids.select)
        )
        found = await self._database.rows(query, self._ids.of(keys))
        alive = await self._reading.messages({MessageId(row.resource_id) for row in found})
        return [row.key for row in found if row.resource_id not in alive]

    async def _decide(self, batch: Batch, attempt: _Attempt) -> None:
        keys, words = self._packed(batch, attempt)
        word, clock = await self._redis.ask(self._script, keys, *words)
        self._redis.told(clock)
        match word:
            case b"OK" | b"DONE":
                attempt.decided = True
            case b"TAKEN":
                raise SequenceTaken
            case b"LIFE":
                raise _NoLife
            case _:
                raise away()

    def _packed(self, batch: Batch, attempt: _Attempt) -> tuple[list[str], list[Argument]]:
        """The script's keys and arguments."""
        rooms: dict[ConversationId, int] = {}
        queues: dict[UserKey, list[Entry]] = {}
        for item in batch.published:
            rooms.setdefault(item.message.conversation, len(rooms) + 1)
            for entry in item.entries:
                queues.setdefault(entry.user, []).append(entry)
        stale = sql_batch.asked_at(batch) - self._ttl
        raw = _Raw()
        messages = []
        changes: list[list[Any]] = []
        for draft, item in zip(batch.drafts, batch.published, strict=True):
            owned = wire.identities(draft, batch.at, stale)
            messages.append(_message(item, rooms[item.message.conversation], owned, raw))
            changes += _changes(draft, item.message, rooms[item.message.conversation], raw)
        value = {
            "b": batch.id,
            "n": attempt.nonce,
            "at": str(to_micros(batch.at)),
            "refs": raw.place(rows.refs_of(batch.published)),
            "p": raw.place(attempt.part.encoded()),
            "by": self._by(),
            "m": messages,
            "q": [[_reference(e) for e in sorted(some, key=_number)] for some in queues.values()],
            "e": changes,
            "done": batch.published_batches,
        }
        keys = [wire.LIFE, wire.BATCHES, *map(wire.room, rooms), *map(wire.queue, queues)]
        return keys, [len(rooms), msgspec.msgpack.encode(value), *raw.words]

    def _by(self) -> list[int]:
        bounds = self._bounds
        return [self._redis.until(_PATIENCE), bounds.queue, bounds.overflow, bounds.history]

    async def _let_go(self, batch: str) -> None:
        """SQL has its part. Where this is not noted, somebody looks, finds the marker, and notes it then."""
        try:
            await self._pending.forget([batch])
        except Unavailable:
            return

    async def mark_published(self, batches: Collection[str]) -> None:
        """See the port."""
        if batches:
            await self._redis.run([("ZREM", f"{wire.BATCHES}:unmarked", *batches)])


def _number(entry: Entry) -> int:
    return entry.user_seq


class _Raw:
    """Bytes that are no text: the engine's msgpack does not take them, so they are arguments of their own."""

    def __init__(self) -> None:
        self.words: list[Argument] = []

    def place(self, word: bytes) -> int:
        """Where the script finds it."""
        self.words.append(word)
        return len(self.words) + 2


def _message(item: Published, room: int, owned: Sequence[tuple[bytes, str, str]], raw: _Raw) -> list[Any]:
    message = item.message
    body = raw.place(wire.record(message, [key for key, _, _ in owned]))
    keys = [(raw.place(key), owner, stale) for key, owner, stale in owned]
    return [message.id, body, len(item.entries), room, message.seq, wire.member(message), keys]


def _reference(entry: Entry) -> list[Any]:
    return [entry.user_seq, wire.reference(entry), entry.inbox_seq or 0]


def _changes(draft: Draft, message: Message, room: int, raw: _Raw) -> Sequence[list[Any]]:
    """What a control message does to the body of another."""
    match draft.change:
        case Edited() as change:
            rest, how = wire.rest_of_edit(change.body, change.mentions, message.created_at), "e"
        case Recalled() as change:
            rest, how = wire.rest(RECALLED, "{}"), "r"
        case Reacted() | Pinned() as change:
            rest, how = b"", "h"
        case _:
            return []
    # What is left of a control message that edited what was taken back.
    left = wire.rest(EDIT, blank(change.message))
    return [[change.message, message.seq, raw.place(rest), how, message.id, raw.place(left), room]]
