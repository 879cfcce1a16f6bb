"""Notifications that wait for their time, whole in one row each, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from typing import Any, assert_never, get_type_hints

import msgspec
from sqlalchemy import Executable, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.control import ScheduledRow, ScheduledState
from hub.core.message import (
    AppId,
    ConversationId,
    Draft,
    MessageId,
    NotificationId,
    Target,
    ToConversation,
    ToInbox,
    ToUser,
    UserKey,
)
from hub.store.columns import to_micros
from hub.store.sql_bulk import Clash, Insertion
from hub.store.sql_engine import Database
from hub.store.tables import metadata
from hub.store.tables_routing import Scheduled

SCHEDULED = metadata.tables[str(Scheduled.__tablename__)]
# A target is kept in a shape of its own; what is sent at a time is a notification, and changes nothing.
_APART = frozenset({"to", "change"})
_KINDS: Mapping[str, Any] = {name: kind for name, kind in get_type_hints(Draft).items() if name not in _APART}
_CHUNK = 200
_DETAIL = 200
_ENDED = [ScheduledState.SENT.value, ScheduledState.CANCELED.value, ScheduledState.REFUSED.value]
_new = Insertion(
    SCHEDULED,
    (
        "id",
        "app_id",
        "message_id",
        "state",
        "send_at",
        "draft",
        "dedupe_key",
        "idempotency_key",
        "fingerprint",
        "detail",
        "created_at",
    ),
    Clash.IGNORE,
)


class SqlScheduled:
    """`RoutingStore`: appointments."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect

    async def schedule(self, row: ScheduledRow) -> ScheduledRow:
        """See the port."""
        dedupe = row.draft.notification.dedupe_key if row.draft.notification else None
        values = (
            row.id,
            row.app,
            row.message,
            row.state.value,
            to_micros(row.send_at),
            encode(row.draft),
            dedupe,
            row.idempotency_key,
            row.fingerprint,
            row.detail,
            to_micros(row.created_at),
        )
        same = [SCHEDULED.c.id == row.id]
        if dedupe is not None:
            same.append(and_(SCHEDULED.c.app_id == row.app, SCHEDULED.c.dedupe_key == dedupe))
        if row.idempotency_key is not None:
            same.append(SCHEDULED.c.idempotency_key == row.idempotency_key)

        async def work(connection: AsyncConnection) -> ScheduledRow:
            await _new.run(connection, self._dialect, [values])
            found = (await connection.execute(select(SCHEDULED).where(or_(*same)))).all()
            return next((_row(one) for one in found if one.id == row.id), None) or _row(found[0])

        return await self._database.write(work)

    async def scheduled(self, app: AppId, id_: NotificationId) -> ScheduledRow | None:
        """See the port."""
        query = select(SCHEDULED).where(SCHEDULED.c.id == id_, SCHEDULED.c.app_id == app)
        return next(map(_row, await self._database.rows(query)), None)

    async def take_scheduled(
        self, *, now: datetime, lease_until: datetime, limit: int
    ) -> Sequence[ScheduledRow]:
        """See the port."""
        waiting = and_(SCHEDULED.c.state == ScheduledState.SCHEDULED.value, SCHEDULED.c.send_at <= now)
        left = and_(
            SCHEDULED.c.state == ScheduledState.SENDING.value,
            SCHEDULED.c.send_at <= now,
            SCHEDULED.c.lease_until <= now,
        )
        due = select(SCHEDULED).where(or_(waiting, left)).order_by(SCHEDULED.c.send_at).limit(limit)
        if not await self._database.rows(due):
            return []  # once a second, mostly in vain: without waiting for a writer's turn

        async def work(connection: AsyncConnection) -> Sequence[ScheduledRow]:
            found = (await connection.execute(due.with_for_update())).all()
            mine = update(SCHEDULED).where(SCHEDULED.c.id.in_([row.id for row in found]))
            sending = ScheduledState.SENDING
            await connection.execute(mine.values(state=sending.value, lease_until=lease_until))
            return [replace(_row(row), state=sending) for row in found]

        return await self._database.write(work)

    async def end_scheduled(
        self, id_: NotificationId, state: ScheduledState, *, now: datetime, detail: str = ""
    ) -> bool:
        """See the port."""
        before = [ScheduledState.SCHEDULED.value]
        values: dict[str, Any] = {"state": state.value, "ended_at": now, "detail": detail[:_DETAIL]}
        if state is ScheduledState.CANCELED:
            values |= {"dedupe_key": None, "idempotency_key": None}
        else:
            before.append(ScheduledState.SENDING.value)
        change = update(SCHEDULED).where(SCHEDULED.c.id == id_, SCHEDULED.c.state.in_(before)).values(values)

        async def work(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(change)).rowcount)

        return await self._database.write(work)

    async def forget_scheduled(self, before: datetime) -> int:
        """Remove what ended before a time, a little at a time."""
        gone = 0
        old = select(SCHEDULED.c.id).where(SCHEDULED.c.state.in_(_ENDED), SCHEDULED.c.ended_at < before)
        while found := [row.id for row in await self._database.rows(old.limit(_CHUNK))]:
            drop = delete(SCHEDULED).where(SCHEDULED.c.id.in_(found))
            await self._database.write(partial(_run, statement=drop))
            gone += len(found)
        return gone


async def _run(connection: AsyncConnection, statement: Executable) -> None:
    await connection.execute(statement)


class _Target(msgspec.Struct, frozen=True, omit_defaults=True):
    conversation: ConversationId | None = None
    user: UserKey | None = None
    users: tuple[UserKey, ...] | None = None


def encode(draft: Draft) -> str:
    """A draft as JSON."""
    match draft.to:
        case ToConversation(conversation):
            to = _Target(conversation=conversation)
        case ToUser(user):
            to = _Target(user=user)
        case ToInbox(users):
            to = _Target(users=users)
        case _:
            assert_never(draft.to)
    words = {field.name: getattr(draft, field.name) for field in fields(draft) if field.name not in _APART}
    return msgspec.json.encode({**words, "to": to}).decode()


def decode(text: str) -> Draft:
    """A draft from JSON. Raises msgspec.ValidationError for what `encode` did not write."""
    words = msgspec.json.decode(text)
    target = msgspec.convert(words.pop("to"), _Target)
    # Any one target satisfies the decoder, which cannot tell the dataclasses of a union apart.
    to: Target
    if target.conversation is not None:
        to = ToConversation(target.conversation)
    elif target.user is not None:
        to = ToUser(target.user)
    else:
        to = ToInbox(target.users or ())
    said = {name: msgspec.convert(value, _KINDS[name]) for name, value in words.items() if name in _KINDS}
    return Draft(to=to, **said)


def _row(row: Any) -> ScheduledRow:
    return ScheduledRow(
        id=NotificationId(row.id),
        app=AppId(row.app_id),
        message=MessageId(row.message_id),
        state=ScheduledState(row.state),
        send_at=row.send_at,
        draft=decode(row.draft),
        created_at=row.created_at,
        detail=row.detail,
        fingerprint=row.fingerprint,
        idempotency_key=row.idempotency_key,
    )
