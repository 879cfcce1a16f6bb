"""The list of conversations where messages are in SQL: `core.list_ports.ListedMessages`.

The order is computed, not kept: a column with the last activity would be written with every message, on a row that
all senders of a conversation share. What is computed is one step from the end of an index per conversation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind
from hub.core.list_ports import Glance, ListPlace, Standing
from hub.core.message import RECALLED, SYSTEM, TOMBSTONE, ConversationId, UserKey
from hub.core.records import UNREAD_WINDOW
from hub.store.columns import to_micros
from hub.store.directory_base import CONVERSATION, MEMBER, MESSAGE
from hub.store.schema import metadata
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database, Dialect
from hub.store.sql_rows import MESSAGE_COLUMNS, message_of

HIDDEN = metadata.tables["hidden"]
MENTION = metadata.tables["mention"]

_VIEWER = bindparam("viewer", type_=BigInteger)
_ANY = MESSAGE.alias("any_message")
_TOP = MESSAGE.alias("top_message")
_LAST = MESSAGE.alias("last")
_HID = HIDDEN.alias("hid")
_columns = [_LAST.c[name] for name in MESSAGE_COLUMNS]


class SqlLists:
    """See the port. Statements are built once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._floors = Listing(database.dialect, id=str, lowest=int)
        self._spans = Listing(database.dialect, id=str, seen=int, last=int)
        self._first = self._page_query(after=False)
        self._next = self._page_query(after=True)
        self._last = self._last_query()
        self._news = self._news_query()

    async def page(self, user: UserKey, *, after: ListPlace | None, limit: int) -> Sequence[ListPlace]:
        """See the port."""
        asked: dict[str, Any] = {"viewer": user, "most": limit}
        if after is not None:
            asked |= {
                "pinned": to_micros(after.pinned_at) if after.pinned_at else 0,
                "moment": to_micros(after.at),
                "last_id": after.conversation,
            }
        rows = await self._database.rows(self._first if after is None else self._next, asked)
        return [ListPlace(ConversationId(row.conversation_id), row.pinned_at, row.at) for row in rows]

    async def glances(self, user: UserKey, standings: Sequence[Standing]) -> Mapping[ConversationId, Glance]:
        """See the port. Two statements, however many there are. What was said between the two is not counted: who is
        told of it later would count it again."""
        floors = [(s.conversation, s.floor) for s in standings]
        read = {s.conversation: max(s.floor, s.read_seq) for s in standings}

        async def work(connection: AsyncConnection) -> Mapping[ConversationId, Glance]:
            asked = {"viewer": user, **self._floors.of(floors)}
            last = {row.conversation_id: row for row in await connection.execute(self._last, asked)}
            spans = [(id_, read[id_], row.seq) for id_, row in last.items() if row.seq > read[id_]]
            asked = {"viewer": user, **self._spans.of(spans)}
            news = {row.id: row for row in await connection.execute(self._news, asked)} if spans else {}
            return {id_: _glance(last.get(id_), news.get(id_)) for id_ in read}

        return await self._database.read(work) if floors else {}

    def _highest(self, *bounds: ColumnElement[Any]) -> ColumnElement[int]:
        """The highest of these: one bound, from which an index can be read."""
        name = "max" if self._database.dialect is Dialect.SQLITE else "greatest"
        return getattr(func, name)(*bounds, type_=BigInteger)  # type: ignore[no-any-return]

    def _bound(
        self, around: FromClause, conversation: ColumnElement[Any], floor: ColumnElement[Any]
    ) -> ColumnElement[int]:
        """`floor`, and never below the newest UNREAD_WINDOW messages."""
        top = select(func.max(_TOP.c.seq)).where(_TOP.c.conversation_id == conversation)
        window = func.coalesce(top.correlate(around).scalar_subquery(), 0) - UNREAD_WINDOW
        return self._highest(floor, window)

    def _newest(
        self,
        column: ColumnElement[Any],
        around: FromClause,
        conversation: ColumnElement[Any],
        floor: ColumnElement[Any],
    ) -> ColumnElement[Any]:
        """A column of the newest message of a conversation above a floor that the user sees."""
        query = (
            select(column)
            .where(
                _ANY.c.conversation_id == conversation,
                _ANY.c.seq > self._bound(around, conversation, floor),
                _ANY.c.control.is_(False),
                _ANY.c.kind != TOMBSTONE,
                not_(_hidden(_ANY)),
            )
            .order_by(_ANY.c.seq.desc())
            .limit(1)
        )
        return query.correlate(around).scalar_subquery()

    def _page_query(self, *, after: bool) -> Select[Any]:
        floor = self._highest(MEMBER.c.joined_seq, MEMBER.c.cleared_seq)
        newest = self._newest(_ANY.c.created_at, MEMBER, MEMBER.c.conversation_id, floor)
        listed = (
            select(
                MEMBER.c.conversation_id,
                MEMBER.c.pinned_at,
                MEMBER.c.cleared_seq,
                CONVERSATION.c.created_at,
                CONVERSATION.c.kind,
                CONVERSATION.c.version,
                newest.label("newest"),
            )
            .join_from(MEMBER, CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id)
            .where(MEMBER.c.user_id == _VIEWER, CONVERSATION.c.kind != ConversationKind.INBOX.value)
            .subquery("own")
        )
        at = func.coalesce(listed.c.newest, listed.c.created_at, type_=listed.c.created_at.type)
        pin = func.coalesce(listed.c.pinned_at, 0, type_=BigInteger)
        # Only (un)blocking moves the version of a direct conversation, and makes one before there is a message.
        unborn = and_(
            listed.c.kind == ConversationKind.DIRECT.value,
            listed.c.version > 1,
            listed.c.newest.is_(None),
            listed.c.cleared_seq == 0,
        )
        query = select(listed.c.conversation_id, listed.c.pinned_at, at.label("at")).where(not_(unborn))
        if after:
            moment, last = bindparam("moment", type_=BigInteger), bindparam("last_id", type_=String)
            pinned = bindparam("pinned", type_=BigInteger)
            when = func.coalesce(listed.c.newest, listed.c.created_at, type_=BigInteger)
            earlier = or_(when < moment, and_(when == moment, listed.c.conversation_id < last))
            query = query.where(or_(pin < pinned, and_(pin == pinned, earlier)))
        order = (pin.desc(), at.desc(), listed.c.conversation_id.desc())
        return query.order_by(*order).limit(bindparam("most", type_=BigInteger))

    def _last_query(self) -> Select[Any]:
        listed = self._floors.select.subquery("listed")
        newest = self._newest(_ANY.c.seq, listed, listed.c.id, listed.c.lowest)
        mine = and_(_LAST.c.conversation_id == listed.c.id, _LAST.c.seq == newest)
        return select(*_columns).select_from(listed.join(_LAST, mine))

    def _news_query(self) -> Select[Any]:
        listed = self._spans.select.subquery("listed")
        bound = self._bound(listed, listed.c.id, listed.c.seen)
        others = (
            _ANY.c.conversation_id == listed.c.id,
            _ANY.c.seq > bound,
            _ANY.c.seq <= listed.c.last,
            _ANY.c.sender_id != _VIEWER,
            _ANY.c.control.is_(False),
            _ANY.c.kind.not_in([TOMBSTONE, RECALLED]),
        )
        unread = select(func.count()).select_from(_ANY).where(*others)
        # Mostly nothing is hidden, which one look says, where each message would ask.
        hides = select(_HID.c.seq).where(
            _HID.c.user_id == _VIEWER, _HID.c.conversation_id == listed.c.id, _HID.c.seq > bound
        )
        shown = unread.where(not_(_hidden(_ANY))).correlate(listed).scalar_subquery()
        counted = case(
            (hides.correlate(listed).exists(), shown), else_=unread.correlate(listed).scalar_subquery()
        )

        def mentioned(whom: ColumnElement[Any] | int) -> ColumnElement[Any]:
            here = and_(MENTION.c.conversation_id == _ANY.c.conversation_id, MENTION.c.seq == _ANY.c.seq)
            query = select(func.max(MENTION.c.seq)).select_from(MENTION.join(_ANY, here))
            said = (
                MENTION.c.conversation_id == listed.c.id,
                MENTION.c.user_id == whom,
                MENTION.c.seq > bound,
            )
            return func.coalesce(
                query.where(*said, *others, not_(_hidden(_ANY))).correlate(listed).scalar_subquery(), 0
            )

        return select(
            listed.c.id,
            counted.label("unread"),
            self._highest(mentioned(_VIEWER), mentioned(SYSTEM)).label("mention"),
        )


def _hidden(message: Any) -> ColumnElement[bool]:
    return (
        select(_HID.c.seq)
        .where(
            _HID.c.user_id == _VIEWER,
            _HID.c.conversation_id == message.c.conversation_id,
            _HID.c.seq == message.c.seq,
        )
        .correlate(message)
        .exists()
    )


def _glance(last: Row[Any] | None, news: Row[Any] | None) -> Glance:
    return Glance(
        last=message_of(last) if last is not None else None,
        unread=news.unread if news is not None else 0,
        mention=news.mention if news is not None else 0,
    )
