"""Reading what was committed: conversations, heads, queues, bodies, history and batches to publish again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, case, exists, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import (
    FREE,
    Conversation,
    ConversationKind,
    Fanout,
    Membership,
    Role,
    Speech,
)
from hub.core.message import (
    AppId,
    ConversationId,
    Entry,
    Message,
    MessageId,
    Published,
    QueueSpan,
    SeqKey,
    SeqKind,
    UserKey,
)
from hub.store import sql_rows as rows
from hub.store.schema import metadata
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database
from hub.store.sql_spans import SPANS, Spans

CONVERSATION = metadata.tables["conversation"]
HIDDEN = metadata.tables["hidden"]
MEMBER = metadata.tables["member"]
MESSAGE = metadata.tables["message"]
PUBLISH_BATCH = metadata.tables["publish_batch"]
QUEUE_ENTRY = metadata.tables["queue_entry"]
RETENTION_FLOOR = metadata.tables["retention_floor"]

# Bodies fetched by one statement: bounds its memory and time.
_BODIES = 2_000
_LEADERS = (Role.OWNER.value, Role.ADMIN.value)
_entry_columns = [QUEUE_ENTRY.c[name] for name in rows.ENTRY_COLUMNS]
# Whether pages of this conversation have to be looked through for what the member has hidden.
_HIDES = (
    exists()
    .where(HIDDEN.c.user_id == MEMBER.c.user_id, HIDDEN.c.conversation_id == MEMBER.c.conversation_id)
    .label("hides")
)
_message_columns = [MESSAGE.c[name] for name in rows.MESSAGE_COLUMNS]


class SqlMessages:
    """The reading half of `MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = Listing(database.dialect, id=str)
        self._numbers = Listing(database.dialect, id=int)
        self._conversations = _snapshots(self._ids)
        self._spans = Spans(database.dialect)
        self._bodies = select(*_message_columns).where(MESSAGE.c.id.in_(self._ids.select))
        self._user_heads = user_heads(self._numbers)
        self._conversation_heads = conversation_heads(self._ids)

    async def conversations(self, ids: Collection[ConversationId]) -> Mapping[ConversationId, Conversation]:
        """See the port."""
        found = await self._database.rows(self._conversations, self._ids.of(list(ids)))
        by_id: dict[ConversationId, list[Row[Any]]] = {}
        for row in found:
            by_id.setdefault(row.id, []).append(row)
        return {id_: _snapshot(some) for id_, some in by_id.items()}

    async def membership(self, conversation: ConversationId, user: UserKey) -> Membership | None:
        """See the port."""
        query = select(MEMBER, _HIDES).where(
            MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user
        )
        found = await self._database.rows(query)
        return next((_membership(row) for row in found), None)

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """See the port. One query for users, one for conversations."""
        users = [int(key.id) for key in keys if key.kind is SeqKind.USER]
        conversations = [key.id for key in keys if key.kind is SeqKind.CONVERSATION]
        found = dict.fromkeys(keys, 0)

        async def work(connection: AsyncConnection) -> None:
            if users:
                heads = await connection.execute(self._user_heads, self._numbers.of(users))
                found.update((SeqKey(SeqKind.USER, str(id_)), head or 0) for id_, head in heads)
            if conversations:
                heads = await connection.execute(self._conversation_heads, self._ids.of(conversations))
                found.update((SeqKey(SeqKind.CONVERSATION, id_), head or 0) for id_, head in heads)

        await self._database.read(work)
        return found

    async def entries(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry]:
        """See the port."""
        query = (
            by_number(select(*_entry_columns))
            .where(QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.user_seq > after)
            .order_by(QUEUE_ENTRY.c.user_seq)
            .limit(limit)
        )
        found = await self._database.rows(query)
        return [Entry(user, row.user_seq, row.message_id, row.inbox_seq) for row in found]

    async def entries_of(self, wants: Sequence[QueueSpan]) -> Mapping[QueueSpan, Sequence[Entry]]:
        """See the port. Some dozens are one statement."""
        found: dict[QueueSpan, list[Entry]] = {want: [] for want in wants}

        async def work(connection: AsyncConnection) -> None:
            for start in range(0, len(wants), SPANS):
                some = wants[start : start + SPANS]
                for row in await connection.execute(*self._spans.of(some)):
                    want = some[row.place]
                    found[want].append(Entry(want.user, row.user_seq, row.message_id, row.inbox_seq))

        await self._database.read(work)
        for entries in found.values():
            entries.sort(key=_number)
        return found

    async def floor(self, key: SeqKey) -> int:
        """See the port."""
        query = select(RETENTION_FLOOR.c.seq).where(
            RETENTION_FLOOR.c.kind == key.kind.value, RETENTION_FLOOR.c.id == key.id
        )
        found = await self._database.rows(query)
        return int(found[0].seq) if found else 0

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """See the port."""
        listed = list(ids)

        async def work(connection: AsyncConnection) -> Mapping[MessageId, Message]:
            return await self._load(connection, listed)

        return await self._database.read(work)

    async def history(
        self, conversation: ConversationId, *, after: int | None, before: int | None, limit: int
    ) -> Sequence[Message]:
        """See the port."""
        query = select(*_message_columns).where(MESSAGE.c.conversation_id == conversation)
        return await self._page(query, MESSAGE.c.seq, after=after, before=before, limit=limit)

    async def inbox_history(
        self,
        user: UserKey,
        conversation: ConversationId,
        *,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Message]:
        """See the port."""
        query = (
            select(*_message_columns)
            .join_from(QUEUE_ENTRY, MESSAGE, MESSAGE.c.id == QUEUE_ENTRY.c.message_id)
            .where(
                QUEUE_ENTRY.c.user_id == user,
                # Said for the index, which holds inbox references only.
                QUEUE_ENTRY.c.inbox_seq.is_not(None),
            )
        )
        place = QUEUE_ENTRY.c.inbox_seq
        page = await self._page(query, place, after=after, before=before, limit=limit)
        # Not said in SQL, where it could make the whole inbox look like a good place to begin.
        return [message for message in page if message.conversation == conversation]

    async def _page(
        self, query: Select[Any], place: Any, *, after: int | None, before: int | None, limit: int
    ) -> Sequence[Message]:
        if after is not None:
            query = query.where(place > after)
        if before is not None:
            query = query.where(place < before)
        order = place.desc() if after is None else place
        found = await self._database.rows(query.order_by(order).limit(limit))
        page = [rows.message_of(row) for row in found]
        return page[::-1] if after is None else page

    async def unpublished(self, *, before: datetime, limit: int) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port. Messages that retention has removed meanwhile are left out."""
        query = (
            select(PUBLISH_BATCH.c.id, PUBLISH_BATCH.c.created_at, PUBLISH_BATCH.c.refs)
            .where(PUBLISH_BATCH.c.published.is_(False), PUBLISH_BATCH.c.created_at < before)
            .order_by(PUBLISH_BATCH.c.created_at, PUBLISH_BATCH.c.id)
            .limit(limit)
        )
        return await self._remembered(query)

    async def committed_since(
        self, since: datetime, *, limit: int, skip: int = 0
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port; oldest first."""
        columns = (PUBLISH_BATCH.c.id, PUBLISH_BATCH.c.created_at, PUBLISH_BATCH.c.refs)
        # In two halves, because the index begins with `published`.
        halves = union_all(
            *(
                select(*columns).where(
                    PUBLISH_BATCH.c.published.is_(published),
                    PUBLISH_BATCH.c.created_at >= since,
                )
                for published in (False, True)
            )
        ).subquery("halves")
        query = select(halves).order_by(halves.c.created_at, halves.c.id).limit(limit).offset(skip)
        return await self._remembered(query)

    async def _remembered(self, query: Select[Any]) -> Sequence[tuple[str, Sequence[Published]]]:
        async def work(connection: AsyncConnection) -> Sequence[tuple[str, Sequence[Published]]]:
            found = await connection.execute(query)
            batches = [(row.id, rows.refs_from(row.refs)) for row in found]
            wanted = {MessageId(message) for _, refs in batches for message, _, _ in refs}
            bodies = await self._load(connection, list(wanted))
            return [(id_, rows.published_of(refs, bodies)) for id_, refs in batches]

        return await self._database.read(work)

    async def _load(
        self, connection: AsyncConnection, ids: Sequence[MessageId]
    ) -> Mapping[MessageId, Message]:
        found: dict[MessageId, Message] = {}
        for start in range(0, len(ids), _BODIES):
            some = self._ids.of(ids[start : start + _BODIES])
            for row in await connection.execute(self._bodies, some):
                found[row.id] = rows.message_of(row)
        return found


def _number(entry: Entry) -> int:
    return entry.user_seq


def _membership(row: Row[Any]) -> Membership:
    return Membership(
        role=Role(row.role),
        joined_seq=row.joined_seq,
        read_seq=row.read_seq,
        silenced_until=row.silenced_until,
        cleared_seq=getattr(row, "cleared_seq", 0),
        hides=bool(row.hides),
    )


def _snapshots(ids: Listing) -> Select[Any]:
    """Conversations with their members in one statement, so that both are of one moment.

    Nobody is a member of an inbox: the rows there are read cursors.
    """
    has_members = and_(
        CONVERSATION.c.fanout == Fanout.WRITE.value, CONVERSATION.c.kind != ConversationKind.INBOX.value
    )
    # In the key that is looked for: beside it, databases read all members of a large group and pass over each.
    theirs = MEMBER.c.conversation_id == case((has_members, CONVERSATION.c.id))
    return (
        select(
            CONVERSATION.c.id,
            CONVERSATION.c.app_id,
            CONVERSATION.c.kind,
            CONVERSATION.c.fanout,
            CONVERSATION.c.version,
            CONVERSATION.c.silenced,
            CONVERSATION.c.dissolved_at,
            CONVERSATION.c.is_open,
            MEMBER.c.user_id,
            MEMBER.c.role,
            MEMBER.c.silenced_until,
            MEMBER.c.blocked,
        )
        .join_from(CONVERSATION, MEMBER, theirs, isouter=True)
        .where(CONVERSATION.c.id.in_(ids.select))
        .order_by(CONVERSATION.c.id, MEMBER.c.user_id)
    )


def _snapshot(found: Sequence[Row[Any]]) -> Conversation:
    first = found[0]
    members = [row for row in found if row.user_id is not None]
    return Conversation(
        id=ConversationId(first.id),
        app=AppId(first.app_id),
        kind=ConversationKind(first.kind),
        fanout=Fanout(first.fanout),
        version=first.version,
        members=tuple(UserKey(row.user_id) for row in members),
        readonly=frozenset(UserKey(row.user_id) for row in members if row.role == Role.READONLY.value),
        speech=_speech(first, members),
        blocked=frozenset(UserKey(row.user_id) for row in members if row.blocked),
    )


def _speech(conversation: Row[Any], members: Sequence[Row[Any]]) -> Speech:
    """Most conversations are as free as any: they share one value."""
    silenced_until = {
        UserKey(row.user_id): row.silenced_until for row in members if row.silenced_until is not None
    }
    restricted = conversation.silenced or conversation.dissolved_at is not None or conversation.is_open
    if not restricted and not silenced_until:
        return FREE
    leaders = [row.user_id for row in members if row.role in _LEADERS] if conversation.silenced else ()
    return Speech(
        silenced=bool(conversation.silenced),
        leaders=frozenset(map(UserKey, leaders)),
        silenced_until=silenced_until,
        dissolved=conversation.dissolved_at is not None,
        open=bool(conversation.is_open),
    )


def by_number(query: Select[Any]) -> Select[Any]:
    """A query of a queue in its own order. MySQL may think the inbox's index better, and then sorts the queue."""
    return query.with_hint(QUEUE_ENTRY, "FORCE INDEX (PRIMARY)", "mysql")


def user_heads(numbers: Listing) -> Select[Any]:
    listed = numbers.select.subquery("listed")
    # One step from the end of each user's index, where max() with GROUP BY may read it whole.
    head = (
        by_number(select(QUEUE_ENTRY.c.user_seq))
        .where(QUEUE_ENTRY.c.user_id == listed.c.id)
        .order_by(QUEUE_ENTRY.c.user_seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(listed.c.id, head)


def conversation_heads(ids: Listing) -> Select[Any]:
    listed = ids.select.subquery("listed")
    head = (
        select(MESSAGE.c.seq)
        .where(MESSAGE.c.conversation_id == listed.c.id)
        .order_by(MESSAGE.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(listed.c.id, head)
