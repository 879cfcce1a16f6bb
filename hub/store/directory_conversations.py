"""Conversations as lists show them: last message and unread, both computed, so that neither can drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Row, Select, and_, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout, Role, inbox_id
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
    OwnPart,
    PageRequest,
    Slice,
)
from hub.store.columns import from_micros, to_micros
from hub.store.directory_base import (
    CONVERSATION,
    MEMBER,
    MESSAGE,
    QUEUE_ENTRY,
    USER,
    Basis,
    BigInt,
    Micros,
    place,
    slice_of,
    values_of,
)

_LAST = MESSAGE.alias("last")
_ANY = MESSAGE.alias("any_message")
_COLUMNS = tuple(column.label(f"c_{column.name}") for column in CONVERSATION.c)
_LAST_COLUMNS = tuple(column.label(f"l_{column.name}") for column in _LAST.c)
_WIDTH = len(_COLUMNS)
_BOTH = _WIDTH + len(_LAST_COLUMNS)
_NOT_FOUND = "There is no such conversation, or you are not in it."


def conversation_of(values: Sequence[Any]) -> ConversationRecord:
    """A row of the conversation table, in the order of its columns, as a value."""
    (id_, app, kind, title, fanout, version, member_count, metadata, created_at) = values
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
        muted=row.muted,
        joined_at=row.joined_at,
    )


def _newest(column: ColumnElement[Any], after: ColumnElement[int] | int = 0) -> ColumnElement[int]:
    """The seq of a conversation's newest message past `after`; closed numbers are not messages."""
    query = (
        select(_ANY.c.seq)
        .where(_ANY.c.conversation_id == column, _ANY.c.seq > after, _ANY.c.kind != TOMBSTONE)
        .order_by(_ANY.c.seq.desc())
        .limit(1)
    )
    return query.correlate(MEMBER, CONVERSATION).scalar_subquery()


_VIEWER = bindparam("viewer", type_=BigInteger)


@cache
def _unread() -> Select[Any]:
    """Messages of others past the viewer's cursor, among the newest UNREAD_WINDOW, for each of `conversations`."""
    top = select(func.max(_ANY.c.seq)).where(_ANY.c.conversation_id == MEMBER.c.conversation_id)
    count = (
        select(func.count())
        .select_from(MESSAGE)
        .correlate(MEMBER)
        .where(
            MESSAGE.c.conversation_id == MEMBER.c.conversation_id,
            MESSAGE.c.seq > MEMBER.c.read_seq,
            MESSAGE.c.seq > MEMBER.c.joined_seq,
            MESSAGE.c.seq > top.correlate(MEMBER).scalar_subquery() - UNREAD_WINDOW,
            MESSAGE.c.sender_id != _VIEWER,
            MESSAGE.c.kind != TOMBSTONE,
        )
    )
    return select(MEMBER.c.conversation_id, count.scalar_subquery().label("unread")).where(
        MEMBER.c.user_id == _VIEWER,
        MEMBER.c.conversation_id.in_(bindparam("conversations", expanding=True)),
    )


_ACTIVITY = func.coalesce(_LAST.c.created_at, CONVERSATION.c.created_at)


@cache
def _as_member() -> Select[Any]:
    """Built once: it is large, and its parameter `viewer` says whose view it is."""
    last = and_(
        _LAST.c.conversation_id == CONVERSATION.c.id,
        _LAST.c.seq == _newest(MEMBER.c.conversation_id, MEMBER.c.joined_seq),
    )
    return (
        select(*_COLUMNS, *_LAST_COLUMNS, MEMBER.c.role, MEMBER.c.read_seq, MEMBER.c.muted)
        .select_from(
            MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id).outerjoin(_LAST, last)
        )
        .where(MEMBER.c.user_id == _VIEWER)
    )


@cache
def _people() -> Select[Any]:
    return (
        select(MEMBER.c.conversation_id, USER.c.user_id)
        .select_from(MEMBER.join(USER, USER.c.id == MEMBER.c.user_id))
        .where(MEMBER.c.conversation_id.in_(bindparam("conversations", expanding=True)))
        .order_by(USER.c.user_id)
    )


def _view_of(row: Row[Any]) -> ConversationView:
    own = OwnPart(Role(row.role), row.read_seq, row.muted, unread=0)
    return ConversationView(conversation_of(row[:_WIDTH]), message_of(row[_WIDTH:_BOTH]), own)


def _plain_view_of(row: Row[Any]) -> ConversationView:
    return ConversationView(conversation_of(row[:_WIDTH]), message_of(row[_WIDTH:_BOTH]))


