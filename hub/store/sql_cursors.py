"""Small moves after the commit: gaps closed, device and read cursors forward."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, and_, func, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.contact_ports import Glimpse, Unseen
from hub.core.conversation import ConversationKind
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    AppId,
    ConversationId,
    DeviceKey,
    Message,
    MessageId,
    SeqKey,
    SeqKind,
    UserKey,
)
from hub.core.ports import NewId
from hub.store import sql_rows as rows
from hub.store.columns import to_micros
from hub.store.schema import metadata
from hub.store.sql_bulk import Clash, Insertion, Listing, insert_all
from hub.store.sql_engine import Database

CONVERSATION = metadata.tables["conversation"]
DEVICE = metadata.tables["device"]
HIDDEN = metadata.tables["hidden"]
MEMBER = metadata.tables["member"]
MESSAGE = metadata.tables["message"]
QUEUE_ENTRY = metadata.tables["queue_entry"]

GAP_LIMIT = 1_000
"""Numbers of one gap that a call closes at most; the next call goes on."""
_DEVICES = 2_000
_SENDERS = 50
# Who wrote is looked for among this many newest of the newly read, so that a year's backlog costs no scan.
_READ_WINDOW = 1_000

_closed_entries = Insertion(QUEUE_ENTRY, rows.ENTRY_COLUMNS, Clash.IGNORE)
_closed_messages = Insertion(MESSAGE, rows.MESSAGE_COLUMNS, Clash.IGNORE)
_readers = Insertion(
    MEMBER,
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)


class SqlCursors:
    """The moving half of `MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._acked = Listing(self._dialect, id=int, seq=int)
        self._users = Listing(self._dialect, id=int)
        self._conversations = Listing(self._dialect, id=str)
        self._apps = select(CONVERSATION.c.id, CONVERSATION.c.app_id).where(
            CONVERSATION.c.id.in_(self._conversations.select)
        )
        self._spans = Listing(self._dialect, viewer=int, id=str, low=int, high=int)
        self._unseen = _unseen(self._spans)
        acked = self._acked.select.subquery("acked")
        self._forward = (
            update(DEVICE)
            .where(DEVICE.c.id == acked.c.id, DEVICE.c.cursor < acked.c.seq)
            .values(cursor=acked.c.seq)
        )

    async def close_gaps(
        self, gaps: Sequence[tuple[SeqKey, int, int]], *, new_id: NewId, now: datetime
    ) -> None:
        """See the port. In one order, so that two nodes cannot wait for each other."""
        numbers = sorted(
            (key.kind, key.id, number)
            for key, first, last in gaps
            for number in range(first, min(last, first + GAP_LIMIT - 1) + 1)
        )
        entries = [(int(id_), number, None, None) for kind, id_, number in numbers if kind is SeqKind.USER]
        missing = [(id_, number) for kind, id_, number in numbers if kind is SeqKind.CONVERSATION]

        async def work(connection: AsyncConnection) -> None:
            asked = self._conversations.of(sorted({id_ for id_, _ in missing}))
            apps = (
                {row.id: row.app_id for row in await connection.execute(self._apps, asked)} if missing else {}
            )
            tombstones = [
                rows.message_values(_tombstone(AppId(apps[id_]), ConversationId(id_), number, new_id, now))
                for id_, number in missing
                if id_ in apps
            ]
            await insert_all(
                connection, self._dialect, [(_closed_entries, entries), (_closed_messages, tombstones)]
            )

        if numbers:
            await self._database.write(work)

    async def move_cursors(self, cursors: Mapping[DeviceKey, int]) -> None:
        """See the port."""
        # In one order, so that two nodes cannot wait for each other.
        moves = sorted(cursors.items())
        for start in range(0, len(moves), _DEVICES):
            some = self._acked.of(moves[start : start + _DEVICES])
            await self._database.write(partial(self._move_forward, moves=some))

    async def acknowledged(self, users: Collection[UserKey]) -> Mapping[UserKey, int]:
        """See the port."""
        query = (
            select(DEVICE.c.user_id, func.max(DEVICE.c.cursor).label("reached"))
            .where(DEVICE.c.user_id.in_(self._users.select))
            .group_by(DEVICE.c.user_id)
        )
        found = await self._database.rows(query, self._users.of(sorted(users)))
        return {UserKey(row.user_id): int(row.reached) for row in found}

    async def unseen_of(self, glimpses: Sequence[Glimpse]) -> Mapping[UserKey, Unseen]:
        """See contact_ports.ClearedMarks."""
        cleared: dict[UserKey, dict[ConversationId, int]] = {}
        hidden: dict[UserKey, set[tuple[ConversationId, int]]] = {}
        for row in await self._database.rows(self._unseen, self._spans.of(glimpses)):
            user, place = UserKey(row.user_id), ConversationId(row.conversation_id)
            if row.cleared:
                cleared.setdefault(user, {})[place] = row.seq
            else:
                hidden.setdefault(user, set()).add((place, row.seq))
        return {
            user: Unseen(cleared.get(user, {}), frozenset(hidden.get(user, ())))
            for user in cleared.keys() | hidden.keys()
        }

    async def _move_forward(self, connection: AsyncConnection, moves: Mapping[str, Any]) -> None:
        await connection.execute(self._forward, moves)

    async def move_read(
        self, user: UserKey, conversation: ConversationId, seq: int
    ) -> tuple[int, int, Collection[UserKey]] | None:
        """See the port. A repeat costs one read and no write."""
        standing = await self._database.rows(_standing(user, conversation))
        if not standing or not _moves(standing[0], seq):
            return None

        async def work(connection: AsyncConnection) -> tuple[int, int, Collection[UserKey]] | None:
            return await self._move_read(connection, user, conversation, seq)

        return await self._database.write(work)

    async def _move_read(
        self, connection: AsyncConnection, user: UserKey, conversation: ConversationId, seq: int
    ) -> tuple[int, int, Collection[UserKey]] | None:
        own = and_(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
        place = (await connection.execute(_standing(user, conversation))).one_or_none()
        if place is None or not _moves(place, seq):
            return None
        if place.read_seq is None:
            since = to_micros(place.created_at)
            row = (conversation, user, "member", 0, 0, False, since)
            await _readers.run(connection, self._dialect, [row])
        locked = select(MEMBER.c.read_seq, MEMBER.c.joined_seq).where(own).with_for_update()
        mine = (await connection.execute(locked)).one_or_none()
        if mine is None:
            return None  # taken out a moment ago
        old, joined = mine
        new = min(seq, place.head or 0)
        if new <= old:
            return None
        await connection.execute(update(MEMBER).where(own).values(read_seq=new))
        inbox = place.kind == ConversationKind.INBOX.value
        floor = max(old, joined, new - _READ_WINDOW)
        query = _senders_to(user, conversation, inbox=inbox, floor=floor, new=new)
        senders = await connection.scalars(query)
        return old, new, frozenset(UserKey(sender) for sender in senders)


def _tombstone(app: AppId, conversation: ConversationId, seq: int, new_id: NewId, now: datetime) -> Message:
    id_ = MessageId(new_id("msg"))
    return Message(id_, app, conversation, seq, SYSTEM, None, TOMBSTONE, "null", now)


def _unseen(spans: Listing) -> Any:
    """What viewers have cleared (1) and hidden (0) in conversations, of which the spans are listed."""
    listed = spans.select.subquery("listed")
    cleared = select(
        MEMBER.c.user_id,
        MEMBER.c.conversation_id,
        MEMBER.c.cleared_seq.label("seq"),
        literal(1).label("cleared"),
    )
    hidden = select(HIDDEN.c.user_id, HIDDEN.c.conversation_id, HIDDEN.c.seq, literal(0).label("cleared"))
    there = HIDDEN.c.conversation_id == listed.c.id
    return union_all(
        cleared.join_from(listed, MEMBER, MEMBER.c.conversation_id == listed.c.id).where(
            MEMBER.c.user_id == listed.c.viewer, MEMBER.c.cleared_seq > 0
        ),
        hidden.join_from(listed, HIDDEN, there).where(
            HIDDEN.c.user_id == listed.c.viewer, HIDDEN.c.seq.between(listed.c.low, listed.c.high)
        ),
    )


def _standing(user: UserKey, conversation: ConversationId) -> Any:
    """Where a user stands in a conversation: `read_seq` None where there is no row of theirs."""
    head = (
        select(MESSAGE.c.seq)
        .where(MESSAGE.c.conversation_id == conversation)
        .order_by(MESSAGE.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    own = and_(MEMBER.c.conversation_id == CONVERSATION.c.id, MEMBER.c.user_id == user)
    return (
        select(CONVERSATION.c.kind, CONVERSATION.c.created_at, MEMBER.c.read_seq, head.label("head"))
        .join_from(CONVERSATION, MEMBER, own, isouter=True)
        .where(CONVERSATION.c.id == conversation)
    )


def _moves(place: Row[Any], seq: int) -> bool:
    """Only an inbox is everybody's: elsewhere, who is not a member has no cursor."""
    if place.read_seq is None and place.kind != ConversationKind.INBOX.value:
        return False
    return min(seq, place.head or 0) > (place.read_seq or 0)


def _senders_to(user: UserKey, conversation: ConversationId, *, inbox: bool, floor: int, new: int) -> Any:
    """Who wrote what was newly read. In an inbox only what this user was sent counts."""
    query = select(MESSAGE.c.sender_id).where(
        MESSAGE.c.conversation_id == conversation,
        MESSAGE.c.seq > floor,
        MESSAGE.c.seq <= new,
        MESSAGE.c.sender_id.not_in([SYSTEM, user]),
    )
    if not inbox:
        still = select(MEMBER.c.user_id).where(
            MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == MESSAGE.c.sender_id
        )
        query = query.where(still.correlate(MESSAGE).exists())
    if inbox:
        mine = select(func.count()).where(
            QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.inbox_seq == MESSAGE.c.seq
        )
        query = query.where(mine.correlate(MESSAGE).scalar_subquery() > 0)
    return query.distinct().limit(_SENDERS)
