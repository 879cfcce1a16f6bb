"""Conversations as lists show them: last message and unread, both computed, so that neither can drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, or_, select

from hub.core.conversation import ConversationKind, Fanout, Role
from hub.core.errors import NotFound
from hub.core.message import (
    TOMBSTONE,
    AppId,
    ConversationId,
    Message,
    UserKey,
)
from hub.core.records import (
    UNREAD_WINDOW,
    ConversationRecord,
    ConversationView,
    MemberRecord,
    PageRequest,
    Slice,
)
from hub.store.columns import from_micros, to_micros
from hub.store.directory_base import (
    CONVERSATION,
    MEMBER,
    MESSAGE,
    USER,
    Basis,
    BigInt,
    Micros,
    place,
    slice_of,
    values_of,
)
from hub.store.directory_lists import Lists
from hub.store.group_rows import group_of
from hub.store.sql_engine import Database

_LAST = MESSAGE.alias("last")
_ANY = MESSAGE.alias("any_message")
_TOP = MESSAGE.alias("top_message")
_COLUMNS = tuple(column.label(f"c_{column.name}") for column in CONVERSATION.c)
_LAST_COLUMNS = tuple(column.label(f"l_{column.name}") for column in _LAST.c)
_WIDTH = len(_COLUMNS)
_BOTH = _WIDTH + len(_LAST_COLUMNS)
_NOT_FOUND = "There is no such conversation, or you are not in it."


def conversation_of(values: Sequence[Any]) -> ConversationRecord:
    """A row of the conversation table, in the order of its columns, as a value."""
    (id_, app, kind, title, fanout, version, member_count, metadata, created_at) = values[:9]
    return ConversationRecord(
        id=id_,
        app=app,
        kind=ConversationKind(kind),
        title=title,
        fanout=Fanout(fanout),
        version=version,
        member_count=member_count,
        metadata=metadata,
        created_at=created_at,
        group=group_of(values[9:]),
    )


def message_of(values: Sequence[Any]) -> Message | None:
    """A row of the message table, in the order of its columns, as a value; None where a join found none."""
    (id_, app, conversation, seq, key, sender, client_id, kind, body, mentions, notification, at, expires) = (
        values[:13]
    )
    control, reply_to, forward_of, edited_at, _changed_seq = values[13:]
    if id_ is None:
        return None
    return Message(
        id=id_,
        app=app,
        conversation=conversation,
        seq=seq,
        sender=key,
        sender_id=sender,
        kind=kind,
        body=body,
        created_at=at,
        client_msg_id=client_id,
        mentions=tuple(msgspec.json.decode(mentions)) if mentions else (),
        expires_at=expires,
        notification=notification,
        control=control,
        reply_to=reply_to,
        forward_of=forward_of,
        edited_at=edited_at,
    )


def _member_of(row: Row[Any]) -> MemberRecord:
    return MemberRecord(
        user=UserKey(row.user_id),
        user_id=row.product_id,
        name=row.name,
        role=Role(row.role),
        joined_seq=row.joined_seq,
        read_seq=row.read_seq,
        silenced_until=row.silenced_until,
        joined_at=row.joined_at,
    )


def _newest(column: ColumnElement[Any]) -> ColumnElement[int]:
    """The seq of a conversation's newest message, among its newest UNREAD_WINDOW numbers: no change, no closed one."""
    top = select(func.max(_TOP.c.seq)).where(_TOP.c.conversation_id == column).correlate(CONVERSATION)
    query = (
        select(_ANY.c.seq)
        .where(
            _ANY.c.conversation_id == column,
            _ANY.c.seq > top.scalar_subquery() - UNREAD_WINDOW,
            _ANY.c.control.is_(False),
            _ANY.c.kind != TOMBSTONE,
        )
        .order_by(_ANY.c.seq.desc())
        .limit(1)
    )
    return query.correlate(CONVERSATION).scalar_subquery()


@cache
def _people() -> Select[Any]:
    return (
        select(MEMBER.c.conversation_id, USER.c.user_id)
        .select_from(MEMBER.join(USER, USER.c.id == MEMBER.c.user_id))
        .where(MEMBER.c.conversation_id.in_(bindparam("conversations", expanding=True)))
        .order_by(USER.c.user_id)
    )


def _plain_view_of(row: Row[Any]) -> ConversationView:
    return ConversationView(conversation_of(row[:_WIDTH]), message_of(row[_WIDTH:_BOTH]))