def _activity_of(view: ConversationView) -> datetime:
    return view.last.created_at if view.last else view.record.created_at


class ConversationReads:
    """The directory's questions about conversations and who is in them."""

    _basis: Basis

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
        if viewer is not None and conversation == inbox_id(app):
            inbox = await self._inbox(app, viewer)
            if inbox is None:
                raise NotFound("conversation_not_found", _NOT_FOUND)
            return inbox
        query = self._plain() if viewer is None else _as_member()
        query = query.where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
        rows = await self._basis.database.rows(query, {} if viewer is None else {"viewer": viewer})
        if not rows:
            raise NotFound("conversation_not_found", _NOT_FOUND)
        view = _plain_view_of(rows[0]) if viewer is None else _view_of(rows[0])
        return (await self._completed([view], viewer))[0]

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
        query = _as_member().where(CONVERSATION.c.kind != ConversationKind.INBOX)
        if page.after is not None:
            at, last_id = values_of(page.after, tuple[Micros, str])
            query = query.where(_before(_ACTIVITY, at, last_id))
        found = await slice_of(
            self._basis.database,
            query.order_by(_ACTIVITY.desc(), CONVERSATION.c.id.desc()),
            page,
            read=_view_of,
            mark=lambda row: place(to_micros(_activity_of(_view_of(row))), row.c_id),
            parameters={"viewer": user},
        )
        views = await self._completed(found.items, user)
        inbox = await self._inbox(app, user) if page.after is None else None
        return Slice([*([inbox] if inbox else []), *views], found.next)

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

    async def _completed(
        self, views: Sequence[ConversationView], viewer: UserKey | None = None
    ) -> list[ConversationView]:
        """With the viewer's unread, and with the people of direct ones, which have no title to show. Asked for the
        page only: both cost per conversation.
        """
        people: dict[str, list[str]] = {}
        unread: dict[str, int] = {}
        direct = [v.record.id for v in views if v.record.kind is ConversationKind.DIRECT]

        async def work(connection: AsyncConnection) -> None:
            people.clear()
            if direct:
                for row in await connection.execute(_people(), {"conversations": direct}):
                    people.setdefault(row.conversation_id, []).append(row.user_id)
            if viewer is not None and views:
                asked = {"viewer": viewer, "conversations": [v.record.id for v in views]}
                rows = await connection.execute(_unread(), asked)
                unread.update({row.conversation_id: row.unread for row in rows})

        await self._basis.database.read(work)
        return [
            replace(
                view,
                mine=view.mine and replace(view.mine, unread=unread.get(view.record.id, 0)),
                people=tuple(people.get(view.record.id, ())),
            )
            for view in views
        ]

    async def _inbox(self, app: AppId, user: UserKey) -> ConversationView | None:
        """The inbox as this user sees it: only what was sent to them, found by the references in their queue."""
        conversation = inbox_id(app)

        async def work(connection: AsyncConnection) -> ConversationView | None:
            newest = select(func.max(QUEUE_ENTRY.c.inbox_seq)).where(QUEUE_ENTRY.c.user_id == user)
            top = (await connection.execute(newest)).scalar()
            if top is None:
                return None
            query = self._plain().where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            last = select(MESSAGE).where(MESSAGE.c.conversation_id == conversation, MESSAGE.c.seq == top)
            found = (await connection.execute(last)).one_or_none()
            own = await _inbox_part(connection, conversation, user)
            return ConversationView(conversation_of(row[:_WIDTH]), message_of(found) if found else None, own)

        return await self._basis.database.read(work)


async def _inbox_part(connection: AsyncConnection, conversation: ConversationId, user: UserKey) -> OwnPart:
    cursor = select(MEMBER.c.read_seq, MEMBER.c.muted).where(
        MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user
    )
    mine = (await connection.execute(cursor)).one_or_none()
    read_seq = mine.read_seq if mine else 0
    newer = (
        select(QUEUE_ENTRY.c.inbox_seq)
        .where(QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.inbox_seq > read_seq)
        .limit(UNREAD_WINDOW)
        .subquery()
    )
    unread = (await connection.execute(select(func.count()).select_from(newer))).scalar_one()
    return OwnPart(Role.READONLY, read_seq, bool(mine.muted) if mine else False, unread)


def _before(moment: ColumnElement[Any], micros: int, last_id: str) -> ColumnElement[bool]:
    at = from_micros(micros)
    return or_(moment < at, and_(moment == at, CONVERSATION.c.id < last_id))
