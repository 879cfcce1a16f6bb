"""What became of notifications: per recipient from cursors and delivery rows, and as a story from the events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, literal, literal_column, null, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import inbox_id
from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.errors import NotFound
from hub.core.message import AppId, Message, MessageId, NotificationId, UserKey
from hub.core.policy import Policy
from hub.core.records import (
    AttemptView,
    DeliveryEventView,
    DeliveryFilter,
    DeliveryStory,
    DeliveryView,
    NotificationView,
    PageRequest,
    RecipientView,
    Slice,
    TimelineEvent,
)
from hub.store.columns import UtcTime, from_micros, to_micros
from hub.store.directory_base import (
    ATTEMPT,
    DELIVERY,
    DELIVERY_EVENT,
    DEVICE,
    MEMBER,
    MESSAGE,
    NOTIFICATION,
    QUEUE_ENTRY,
    USER,
    Basis,
    BigInt,
    Micros,
    place,
    slice_of,
    values_of,
)
from hub.store.directory_conversations import message_of

_CHUNK = 1_000
_PUSHED = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED})


@dataclass(slots=True)
class _Progress:
    """What is known of the recipients of one notification."""

    names: dict[int, str] = field(default_factory=dict)
    queue: dict[int, int] = field(default_factory=dict)
    cursors: dict[int, int] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    deliveries: dict[int, list[DeliveryView]] = field(default_factory=lambda: defaultdict(list))


def delivery_of(row: Row[Any]) -> DeliveryView:
    """A row of the delivery table, with the user's product id, as a value."""
    return DeliveryView(
        id=DeliveryId(row.id),
        notification=NotificationId(row.notification_id) if row.notification_id else None,
        message=MessageId(row.message_id),
        user_id=row.product_id,
        hop=row.hop,
        channel=row.channel,
        state=DeliveryState(row.state),
        reason=row.reason,
        attempts=row.attempts,
        provider_id=row.provider_id,
        read=row.read,
        created_at=row.created_at,
        due_at=row.due_at,
        expires_at=row.expires_at,
    )


def _deliveries(app: AppId) -> Select[Any]:
    return (
        select(DELIVERY, USER.c.user_id.label("product_id"))
        .select_from(DELIVERY.join(USER, USER.c.id == DELIVERY.c.user_id))
        .where(DELIVERY.c.app_id == app)
    )


