"""Reading what people did to messages: reactions, pins, who has read, what one user hid. No bodies are read here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Row, Select, and_, bindparam, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.chat_ports import COUNTED, Person, PinnedMessage, ReaderCounts, Readers, Standing
from hub.core.message import AppId, ConversationId, MessageId, ReactionCount, UserKey
from hub.store.schema import metadata
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database

CONVERSATION = metadata.tables["conversation"]
HIDDEN = metadata.tables["hidden"]
MEMBER = metadata.tables["member"]
PIN = metadata.tables["pin"]
REACTION = metadata.tables["reaction"]
REACTION_COUNT = metadata.tables["reaction_count"]
USER = metadata.tables["user"]

_SCANNED: Final = 5_000
"""Members looked at for a count: who came later has read what was said before, and does not count."""
_WINDOW: Final = 1_000
"""Members looked at for a page of readers."""


class SqlChat:
    """`ChatStore`. The same for every storage plan."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = Listing(database.dialect, id=str)
        ids = self._ids.select
        place: BindParameter[str] = bindparam("conversation")
        app = select(CONVERSATION.c.app_id).where(CONVERSATION.c.id == place).scalar_subquery()
        own = select(MEMBER.c.user_id).where(MEMBER.c.conversation_id == place, MEMBER.c.user_id == USER.c.id)
        # From the names to the members: a join may begin with all members of the group.
        self._named_members = select(USER.c.user_id, USER.c.id).where(
            USER.c.app_id == app, USER.c.user_id.in_(ids), own.correlate(USER).exists()
        )
        self._named_users = select(USER.c.user_id, USER.c.id).where(
            USER.c.app_id == bindparam("app"), USER.c.user_id.in_(ids)
        )
        self._counts = (
            select(REACTION_COUNT.c.message_id, REACTION_COUNT.c.emoji, REACTION_COUNT.c.count.label("users"))
            .where(REACTION_COUNT.c.message_id.in_(ids), REACTION_COUNT.c.count > 0)
            .order_by(REACTION_COUNT.c.message_id, REACTION_COUNT.c.count.desc(), REACTION_COUNT.c.emoji)
        )
        self._mine = select(REACTION.c.message_id, REACTION.c.emoji).where(
            REACTION.c.user_id == bindparam("reader"), REACTION.c.message_id.in_(ids), REACTION.c.added
        )

    async def named_members(
        self, conversation: ConversationId, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        """See the port."""
        asked = self._ids.of(list(user_ids)) | {"conversation": conversation}
        return {row.user_id: row.id for row in await self._database.rows(self._named_members, asked)}

    async def named_users(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """See the port."""
        asked = self._ids.of(list(user_ids)) | {"app": app}
        return {row.user_id: row.id for row in await self._database.rows(self._named_users, asked)}

    async def reactions(
        self, messages: Collection[MessageId], *, reader: UserKey | None
    ) -> Mapping[MessageId, tuple[ReactionCount, ...]]:
        """See the port. Whose they are is asked only where there are any."""
        if not messages:
            return {}

        async def work(connection: AsyncConnection) -> Mapping[MessageId, tuple[ReactionCount, ...]]:
            counts = (await connection.execute(self._counts, self._ids.of(list(messages)))).all()
            mine: set[tuple[str, str]] = set()
            if counts and reader is not None:
                asked = self._ids.of(sorted({row.message_id for row in counts})) | {"reader": reader}
                mine = {(row.message_id, row.emoji) for row in await connection.execute(self._mine, asked)}
            return _by_message(counts, mine)

        return await self._database.read(work)

    async def reacted(self, message: MessageId, emoji: str, *, after: int, limit: int) -> Sequence[Person]:
        """See the port."""
        query = (
            select(REACTION.c.user_id.label("key"), USER.c.user_id, USER.c.name)
            .join_from(REACTION, USER, USER.c.id == REACTION.c.user_id)
            .where(
                REACTION.c.message_id == message,
                REACTION.c.emoji == emoji,
                REACTION.c.added,
                REACTION.c.user_id > after,
            )
            .order_by(REACTION.c.user_id)
            .limit(limit)
        )
        return [Person(row.key, row.user_id, row.name) for row in await self._database.rows(query)]

    async def reaction(self, message: MessageId, user: UserKey, emoji: str) -> Standing:
        """See the port."""
        query = select(REACTION.c.added, REACTION.c.seq).where(
            REACTION.c.message_id == message, REACTION.c.emoji == emoji, REACTION.c.user_id == user
        )
        return _standing(await self._database.rows(query))

    async def pins(self, conversation: ConversationId, *, limit: int) -> Sequence[PinnedMessage]:
        """See the port."""
        query = (
            select(PIN, USER.c.user_id.label("by_user"))
            .join_from(PIN, USER, USER.c.id == PIN.c.by_id, isouter=True)
            .where(PIN.c.conversation_id == conversation, PIN.c.added)
            .order_by(PIN.c.seq.desc())
            .limit(limit)
        )
        found = await self._database.rows(query)
        return [PinnedMessage(row.message_id, row.seq, row.by_user, row.created_at) for row in found]

    async def pin(self, conversation: ConversationId, message: MessageId) -> Standing:
        """See the port."""
        query = select(PIN.c.added, PIN.c.seq).where(
            PIN.c.conversation_id == conversation, PIN.c.message_id == message
        )
        return _standing(await self._database.rows(query))

    async def hidden(
        self, user: UserKey, conversation: ConversationId, *, low: int, high: int
    ) -> frozenset[int]:
        """See the port."""
        query = select(HIDDEN.c.seq).where(
            HIDDEN.c.user_id == user,
            HIDDEN.c.conversation_id == conversation,
            HIDDEN.c.seq.between(low, high),
        )
        return frozenset(row.seq for row in await self._database.rows(query))

    async def readers(
        self,
        conversation: ConversationId,
        seq: int,
        *,
        read: bool,
        besides: UserKey,
        after: tuple[int, int],
        limit: int,
    ) -> Readers:
        """See the port. In the order of the index on read cursors."""

        async def work(connection: AsyncConnection) -> Readers:
            looked = await _looked_at(connection, conversation, seq, read=read, after=after)
            mine = [row for row in looked if row.joined_seq < seq and row.user_id != besides]
            page, end = mine[:limit], looked[-1:] if len(looked) == _WINDOW else []
            last = page[-1] if len(mine) > limit else next(iter(end), None)
            known = {} if not page else await _named(connection, [row.user_id for row in page])
            people = [
                Person(row.user_id, *known[row.user_id], row.read_seq) for row in page if row.user_id in known
            ]
            return Readers(people, None if last is None else (last.read_seq, last.user_id))

        return await self._database.read(work)

    async def reader_counts(
        self, conversation: ConversationId, seq: int, *, besides: UserKey
    ) -> ReaderCounts:
        """See the port."""

        async def work(connection: AsyncConnection) -> ReaderCounts:
            found = [
                (await connection.execute(_count(conversation, seq, besides, read=read))).one()
                for read in (True, False)
            ]
            (read, read_exact), (unread, unread_exact) = map(_bounded, found)
            return ReaderCounts(read, unread, read_exact, unread_exact)

        return await self._database.read(work)


async def _looked_at(
    connection: AsyncConnection, conversation: ConversationId, seq: int, *, read: bool, after: tuple[int, int]
) -> list[Row[Any]]:
    """The members past a place, at most _WINDOW. In two ranges of the index, which databases begin where they begin:
    of one condition for both they read all members who have read equally far."""
    cursor, last = after
    columns = select(MEMBER.c.read_seq, MEMBER.c.user_id, MEMBER.c.joined_seq).where(
        *_whether(conversation, seq, read=read)
    )
    found: list[Any] = []
    for beyond in ((MEMBER.c.read_seq == cursor, MEMBER.c.user_id > last), (MEMBER.c.read_seq > cursor,)):
        if len(found) < _WINDOW:
            rest = columns.where(*beyond).order_by(MEMBER.c.read_seq, MEMBER.c.user_id)
            found += (await connection.execute(rest.limit(_WINDOW - len(found)))).all()
    return found


async def _named(connection: AsyncConnection, users: Sequence[int]) -> Mapping[int, tuple[str, str]]:
    query = select(USER.c.id, USER.c.user_id, USER.c.name).where(USER.c.id.in_(users))
    return {row.id: (row.user_id, row.name) for row in await connection.execute(query)}


def _whether(conversation: ConversationId, seq: int, *, read: bool) -> list[Any]:
    cursor = MEMBER.c.read_seq >= seq if read else MEMBER.c.read_seq < seq
    return [MEMBER.c.conversation_id == conversation, cursor]


def _count(conversation: ConversationId, seq: int, besides: UserKey, *, read: bool) -> Select[Any]:
    """(how many count, how many were looked at) among the first _SCANNED."""
    looked = (
        select(MEMBER.c.joined_seq, MEMBER.c.user_id)
        .where(*_whether(conversation, seq, read=read))
        .order_by(MEMBER.c.read_seq.desc())
        .limit(_SCANNED)
        .subquery("looked")
    )
    counts = and_(looked.c.joined_seq < seq, looked.c.user_id != besides)
    counted = func.coalesce(func.sum(case((counts, 1), else_=0)), 0)
    return select(counted.label("counted"), func.count().label("looked")).select_from(looked)


def _bounded(row: Row[Any]) -> tuple[int, bool]:
    count = int(row.counted)
    return min(count, COUNTED), row.looked < _SCANNED and count <= COUNTED


def _standing(found: Sequence[Row[Any]]) -> Standing:
    return Standing(bool(found[0].added), found[0].seq) if found else Standing()


def _by_message(
    counts: Sequence[Any], mine: Collection[tuple[str, str]]
) -> Mapping[MessageId, tuple[ReactionCount, ...]]:
    found: dict[MessageId, tuple[ReactionCount, ...]] = {}
    for row in counts:
        one = ReactionCount(row.emoji, row.users, (row.message_id, row.emoji) in mine)
        found[row.message_id] = (*found.get(row.message_id, ()), one)
    return found
