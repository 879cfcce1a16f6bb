"""Plan 1, moving: gaps closed in Redis; read cursors, which are SQL's, up to what Redis has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    AppId,
    ConversationId,
    Message,
    MessageId,
    SeqKey,
    SeqKind,
    UserKey,
)
from hub.core.ports import NewId
from hub.redis_wire import Argument
from hub.store import plan1_wire as wire
from hub.store.columns import to_micros
from hub.store.plan1_commit import Bounds
from hub.store.plan1_redis import Life, Plan1Redis
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_cursors import GAP_LIMIT
from hub.store.sql_engine import Database
from hub.store.tables import metadata

CONVERSATION = metadata.tables["conversation"]
MEMBER = metadata.tables["member"]

_SENDERS = 50
# Who wrote is looked for among this many newest of the newly read, so that a year's backlog costs no scan.
_READ_WINDOW = 1_000
_readers = Insertion(
    MEMBER,
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)


class Plan1Cursors:
    """The moving half of `MessageStore`, as far as messages are concerned."""

    def __init__(self, redis: Plan1Redis, database: Database, life: Life, *, bounds: Bounds) -> None:
        self._redis = redis
        self._database = database
        self._life = life
        self._bounds = bounds
        self._gaps, self._senders = map(wire.script, ("gaps", "senders"))
        self._conversations = Listing(database.dialect, id=str)
        self._users = Listing(database.dialect, id=int)
        self._apps = select(CONVERSATION.c.id, CONVERSATION.c.app_id).where(
            CONVERSATION.c.id.in_(self._conversations.select)
        )

    async def close_gaps(
        self, gaps: Sequence[tuple[SeqKey, int, int]], *, new_id: NewId, now: datetime
    ) -> None:
        """See the port."""
        rooms = sorted({key.id for key, _, _ in gaps if key.kind is SeqKind.CONVERSATION})
        found = await self._database.rows(self._apps, self._conversations.of(rooms)) if rooms else ()
        apps = {row.id: AppId(row.app_id) for row in found}
        keys: list[str] = []
        words: list[Argument] = [self._bounds.queue, self._bounds.overflow]
        for key, first, last in gaps:
            numbers = range(first, min(last, first + GAP_LIMIT - 1) + 1)
            if key.kind is SeqKind.USER:
                words += ["u", len(numbers), *numbers]
            elif key.id in apps:
                words += ["c", len(numbers)]
                for number in numbers:
                    closed = tombstone(apps[key.id], ConversationId(key.id), number, new_id, now)
                    words += [number, closed.id, wire.member(closed), wire.record(closed)]
            else:
                continue
            keys.append(wire.sequence(key))
        if keys:
            await self._redis.ask(self._gaps, keys, *words)

    async def move_read(
        self, user: UserKey, conversation: ConversationId, seq: int
    ) -> tuple[int, int, Collection[UserKey]] | None:
        """See the port. A repeat costs one read of each and no write."""
        key = SeqKey.of_conversation(conversation)
        standing = await self._database.rows(_standing(user, conversation))
        if not standing:
            return None
        place = standing[0]
        inbox = place.kind == ConversationKind.INBOX.value
        if place.read_seq is None and not inbox:
            return None
        new = min(seq, (await self._life.heads([key]))[key])
        if new <= (place.read_seq or 0):
            return None

        async def work(connection: AsyncConnection) -> tuple[int, int] | None:
            if inbox:
                row = (conversation, user, "member", 0, 0, False, to_micros(place.created_at))
                await _readers.run(connection, self._database.dialect, [row])
            return await _move(connection, user, conversation, new)

        moved = await self._database.write(work)
        if moved is None:
            return None
        old, joined = moved
        floor = max(old, joined, new - _READ_WINDOW)
        own = wire.queue(user) if inbox else ""
        senders = await self._redis.ask(self._senders, [wire.room(conversation), own], floor, new)
        others = sorted({UserKey(int(sender)) for sender in senders} - {SYSTEM, user})
        if others and not inbox:
            others = await self._still_there(conversation, others)
        return old, new, frozenset(others[:_SENDERS])

    async def _still_there(self, conversation: ConversationId, users: Sequence[UserKey]) -> list[UserKey]:
        """Who has left is not told any more."""
        theirs = and_(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id.in_(self._users.select))
        query = select(MEMBER.c.user_id).where(theirs).order_by(MEMBER.c.user_id)
        return [UserKey(row.user_id) for row in await self._database.rows(query, self._users.of(users))]


async def _move(
    connection: AsyncConnection, user: UserKey, conversation: ConversationId, new: int
) -> tuple[int, int] | None:
    """(old cursor, joined at), or None where somebody was quicker, or the user has left."""
    own = and_(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
    locked = select(MEMBER.c.read_seq, MEMBER.c.joined_seq).where(own).with_for_update()
    found = (await connection.execute(locked)).one_or_none()
    if found is None or new <= found.read_seq:
        return None
    await connection.execute(update(MEMBER).where(own).values(read_seq=new))
    return found.read_seq, found.joined_seq


def tombstone(app: AppId, conversation: ConversationId, seq: int, new_id: NewId, now: datetime) -> Message:
    """What closes a number of a conversation that nobody used."""
    id_ = MessageId(new_id("msg"))
    return Message(id_, app, conversation, seq, SYSTEM, None, TOMBSTONE, "null", now)


def _standing(user: UserKey, conversation: ConversationId) -> Any:
    """Where a user stands in a conversation: `read_seq` None where there is no row of theirs."""
    own = and_(MEMBER.c.conversation_id == CONVERSATION.c.id, MEMBER.c.user_id == user)
    return (
        select(CONVERSATION.c.kind, CONVERSATION.c.created_at, MEMBER.c.read_seq)
        .join_from(CONVERSATION, MEMBER, own, isouter=True)
        .where(CONVERSATION.c.id == conversation)
    )