class NotificationReads:
    """The directory's questions about notifications and deliveries."""

    _basis: Basis

    async def notification(self, app: AppId, notification: str) -> NotificationView:
        """One notification with what each recipient has of it. Raises NotFound."""

        elsewhere = self._basis.elsewhere

        async def work(connection: AsyncConnection) -> NotificationView:
            row = await _notification_row(connection, app, notification)
            users = [UserKey(key) for key in msgspec.json.decode(row.recipients)]
            if elsewhere is None:
                body = select(MESSAGE).where(MESSAGE.c.id == row.message_id)
                found = (await connection.execute(body)).one_or_none()
                message = message_of(found) if found else None
            else:
                message = (await elsewhere.messages([MessageId(row.message_id)])).get(row.message_id)
            progress = await _progress(connection, app, row, users, message)
            if elsewhere is not None and message is not None and message.conversation == inbox_id(app):
                numbers = await elsewhere.numbers(message, users, inbox=True)
                progress.queue.update({int(user): number for user, number in numbers.items()})
            people = tuple(_recipient(user, progress, message) for user in users if user in progress.names)
            return _view_of(row, message, people)

        return await self._basis.database.read(work)

    async def timeline(self, app: AppId, notification: str, page: PageRequest) -> Slice[TimelineEvent]:
        """What happened to a notification, oldest first. Raises NotFound."""
        row = await self._basis.database.read(lambda c: _notification_row(c, app, notification))
        found = await slice_of(
            self._basis.database,
            _story(app, notification, page),
            page,
            read=_event_of,
            mark=lambda r: place(to_micros(r.at), r.rank, r.delivery, r.number),
        )
        if page.after is not None:
            return found
        return Slice([TimelineEvent(row.created_at, "accepted"), *found.items], found.next)

    async def deliveries(self, app: AppId, only: DeliveryFilter, page: PageRequest) -> Slice[DeliveryView]:
        """Deliveries that match, newest first."""
        query = _deliveries(app).order_by(DELIVERY.c.id.desc())
        wanted: Mapping[str, object] = {
            "notification_id": only.notification,
            "user_id": only.user,
            "state": only.state,
            "channel": only.channel,
        }
        for name, value in wanted.items():
            if value is not None:
                query = query.where(DELIVERY.c[name] == value)
        if page.after is not None:
            query = query.where(DELIVERY.c.id < values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database, query, page, read=delivery_of, mark=lambda row: place(row.id)
        )

    async def delivery(self, app: AppId, delivery: str) -> DeliveryStory:
        """One delivery with its events and attempts. Raises NotFound."""

        async def work(connection: AsyncConnection) -> DeliveryStory:
            query = _deliveries(app).where(DELIVERY.c.id == delivery)
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise NotFound("delivery_not_found", "There is no such delivery.")
            events = select(DELIVERY_EVENT).where(DELIVERY_EVENT.c.delivery_id == delivery)
            attempts = select(ATTEMPT).where(ATTEMPT.c.delivery_id == delivery)
            return DeliveryStory(
                delivery_of(row),
                tuple(
                    DeliveryEventView(e.version, e.at, e.state, e.reason)
                    for e in await connection.execute(events.order_by(DELIVERY_EVENT.c.version))
                ),
                tuple(
                    AttemptView(
                        a.number, a.started_at, a.finished_at, a.outcome, a.reason, a.provider_id, a.detail
                    )
                    for a in await connection.execute(attempts.order_by(ATTEMPT.c.number))
                ),
            )

        return await self._basis.database.read(work)


async def _notification_row(connection: AsyncConnection, app: AppId, notification: str) -> Row[Any]:
    query = select(NOTIFICATION).where(NOTIFICATION.c.id == notification, NOTIFICATION.c.app_id == app)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("notification_not_found", "There is no such notification.")
    return row


async def _progress(
    connection: AsyncConnection, app: AppId, row: Row[Any], users: Sequence[UserKey], message: Message | None
) -> _Progress:
    """Four questions per thousand recipients, whatever their queues hold."""
    progress = _Progress()
    for start in range(0, len(users), _CHUNK):
        some = users[start : start + _CHUNK]
        names = select(USER.c.id, USER.c.user_id).where(USER.c.id.in_(some))
        progress.names.update({r.id: r.user_id for r in await connection.execute(names)})
        cursors = (
            select(DEVICE.c.user_id, func.max(DEVICE.c.cursor).label("cursor"))
            .where(DEVICE.c.user_id.in_(some))
            .group_by(DEVICE.c.user_id)
        )
        progress.cursors.update({r.user_id: r.cursor for r in await connection.execute(cursors)})
        if message is None:
            continue
        reads = select(MEMBER.c.user_id, MEMBER.c.read_seq).where(
            MEMBER.c.conversation_id == message.conversation, MEMBER.c.user_id.in_(some)
        )
        progress.reads.update({r.user_id: r.read_seq for r in await connection.execute(reads)})
        if message.conversation == inbox_id(app):
            # By inbox_seq, which is indexed; message_id of a queue entry is not.
            numbers = select(QUEUE_ENTRY.c.user_id, QUEUE_ENTRY.c.user_seq).where(
                QUEUE_ENTRY.c.user_id.in_(some), QUEUE_ENTRY.c.inbox_seq == message.seq
            )
            progress.queue.update({r.user_id: r.user_seq for r in await connection.execute(numbers)})
    rows = await connection.execute(
        _deliveries(app).where(DELIVERY.c.notification_id == row.id).order_by(DELIVERY.c.hop)
    )
    for delivery in rows:
        progress.deliveries[delivery.user_id].append(delivery_of(delivery))
        progress.queue.setdefault(delivery.user_id, delivery.user_seq)
    return progress


