"""Notifications as answers show them: how far they got with each recipient, or when they are to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from hub.api.answers import loads
from hub.api.deliveries import delivery_shown
from hub.api.policies_json import route_shown
from hub.api.schemas_chat import MessageShown
from hub.api.schemas_notify import NotificationShown, RecipientShown, Status
from hub.core.control import ScheduledRow, ScheduledState
from hub.core.delivery import DeliveryState
from hub.core.message import Message
from hub.core.records import NotificationStatus, NotificationView, RecipientView, status_of


def _recipient(view: RecipientView) -> RecipientShown:
    state = (
        "read" if view.read else "delivered" if view.delivered else "pushed" if view.pushed else "accepted"
    )
    return RecipientShown(
        user_id=view.user_id,
        state=state,
        queue_seq=view.queue_seq,
        deliveries=[delivery_shown(delivery) for delivery in view.deliveries],
    )


def state_of(view: NotificationView, *, now: datetime) -> Status:
    """The status of the whole: canceled where all that was planned was, before it reached anybody."""
    status = status_of(view, now=now)
    deliveries = [delivery for person in view.recipients for delivery in person.deliveries]
    reached = any(person.delivered or person.read for person in view.recipients)
    if (
        status is NotificationStatus.SETTLED
        and not reached
        and deliveries
        and all(delivery.state is DeliveryState.CANCELED for delivery in deliveries)
    ):
        return "canceled"
    return status.value


def notification_shown(view: NotificationView, status: Status) -> NotificationShown:
    """A notification that has been sent."""
    recipients = [_recipient(person) for person in view.recipients]
    counts = dict.fromkeys(("accepted", "pushed", "delivered", "read"), 0)
    for person in recipients:
        counts[person.state] += 1
    return NotificationShown(
        id=view.id,
        status=status,
        type=view.type,
        category=view.category,
        priority=view.priority,
        dedupe_key=view.dedupe_key,
        collapse_key=view.collapse_key,
        metadata=None if view.metadata is None else loads(view.metadata),
        route=route_shown(view.policy),
        send_at=None,
        created_at=view.created_at,
        expires_at=view.expires_at,
        message=None if view.message is None else _message(view.message),
        summary=NotificationShown.Summary(total=len(recipients), **counts),
        recipients=recipients,
    )


def scheduled_shown(row: ScheduledRow) -> NotificationShown:
    """A notification that waits for its time, or did and was canceled or refused then."""
    draft, notification = row.draft, row.draft.notification
    assert notification is not None  # noqa: S101  (only notifications are scheduled)
    return NotificationShown(
        id=row.id,
        status=_SCHEDULED[row.state],
        type=notification.type,
        category=notification.category,
        priority=notification.priority,
        dedupe_key=notification.dedupe_key,
        collapse_key=notification.collapse_key,
        metadata=None if notification.metadata is None else loads(notification.metadata),
        route=route_shown(notification.policy),
        send_at=row.send_at,
        created_at=row.created_at,
        expires_at=draft.expires_at,
        message=None,
        summary=NotificationShown.Summary(total=0, accepted=0, pushed=0, delivered=0, read=0),
        recipients=[],
    )


_SCHEDULED: Mapping[ScheduledState, Status] = {
    ScheduledState.SCHEDULED: "scheduled",
    ScheduledState.SENT: "accepted",
    ScheduledState.CANCELED: "canceled",
    ScheduledState.REFUSED: "refused",
}


def _message(message: Message) -> MessageShown:
    return MessageShown(
        id=message.id,
        conversation=message.conversation,
        seq=message.seq,
        sender=message.sender_id,
        kind=message.kind,
        body=loads(message.body),
        at=message.created_at,
        client_msg_id=message.client_msg_id,
        mentions=list(message.mentions) or None,
        notification=message.notification,
        expires_at=message.expires_at,
    )
