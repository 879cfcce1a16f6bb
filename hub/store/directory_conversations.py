"""Conversations as lists show them: last message and unread, both computed, so that neither can drift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout, Role, inbox_id
from hub.core.errors import NotFound
from hub.core.message import (
    TOMBSTONE,
    AppId,
    ConversationId,
    Message,
    MessageId,
    NotificationId,
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
_NOT_FOUND = "There is no such conversation, or you are not in it."


def _column(row: Row[Any], prefix: str, name: str) -> Any:
    return getattr(row, f"{prefix}{name}")


def conversation_of(row: Row[Any], prefix: str = "") -> ConversationRecord:
    """A row of the conversation table, its columns under a prefix, as a value."""
    get = partial(_column, row, prefix)
    return ConversationRecord(
        id=ConversationId(get("id")),
        app=AppId(get("app_id")),
        kind=ConversationKind(get("kind")),
        title=get("title"),
        fanout=Fanout(get("fanout")),
        version=get("version"),
        member_count=get("member_count"),
        metadata=get("metadata"),
        created_at=get("created_at"),
    )


def message_of(row: Row[Any], prefix: str = "") -> Message | None:
    """A row of the message table, its columns under a prefix, as a value; None where the join found none."""
    get = partial(_column, row, prefix)
    if get("id") is None:
        return None
    mentions = get("mentions")
    notification = get("notification_id")
    return Message(
        id=MessageId(get("id")),
        app=AppId(get("app_id")),
        conversation=ConversationId(get("conversation_id")),
        seq=get("seq"),
        sender=UserKey(get("sender_id")),
        sender_id=get("sender"),
        kind=get("kind"),
        body=get("body"),
        created_at=get("created_at"),
        client_msg_id=get("client_msg_id"),
        mentions=tuple(msgspec.json.decode(mentions)) if mentions else (),
        expires_at=get("expires_at"),
        notification=NotificationId(notification) if notification else None,
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


def _unread(user: UserKey) -> ColumnElement[int]:
    """Messages of others past the reader's cursor, among the newest UNREAD_WINDOW."""
    top = select(func.max(_ANY.c.seq)).where(_ANY.c.conversation_id == MEMBER.c.conversation_id)
    return (
        select(func.count())
        .select_from(MESSAGE)
        .correlate(MEMBER)
        .where(
            MESSAGE.c.conversation_id == MEMBER.c.conversation_id,
            MESSAGE.c.seq > MEMBER.c.read_seq,
            MESSAGE.c.seq > MEMBER.c.joined_seq,
            MESSAGE.c.seq > top.correlate(MEMBER).scalar_subquery() - UNREAD_WINDOW,
            MESSAGE.c.sender_id != user,
            MESSAGE.c.kind != TOMBSTONE,
        )
        .scalar_subquery()
    )


_ACTIVITY = func.coalesce(_LAST.c.created_at, CONVERSATION.c.created_at)


def _as_member(user: UserKey) -> Select[Any]:
    last = and_(
        _LAST.c.conversation_id == CONVERSATION.c.id,
        _LAST.c.seq == _newest(MEMBER.c.conversation_id, MEMBER.c.joined_seq),
    )
    return (
        select(
            *_COLUMNS,
            *_LAST_COLUMNS,
            MEMBER.c.role,
            MEMBER.c.read_seq,
            MEMBER.c.muted,
            _unread(user).label("unread"),
        )
        .select_from(
            MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id).outerjoin(_LAST, last)
        )
        .where(MEMBER.c.user_id == user)
    )


def _view_of(row: Row[Any]) -> ConversationView:
    own = OwnPart(Role(row.role), row.read_seq, row.muted, row.unread)
    return ConversationView(conversation_of(row, "c_"), message_of(row, "l_"), own)


def _plain_view_of(row: Row[Any]) -> ConversationView:
    return ConversationView(conversation_of(row, "c_"), message_of(row, "l_"))


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
        query = self._plain() if viewer is None else _as_member(viewer)
        query = query.where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
        rows = await self._basis.database.rows(query)
        if not rows:
            raise NotFound("conversation_not_found", _NOT_FOUND)
        view = _plain_view_of(rows[0]) if viewer is None else _view_of(rows[0])
        return (await self._with_people([view]))[0]

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
        return Slice(await self._with_people(found.items), found.next)

    async def conversations_of(self, app: AppId, user: UserKey, page: PageRequest) -> Slice[ConversationView]:
        """A user's conversations with last message and unread: the inbox first, then by last activity."""
        query = _as_member(user).where(CONVERSATION.c.kind != ConversationKind.INBOX)
        if page.after is not None:
            at, last_id = values_of(page.after, tuple[Micros, str])
            query = query.where(_before(_ACTIVITY, at, last_id))
        found = await slice_of(
            self._basis.database,
            query.order_by(_ACTIVITY.desc(), CONVERSATION.c.id.desc()),
            page,
            read=_view_of,
            mark=lambda row: place(to_micros(_activity_of(_view_of(row))), row.c_id),
        )
        views = await self._with_people(found.items)
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

    async def _with_people(self, views: Sequence[ConversationView]) -> list[ConversationView]:
        """Direct conversations have no title: who is in them is what a list shows."""
        direct = [v.record.id for v in views if v.record.kind is ConversationKind.DIRECT]
        people: dict[str, list[str]] = {}
        if direct:
            query = (
                select(MEMBER.c.conversation_id, USER.c.user_id)
                .select_from(MEMBER.join(USER, USER.c.id == MEMBER.c.user_id))
                .where(MEMBER.c.conversation_id.in_(direct))
                .order_by(USER.c.user_id)
            )
            for row in await self._basis.database.rows(query):
                people.setdefault(row.conversation_id, []).append(row.user_id)
        return [ConversationView(v.record, v.last, v.mine, tuple(people.get(v.record.id, ()))) for v in views]

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
            return ConversationView(conversation_of(row, "c_"), message_of(found) if found else None, own)

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