def _recipient(user: UserKey, progress: _Progress, message: Message | None) -> RecipientView:
    deliveries = tuple(progress.deliveries.get(user, ()))
    number = progress.queue.get(user)
    acknowledged = number is not None and progress.cursors.get(user, 0) >= number > 0
    read = any(d.read for d in deliveries) or (
        message is not None and progress.reads.get(user, 0) >= message.seq
    )
    delivered = acknowledged or any(d.state is DeliveryState.DELIVERED for d in deliveries)
    return RecipientView(
        user_id=progress.names[user],
        queue_seq=number,
        pushed=delivered or any(d.channel == "ws" and d.state in _PUSHED for d in deliveries),
        delivered=delivered or read,
        read=read,
        deliveries=deliveries,
    )


def _view_of(row: Row[Any], message: Message | None, people: tuple[RecipientView, ...]) -> NotificationView:
    return NotificationView(
        id=NotificationId(row.id),
        app=AppId(row.app_id),
        type=row.type,
        category=row.category,
        priority=row.priority,
        policy=msgspec.json.decode(row.policy, type=Policy),
        dedupe_key=row.dedupe_key,
        collapse_key=row.collapse_key,
        metadata=row.metadata,
        created_at=row.created_at,
        expires_at=row.expires_at,
        message=message,
        recipients=people,
    )


def _story(app: AppId, notification: str, page: PageRequest) -> Select[Any]:
    """Events and attempts of all deliveries of a notification, in the order of time."""
    about = (DELIVERY.c.notification_id == notification, DELIVERY.c.app_id == app)
    people = DELIVERY.join(USER, USER.c.id == DELIVERY.c.user_id)
    events = select(
        DELIVERY_EVENT.c.at.label("at"),
        literal_column("0").label("rank"),
        DELIVERY.c.id.label("delivery"),
        DELIVERY_EVENT.c.version.label("number"),
        DELIVERY_EVENT.c.state.label("event"),
        USER.c.user_id.label("person"),
        DELIVERY.c.channel.label("channel"),
        DELIVERY_EVENT.c.reason.label("reason"),
        null().label("provider_id"),
        literal("").label("detail"),
    ).select_from(DELIVERY_EVENT.join(people, DELIVERY.c.id == DELIVERY_EVENT.c.delivery_id))
    attempts = select(
        func.coalesce(ATTEMPT.c.finished_at, ATTEMPT.c.started_at).label("at"),
        literal_column("1").label("rank"),
        DELIVERY.c.id.label("delivery"),
        ATTEMPT.c.number.label("number"),
        ATTEMPT.c.outcome.label("event"),
        USER.c.user_id.label("person"),
        DELIVERY.c.channel.label("channel"),
        ATTEMPT.c.reason.label("reason"),
        ATTEMPT.c.provider_id.label("provider_id"),
        ATTEMPT.c.detail.label("detail"),
    ).select_from(ATTEMPT.join(people, DELIVERY.c.id == ATTEMPT.c.delivery_id))
    story = union_all(events.where(*about), attempts.where(*about)).subquery("story")
    order = (story.c.at, story.c.rank, story.c.delivery, story.c.number)
    query = select(story).order_by(*order)
    if page.after is not None:
        at, rank, delivery, number = values_of(page.after, tuple[Micros, BigInt, str, BigInt])
        after = (literal(from_micros(at), UtcTime), literal(rank), literal(delivery), literal(number))
        query = query.where(tuple_(*order) > tuple_(*after))
    return query


def _event_of(row: Row[Any]) -> TimelineEvent:
    at: datetime = row.at
    provider = f"{row.provider_id} " if row.provider_id else ""
    return TimelineEvent(
        at=at,
        event=f"attempt.{row.event or 'started'}" if row.rank else str(row.event),
        user_id=row.person,
        channel=row.channel,
        delivery=row.delivery,
        reason=row.reason,
        detail=f"{provider}{row.detail}".strip(),
    )
