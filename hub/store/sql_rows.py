"""Values to rows and back. Rows to be written are tuples of the database's own values, in the order of COLUMNS."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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
    TemplatePin,
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
    "control",
    "reply_to",
    "forward_of",
    "edited_at",
    "changed_seq",
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
    "thread",
    "extras",
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
    "priority",
    "tried_at",
    "doubt_since",
    "spent",
    "replayed_at",
    "callback",
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
    "tried_at",
    "doubt_since",
    "spent",
    "replayed_at",
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
    "code",
)
ATTEMPT_RESULT = ("finished_at", "outcome", "reason", "provider_id", "detail", "code")
DETAIL_LIMIT = 512
CODE_LIMIT = 32

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
        message.control,
        message.reply_to,
        message.forward_of,
        _micros(message.edited_at),
        0,
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
        control=row.control,
        reply_to=row.reply_to,
        forward_of=row.forward_of,
        edited_at=row.edited_at,
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
        notification.thread,
        _extras_of(notification),
        msgspec.json.encode([entry.user for entry in published.entries]).decode(),
        to_micros(message.created_at),
        None if expires is None else to_micros(expires),
    )


class _Extras(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a notification carries and nobody searches for."""

    digest_key: str | None = None
    template: TemplatePin | None = None
    data: str | None = None
    callback: str | None = None
    task: str | None = None


_extras = msgspec.json.Decoder(_Extras)
_PLAIN = _Extras()


def _extras_of(draft: NotificationDraft) -> str | None:
    extras = _Extras(draft.digest_key, draft.template, draft.data, draft.callback, draft.task)
    return None if extras == _PLAIN else msgspec.json.encode(extras).decode()


def notification_of(row: Row[Any]) -> NotificationRow:
    """The notification of a row with all its columns."""
    extras = _PLAIN if row.extras is None else _extras.decode(row.extras)
    draft = NotificationDraft(
        id=NotificationId(row.id),
        type=row.type,
        policy=_policy.decode(row.policy),
        category=row.category,
        priority=row.priority,
        dedupe_key=row.dedupe_key,
        collapse_key=row.collapse_key,
        metadata=row.metadata,
        thread=row.thread,
        digest_key=extras.digest_key,
        template=extras.template,
        data=extras.data,
        callback=extras.callback,
        task=extras.task,
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
        _micros(delivery.due_at),
        _micros(delivery.expires_at),
        None if delivery.reason is None else delivery.reason.value,
        delivery.provider_id,
        delivery.escalated,
        delivery.read,
        delivery.priority,
        _micros(delivery.tried_at),
        _micros(delivery.doubt_since),
        delivery.spent,
        _micros(delivery.replayed_at),
        delivery.callback,
        to_micros(delivery.created_at),
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


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
        priority=row.priority,
        tried_at=row.tried_at,
        doubt_since=row.doubt_since,
        spent=row.spent,
        replayed_at=row.replayed_at,
        callback=row.callback,
    )


def event_values(delivery: Delivery, *, version: int, at: int) -> _Values:
    """The row that remembers the state a delivery came into."""
    reason = None if delivery.reason is None else delivery.reason.value
    return (delivery.id, version, at, delivery.state.value, reason)


def attempt_values(attempt: Attempt) -> _Values:
    """The row of one try."""
    finished = attempt.finished_at
    outcome, reason, provider_id, detail, code = _outcome_values(attempt.outcome)
    return (
        attempt.delivery,
        attempt.number,
        to_micros(attempt.started_at),
        None if finished is None else to_micros(finished),
        outcome,
        reason,
        provider_id,
        detail[:DETAIL_LIMIT],
        code[:CODE_LIMIT],
    )


def _outcome_values(outcome: Outcome | None) -> tuple[str | None, str | None, str | None, str, str]:
    match outcome:
        case None:
            return None, None, None, "", ""
        case Delivered(provider_id, detail):
            return "delivered", None, provider_id, detail, ""
        case Accepted(provider_id, detail):
            return "accepted", None, provider_id, detail, ""
        case Retry(reason, _, detail):
            return "retry", reason.value, None, detail, outcome.code
        case Rejected(reason, detail, code):
            return "rejected", reason.value, None, detail, code
        case Unknown(reason, detail, code):
            return "unknown", reason.value, None, detail, code


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