class ConversationReads:
    """The directory's questions about conversations and who is in them."""

    _basis: Basis
    _lists: Lists

    async def conversation(self, app: AppId, conversation: ConversationId) -> ConversationRecord:
        """One conversation. Raises NotFound."""
        query = select(CONVERSATION).where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
        rows = await self._basis.database.rows(query)
        if not rows:
            raise NotFound("conversation_not_found", _NOT_FOUND)
        return conversation_of(rows[0])

    async def conversation_view(
        self, app: AppId, conversation: ConversationId, *, viewer: UserKey | None
    ) -> ConversationView:
        """One conversation as a member sees it, or (None) as the business system does. Raises NotFound."""
        if viewer is not None:
            return await self._lists.view(app, conversation, viewer)
        query = self._plain().where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
        rows = await self._basis.database.rows(query)
        if not rows:
            raise NotFound("conversation_not_found", _NOT_FOUND)
        return (await self._completed([_plain_view_of(rows[0])]))[0]

    async def conversations(
        self, app: AppId, *, kind: ConversationKind | None, page: PageRequest
    ) -> Slice[ConversationView]:
        """The app's conversations, newest first."""
        query = self._plain().where(CONVERSATION.c.app_id == app)
        if kind is not None:
            query = query.where(CONVERSATION.c.kind == kind)
        if page.after is not None:
            at, last_id = values_of(page.after, tuple[Micros, str])
            query = query.where(_before(CONVERSATION.c.created_at, at, last_id))
        query = query.order_by(CONVERSATION.c.created_at.desc(), CONVERSATION.c.id.desc())
        found = await slice_of(
            self._basis.database,
            query,
            page,
            read=_plain_view_of,
            mark=lambda row: place(to_micros(row.c_created_at), row.c_id),
        )
        return Slice(await self._completed(found.items), found.next)

    async def conversations_of(self, app: AppId, user: UserKey, page: PageRequest) -> Slice[ConversationView]:
        """A user's conversations with last message and unread: the inbox first, then by last activity."""
        return await self._lists.views(app, user, page)

    async def is_member(self, conversation: ConversationId, user: UserKey) -> bool:
        """Whether this user is in it."""
        query = select(MEMBER.c.user_id).where(
            MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user
        )
        return bool(await self._basis.database.rows(query))

    async def members(
        self, app: AppId, conversation: ConversationId, page: PageRequest
    ) -> Slice[MemberRecord]:
        """Who is in a conversation. Raises NotFound."""
        await self.conversation(app, conversation)
        query = (
            select(MEMBER, USER.c.user_id.label("product_id"), USER.c.name)
            .select_from(MEMBER.join(USER, USER.c.id == MEMBER.c.user_id))
            .where(MEMBER.c.conversation_id == conversation)
            .order_by(MEMBER.c.user_id)
        )
        if page.after is not None:
            query = query.where(MEMBER.c.user_id > values_of(page.after, tuple[BigInt])[0])
        return await slice_of(
            self._basis.database, query, page, read=_member_of, mark=lambda row: place(row.user_id)
        )

    def _plain(self) -> Select[Any]:
        last = and_(_LAST.c.conversation_id == CONVERSATION.c.id, _LAST.c.seq == _newest(CONVERSATION.c.id))
        return select(*_COLUMNS, *_LAST_COLUMNS).select_from(CONVERSATION.outerjoin(_LAST, last))

    async def _completed(self, views: Sequence[ConversationView]) -> list[ConversationView]:
        """With the people of direct ones, which have no title to show, and with what was said last where messages are
        not in SQL."""
        people = await people_of(
            self._basis.database, [v.record.id for v in views if v.record.kind is ConversationKind.DIRECT]
        )
        elsewhere = self._basis.elsewhere
        last = {} if elsewhere is None else await elsewhere.newest({v.record.id: 0 for v in views})
        return [
            replace(view, last=last.get(view.record.id, view.last), people=people.get(view.record.id, ()))
            for view in views
        ]


async def people_of(
    database: Database, conversations: Sequence[ConversationId]
) -> Mapping[ConversationId, tuple[str, ...]]:
    """The product's ids of the people of direct conversations."""
    found: dict[ConversationId, tuple[str, ...]] = {}
    if conversations:
        for row in await database.rows(_people(), {"conversations": list(conversations)}):
            place = ConversationId(row.conversation_id)
            found[place] = (*found.get(place, ()), row.user_id)
    return found


def _before(moment: ColumnElement[Any], micros: int, last_id: str) -> ColumnElement[bool]:
    at = from_micros(micros)
    return or_(moment < at, and_(moment == at, CONVERSATION.c.id < last_id))
