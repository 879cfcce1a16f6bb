"""Values of taking back: what is canceled, recalled, replayed or scheduled, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.message import AppId, Draft, MessageId, NotificationId, UserKey
from hub.core.outcome import Reason


class ScheduledState(StrEnum):
    """Where a scheduled notification is; only the first two change any more."""

    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    CANCELED = "canceled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ScheduledRow:
    """A notification that is sent at its time. `detail` says why it was refused then."""

    id: NotificationId
    app: AppId
    message: MessageId
    state: ScheduledState
    send_at: datetime
    draft: Draft
    created_at: datetime
    detail: str = ""
    fingerprint: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class CancelReport:
    """What cancelling a notification came to: deliveries `canceled`, being tried just now (`under_way`), and `sent`
    before. `scheduled` says that it had not even been submitted."""

    notification: NotificationId
    scheduled: bool = False
    canceled: int = 0
    under_way: int = 0
    sent: int = 0


class RecallResult(StrEnum):
    """What recalling came to for one person on one channel."""

    RECALLED = "recalled"
    """It disappears where it was."""
    CANCELED = "canceled"
    """It had not left, and will not."""
    NOT_SENT = "not_sent"
    """It never went this way."""
    UNDER_WAY = "under_way"
    """It is being tried at this moment: nobody knows yet."""
    NOT_RECALLABLE = "not_recallable"
    """The provider has it, and takes nothing back."""


INBOX = "inbox"
"""Where the message itself lies, in the app: no channel of a policy."""


@dataclass(frozen=True, slots=True)
class RecallLine:
    """The truth for one person and one channel."""

    user: UserKey
    channel: str
    result: RecallResult
    delivery: DeliveryId | None = None


@dataclass(frozen=True, slots=True)
class RecallReport:
    """What can be taken back and what cannot, person by person."""

    notification: NotificationId
    scheduled: bool = False
    lines: tuple[RecallLine, ...] = ()


@dataclass(frozen=True, slots=True)
class EventScope:
    """Which notifications a business event speaks of: these, those of a thread, or the one of a dedupe key."""

    notifications: tuple[NotificationId, ...] = ()
    thread: str | None = None
    dedupe_key: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which dead letters are to be tried again; what is None or empty does not narrow. `since` and `until` are about
    when they were planned."""

    ids: tuple[DeliveryId, ...] = ()
    notification: NotificationId | None = None
    user: UserKey | None = None
    channel: str | None = None
    state: DeliveryState | None = None
    reason: Reason | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 1_000
