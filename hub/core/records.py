"""Values of the directory: apps, keys, people, conversations, and what became of notifications."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from hub.core.caps import FrequencyCap
from hub.core.conversation import Role
from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.message import AppId, Message, MessageId, NotificationId, UserKey
from hub.core.own_state import NOTHING_KEPT, OwnState
from hub.core.policy import Policy
from hub.core.records_groups import ConversationRecord as ConversationRecord
from hub.core.worktime import DEFAULT_CALENDAR, WorkCalendar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Slice(Generic[T_co]):
    """A page of a list. `next` is an opaque place to continue from, None at the end."""

    items: Sequence[T_co]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` items after an opaque place."""

    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answer that an Idempotency-Key got the first time."""

    fingerprint: str
    status: int
    body: bytes


class Repeated(Exception):
    """An Idempotency-Key was used before. Never seen outside the rim."""

    def __init__(self, recorded: Recorded) -> None:
        super().__init__("idempotency key used before")
        self.recorded = recorded


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an app sets for itself; None takes the hub's setting."""

    sessions_per_platform: int | None = None
    session_overflow: str | None = None
    compression: bool = False
    calendar: WorkCalendar = DEFAULT_CALENDAR
    """What waits are counted in where a policy's clock is the working hours."""
    caps: tuple[FrequencyCap, ...] = ()
    retention: timedelta | None = None
    media_max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AppRecord:
    """A tenant."""

    id: AppId
    name: str
    settings: AppSettings
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A business system's key, without its secret."""

    id: str
    app: AppId
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key just made: the only moment at which `secret`, the whole bearer token, is known."""

    record: ApiKeyRecord
    secret: str


@dataclass(frozen=True, slots=True)
class SigningKeyRecord:
    """What end-user tokens are checked against. The hub's own secrets (HS256) have no `public_key`."""

    kid: str
    app: AppId
    alg: str
    public_key: str | None
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MintedToken:
    """An end user's token and when it ends."""

    token: str
    user_id: str
    expires_at: datetime
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person of an app. `preferences` is a JSON object."""

    key: UserKey
    app: AppId
    id: str
    name: str
    locale: str
    timezone: str
    preferences: str
    created_at: datetime
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserWrite:
    """A user as it should be; None leaves a field as it is (or at its default for a new user)."""

    id: str
    name: str | None = None
    locale: str | None = None
    timezone: str | None = None
    preferences: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device of a user; `cursor` is the highest queue number that it acknowledged."""

    id: str
    platform: str
    name: str
    cursor: int
    created_at: datetime
    last_seen_at: datetime | None
    kicked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OwnPart:
    """How one member stands to a conversation. `unread` looks at the newest messages only (UNREAD_WINDOW)."""

    role: Role
    read_seq: int
    muted: bool
    unread: int
    mention: int = 0
    """The highest unread seq that mentions the member, or everybody; 0 for none."""
    state: OwnState = NOTHING_KEPT


UNREAD_WINDOW = 200
"""Unread is counted among this many newest messages, so that a list costs the same however long history is."""


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation in a list. `mine` and `people` (of a direct one) are there for a member's view."""

    record: ConversationRecord
    last: Message | None = None
    mine: OwnPart | None = None
    people: tuple[str, ...] = ()
    announced: bool = False
    """An announcement stands at its top."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A user in a conversation."""

    user: UserKey
    user_id: str
    name: str
    role: Role
    joined_seq: int
    read_seq: int
    silenced_until: datetime | None
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class NewMember:
    """Who should be in a conversation, and as what."""

    user: UserKey
    role: Role = Role.MEMBER


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A routing policy under a name. `expires_in` bounds how long a notification under it is worth sending."""

    name: str
    policy: Policy
    expires_in: timedelta | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One outside delivery as people see it."""

    id: DeliveryId
    notification: NotificationId | None
    message: MessageId
    user_id: str
    hop: int
    channel: str
    state: DeliveryState
    reason: str | None
    attempts: int
    provider_id: str | None
    read: bool
    created_at: datetime
    due_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryEventView:
    """A state that a delivery has been in."""

    version: int
    at: datetime
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One try, with the provider's own words."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    reason: str | None
    provider_id: str | None
    detail: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """A delivery with everything that happened to it."""

    delivery: DeliveryView
    events: tuple[DeliveryEventView, ...]
    attempts: tuple[AttemptView, ...]


@dataclass(frozen=True, slots=True)
class RecipientView:
    """How far a notification got with one person. `queue_seq` is its number in that person's queue."""

    user_id: str
    queue_seq: int | None
    pushed: bool
    delivered: bool
    read: bool
    deliveries: tuple[DeliveryView, ...] = ()

    @property
    def open(self) -> bool:
        """True while something may still be sent."""
        return any(delivery.due_at is not None for delivery in self.deliveries)


@dataclass(frozen=True, slots=True)
class NotificationView:
    """A notification and what became of it. `message` is None once retention has removed the body."""

    id: NotificationId
    app: AppId
    type: str
    category: str
    priority: str
    policy: Policy
    dedupe_key: str | None
    collapse_key: str | None
    metadata: str | None
    created_at: datetime
    expires_at: datetime | None
    message: Message | None
    recipients: tuple[RecipientView, ...]


class NotificationStatus(StrEnum):
    """Where a notification is as a whole."""

    ACCEPTED = "accepted"
    """Committed; nobody has it yet."""
    ACTIVE = "active"
    """On its way, or with some of its recipients."""
    SETTLED = "settled"
    """Everybody has it, or nothing more will be tried."""
    EXPIRED = "expired"
    """Its time was over before everybody had it."""


def status_of(view: NotificationView, *, now: datetime) -> NotificationStatus:
    """The status, computed from what its recipients have: it is not stored and cannot drift."""
    reached = [person for person in view.recipients if person.delivered or person.read]
    if view.recipients and len(reached) == len(view.recipients):
        return NotificationStatus.SETTLED
    if view.expires_at is not None and view.expires_at <= now:
        return NotificationStatus.EXPIRED
    tried = [person for person in view.recipients if person.deliveries]
    if tried and len(tried) == len(view.recipients) and not any(person.open for person in tried):
        return NotificationStatus.SETTLED
    return NotificationStatus.ACTIVE if tried or reached else NotificationStatus.ACCEPTED


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """A line of a notification's story: what happened, to whom, on which channel."""

    at: datetime
    event: str
    user_id: str | None = None
    channel: str | None = None
    delivery: str | None = None
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to look for; None does not narrow."""

    notification: str | None = None
    user: UserKey | None = None
    state: DeliveryState | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what to the configuration. `detail` is a JSON object, never with a secret in it."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    detail: str


_ID_LIMIT = 128


def is_user_id(text: str) -> bool:
    """Whether a product may call a user so: 1 to 128 printable characters of any language, no slash (ids stand
    in paths), no space at the ends (MySQL would not see it), and not a path's `.` or `..`."""
    return (
        0 < len(text) <= _ID_LIMIT
        and text.strip() == text
        and text.replace(" ", "x").isprintable()
        and "/" not in text
        and text not in {".", ".."}
    )


_APP_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def is_app_id(text: str) -> bool:
    """Whether an app may be called so: it stands in paths, tokens and logs."""
    return _APP_ID.fullmatch(text) is not None
