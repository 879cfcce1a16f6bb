"""Values to rows and back. Rows to be written are tuples of the database's own values, in the order of COLUMNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState
from hub.core.message import (
    AppId,
    ConversationId,
    Draft,
    Entry,
    Message,
    MessageId,
    NotificationDraft,
    NotificationId,
    Published,
    UserKey,
)
from hub.core.outcome import Accepted, Delivered, Outcome, Reason, Rejected, Retry, Unknown
from hub.core.policy import Policy
from hub.core.ports import NotificationRow
from hub.store.columns import to_micros

MESSAGE_COLUMNS = (
    "id",
    "app_id",
    "conversation_id",
    "seq",
    "sender_id",
    "sender",
    "client_msg_id",
    "kind",
    "body",
    "mentions",
    "notification_id",
    "created_at",
    "expires_at",
)
ENTRY_COLUMNS = ("user_id", "user_seq", "message_id", "inbox_seq")
NOTIFICATION_COLUMNS = (
    "id",
    "app_id",
    "message_id",
    "type",
    "category",
    "priority",
    "policy",
    "dedupe_key",
    "collapse_key",
    "metadata",
    "recipients",
    "created_at",
    "expires_at",
)
DELIVERY_COLUMNS = (
    "id",
    "app_id",
    "notification_id",
    "message_id",
    "conversation_id",
    "seq",
    "user_id",
    "user_seq",
    "hop",
    "channel",
    "state",
    "version",
    "attempts",
    "due_at",
    "expires_at",
    "reason",
    "provider_id",
    "escalated",
    "read",
    "created_at",
)
# What a delivery's life can change.
DELIVERY_CHANGES = (
    "state",
    "version",
    "attempts",
    "due_at",
    "expires_at",
    "reason",
    "provider_id",
    "escalated",
    "read",
)
EVENT_COLUMNS = ("delivery_id", "version", "at", "state", "reason")
ATTEMPT_COLUMNS = (
    "delivery_id",
    "number",
    "started_at",
    "finished_at",
    "outcome",
    "reason",
    "provider_id",
    "detail",
)
ATTEMPT_RESULT = ("finished_at", "outcome", "reason", "provider_id", "detail")
DETAIL_LIMIT = 512

_Values = tuple[Any, ...]
_mentions = msgspec.json.Decoder(tuple[str, ...])
_recipients = msgspec.json.Decoder(tuple[int, ...])
_policy = msgspec.json.Decoder(Policy)
_Reference = tuple[int, int, int | None]
_refs = msgspec.json.Decoder(list[tuple[str, bool, list[_Reference]]])


def message_values(message: Message) -> _Values:
    """The row of a message."""
    expires = message.expires_at
    return (
        message.id,
        message.app,
        message.conversation,
        message.seq,
        message.sender,
        message.sender_id,
        message.client_msg_id,
        message.kind,
        message.body,
        msgspec.json.encode(message.mentions).decode() if message.mentions else None,
        message.notification,
        to_micros(message.created_at),
        None if expires is None else to_micros(expires),
    )


def message_of(row: Row[Any]) -> Message:
    """The message of a row with all its columns."""
    return Message(
        id=row.id,
        app=row.app_id,
        conversation=row.conversation_id,
        seq=row.seq,
        sender=row.sender_id,
        sender_id=row.sender,
        kind=row.kind,
        body=row.body,
        created_at=row.created_at,
        client_msg_id=row.client_msg_id,
        mentions=() if row.mentions is None else _mentions.decode(row.mentions),
        expires_at=row.expires_at,
        notification=row.notification_id,
    )


def entry_values(entry: Entry) -> _Values:
    """The row of a reference."""
    return (entry.user, entry.user_seq, entry.message, entry.inbox_seq)


def notification_values(draft: Draft, notification: NotificationDraft, published: Published) -> _Values:
    """The row of a notification."""
    message = published.message
    expires = message.expires_at
    return (
        notification.id,
        draft.app,
        message.id,
        notification.type,
        notification.category,
        notification.priority,
        msgspec.json.encode(notification.policy).decode(),
        notification.dedupe_key,
        notification.collapse_key,
        notification.metadata,
        msgspec.json.encode([entry.user for entry in published.entries]).decode(),
        to_micros(message.created_at),
        None if expires is None else to_micros(expires),
    )


def notification_of(row: Row[Any]) -> NotificationRow:
    """The notification of a row with all its columns."""
    draft = NotificationDraft(
        id=NotificationId(row.id),
        type=row.type,
        policy=_policy.decode(row.policy),
        category=row.category,
        priority=row.priority,
        dedupe_key=row.dedupe_key,
        collapse_key=row.collapse_key,
        metadata=row.metadata,
    )
    return NotificationRow(
        id=draft.id,
        app=AppId(row.app_id),
        message=MessageId(row.message_id),
        draft=draft,
        recipients=tuple(UserKey(user) for user in _recipients.decode(row.recipients)),
        created_at=row.created_at,
    )


def delivery_values(delivery: Delivery, *, version: int) -> _Values:
    """The row of a delivery, at this version."""
    due, expires = delivery.due_at, delivery.expires_at
    return (
        delivery.id,
        delivery.app,
        delivery.notification,
        delivery.message,
        delivery.conversation,
        delivery.seq,
        delivery.user,
        delivery.user_seq,
        delivery.hop,
        delivery.channel,
        delivery.state.value,
        version,
        delivery.attempts,
        None if due is None else to_micros(due),
        None if expires is None else to_micros(expires),
        None if delivery.reason is None else delivery.reason.value,
        delivery.provider_id,
        delivery.escalated,
        delivery.read,
        to_micros(delivery.created_at),
    )


def delivery_of(row: Row[Any]) -> Delivery:
    """The delivery of a row with all its columns."""
    return Delivery(
        id=DeliveryId(row.id),
        app=AppId(row.app_id),
        message=MessageId(row.message_id),
        notification=None if row.notification_id is None else NotificationId(row.notification_id),
        conversation=ConversationId(row.conversation_id),
        seq=row.seq,
        user=UserKey(row.user_id),
        user_seq=row.user_seq,
        hop=row.hop,
        channel=row.channel,
        state=DeliveryState(row.state),
        created_at=row.created_at,
        version=row.version,
        attempts=row.attempts,
        due_at=row.due_at,
        expires_at=row.expires_at,
        reason=None if row.reason is None else Reason(row.reason),
        provider_id=row.provider_id,
        escalated=row.escalated,
        read=row.read,
    )


def event_values(delivery: Delivery, *, version: int, at: int) -> _Values:
    """The row that remembers the state a delivery came into."""
    reason = None if delivery.reason is None else delivery.reason.value
    return (delivery.id, version, at, delivery.state.value, reason)


def attempt_values(attempt: Attempt) -> _Values:
    """The row of one try."""
    finished = attempt.finished_at
    outcome, reason, provider_id, detail = _outcome_values(attempt.outcome)
    return (
        attempt.delivery,
        attempt.number,
        to_micros(attempt.started_at),
        None if finished is None else to_micros(finished),
        outcome,
        reason,
        provider_id,
        detail[:DETAIL_LIMIT],
    )


def _outcome_values(outcome: Outcome | None) -> tuple[str | None, str | None, str | None, str]:
    match outcome:
        case None:
            return None, None, None, ""
        case Delivered(provider_id, detail):
            return "delivered", None, provider_id, detail
        case Accepted(provider_id, detail):
            return "accepted", None, provider_id, detail
        case Retry(reason, _, detail):
            return "retry", reason.value, None, detail
        case Rejected(reason, detail):
            return "rejected", reason.value, None, detail
        case Unknown(reason, detail):
            return "unknown", reason.value, None, detail


def refs_of(published: tuple[Published, ...]) -> bytes:
    """What `PublishBatch.refs` holds: which messages were published, and who got them under which number."""
    return msgspec.json.encode(
        [
            (item.message.id, item.grew, [(e.user, e.user_seq, e.inbox_seq) for e in item.entries])
            for item in published
        ]
    )


def refs_from(raw: bytes) -> list[tuple[str, bool, list[_Reference]]]:
    """The same, read again."""
    return _refs.decode(raw)


def published_of(
    refs: list[tuple[str, bool, list[_Reference]]], bodies: Mapping[MessageId, Message]
) -> list[Published]:
    """What was published, put together again with its bodies; those that are gone are left out."""
    published = []
    for id_, grew, entries in refs:
        message = bodies.get(MessageId(id_))
        if message is not None:
            made = tuple(Entry(UserKey(u), user_seq, message.id, inbox) for u, user_seq, inbox in entries)
            published.append(Published(message, made, grew=grew))
    return published
