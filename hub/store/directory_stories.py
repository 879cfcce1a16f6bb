"""The directory's questions for the delivery story: how one message stands with one person, and what was tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import inbox_id
from hub.core.delivery import DeliveryState
from hub.core.errors import NotFound
from hub.core.message import AppId, MessageId, UserKey
from hub.core.records import AttemptView, DeliveryEventView, DeliveryStory, DeliveryView, RecipientView
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
)
from hub.store.directory_notifications import delivery_of
from hub.store.elsewhere import MessagesElsewhere

_PUSHED = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED})


class StoryReads:
    """One person, one message."""

    _basis: Basis

    async def notification_message(self, app: AppId, notification: str) -> str:
        """The message that a notification is about. Raises NotFound."""
        query = select(NOTIFICATION.c.message_id).where(
            NOTIFICATION.c.id == notification, NOTIFICATION.c.app_id == app
        )
        for row in await self._basis.database.rows(query):
            return str(row.message_id)
        raise NotFound("notification_not_found", "There is no such notification.")

    async def standing(self, app: AppId, message: str, user: UserKey) -> RecipientView | None:
        """How far a message got with one user; None where it was not for them. Raises NotFound."""

        elsewhere = self._basis.elsewhere
        if elsewhere is not None:
            return await self._standing_elsewhere(elsewhere, app, message, user)

        async def work(connection: AsyncConnection) -> RecipientView | None:
            query = select(MESSAGE).where(MESSAGE.c.id == message, MESSAGE.c.app_id == app)
            found = (await connection.execute(query)).one_or_none()
            if found is None:
                raise NotFound("message_not_found", "There is no such message.")
            number = await _queue_number(connection, app, found, user)
            place = _Place(found.id, found.conversation_id, found.seq)
            return await _standing(connection, app, place, user, number)

        return await self._basis.database.read(work)

    async def _standing_elsewhere(
        self, elsewhere: MessagesElsewhere, app: AppId, message: str, user: UserKey
    ) -> RecipientView | None:
        """The same where messages are not in the database."""
        found = (await elsewhere.messages([MessageId(message)])).get(MessageId(message))
        if found is None or found.app != app:
            raise NotFound("message_not_found", "There is no such message.")
        inbox = found.conversation == inbox_id(app)
        number = (await elsewhere.numbers(found, [user], inbox=inbox)).get(user)
        place = _Place(found.id, found.conversation, found.seq)
        return await self._basis.database.read(
            lambda connection: _standing(connection, app, place, user, number)
        )

    async def stories(self, app: AppId, deliveries: Sequence[str]) -> Mapping[str, DeliveryStory]:
        """Deliveries with everything that happened to them, by id."""
        if not deliveries:
            return {}

        async def work(connection: AsyncConnection) -> Mapping[str, DeliveryStory]:
            ids = list(deliveries)
            views = [
                delivery_of(row) for row in await connection.execute(_deliveries(app, DELIVERY.c.id.in_(ids)))
            ]
            events: dict[str, list[DeliveryEventView]] = defaultdict(list)
            query = select(DELIVERY_EVENT).where(DELIVERY_EVENT.c.delivery_id.in_(ids))
            for row in await connection.execute(query.order_by(DELIVERY_EVENT.c.version)):
                events[row.delivery_id].append(DeliveryEventView(row.version, row.at, row.state, row.reason))
            tries: dict[str, list[AttemptView]] = defaultdict(list)
            wanted = select(ATTEMPT).where(ATTEMPT.c.delivery_id.in_(ids)).order_by(ATTEMPT.c.number)
            for row in await connection.execute(wanted):
                tries[row.delivery_id].append(attempt_of(row))
            return {
                view.id: DeliveryStory(view, tuple(events[view.id]), tuple(tries[view.id])) for view in views
            }

        return await self._basis.database.read(work)


def attempt_of(row: Row[Any]) -> AttemptView:
    """A try as a value."""
    return AttemptView(
        number=row.number,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        reason=row.reason,
        provider_id=row.provider_id,
        detail=row.detail,
        code=row.code,
    )


def _deliveries(app: AppId, *only: Any) -> Any:
    return (
        select(DELIVERY, USER.c.user_id.label("product_id"))
        .select_from(DELIVERY.join(USER, USER.c.id == DELIVERY.c.user_id))
        .where(DELIVERY.c.app_id == app, *only)
        .order_by(DELIVERY.c.hop, DELIVERY.c.created_at)
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Which message, and where it is."""

    id: str
    conversation_id: str
    seq: int


async def _standing(
    connection: AsyncConnection, app: AppId, message: _Place, user: UserKey, number: int | None
) -> RecipientView | None:
    mine = _deliveries(app, DELIVERY.c.message_id == message.id, DELIVERY.c.user_id == user)
    deliveries = tuple(delivery_of(row) for row in await connection.execute(mine))
    member = select(MEMBER.c.read_seq, MEMBER.c.joined_seq).where(
        MEMBER.c.conversation_id == message.conversation_id, MEMBER.c.user_id == user
    )
    part = (await connection.execute(member)).one_or_none()
    inbox = message.conversation_id == inbox_id(app)
    belongs = part is not None and not inbox and part.joined_seq < message.seq
    if number is None and not deliveries and not belongs:
        return None
    names = select(USER.c.user_id).where(USER.c.id == user)
    cursors = select(func.max(DEVICE.c.cursor)).where(DEVICE.c.user_id == user)
    cursor = (await connection.scalar(cursors)) or 0
    read = part is not None and part.read_seq >= message.seq
    return _view(str(await connection.scalar(names)), number, deliveries, cursor=cursor, read=read)


def _view(
    user_id: str, number: int | None, deliveries: tuple[DeliveryView, ...], *, cursor: int, read: bool
) -> RecipientView:
    read = read or any(delivery.read for delivery in deliveries)
    acknowledged = number is not None and cursor >= number
    delivered = acknowledged or any(d.state is DeliveryState.DELIVERED for d in deliveries)
    return RecipientView(
        user_id=user_id,
        queue_seq=number,
        pushed=delivered or any(d.channel == "ws" and d.state in _PUSHED for d in deliveries),
        delivered=delivered or read,
        read=read,
        deliveries=deliveries,
    )


async def _queue_number(
    connection: AsyncConnection, app: AppId, message: Row[Any], user: UserKey
) -> int | None:
    """By inbox_seq, which is indexed, where the message is in the inbox; elsewhere within the user's own entries."""
    query = select(QUEUE_ENTRY.c.user_seq).where(QUEUE_ENTRY.c.user_id == user)
    if message.conversation_id == inbox_id(app):
        query = query.where(QUEUE_ENTRY.c.inbox_seq == message.seq)
    else:
        query = query.where(QUEUE_ENTRY.c.message_id == message.id)
    found: int | None = await connection.scalar(query.limit(1))
    return found
