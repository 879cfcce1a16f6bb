"""What routing asks of the store beside the delivery rows: facts about people, counts, gatherings and appointments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from hub.core.control import EventScope, ReplayFilter, ScheduledRow, ScheduledState
from hub.core.delivery import Delivery, DeliveryId
from hub.core.message import AppId, NotificationId, UserKey
from hub.core.outcome import Reason
from hub.core.records import AppSettings


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a delivery's person and message at this moment. `read`: the person's cursor is past it."""

    read: bool = False
    muted: bool = False
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class CapWant:
    """A delivery that wants to be counted: each use is (rule, start and end of its window, how many are allowed)."""

    delivery: DeliveryId
    user: UserKey
    uses: tuple[tuple[str, datetime, datetime, int], ...]


class DigestPart(StrEnum):
    """What a delivery is to the digest it has joined."""

    WAITS = "waits"
    SENDS = "sends"
    JOINED = "joined"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DigestAnswer:
    """WAITS until a time; SENDS for `size` notifications; has JOINED what another one has sent; or FAILED with that
    one, for its reason."""

    part: DigestPart
    until: datetime | None = None
    size: int = 1
    reason: Reason = Reason.DIGESTED


class RoutingStore(Protocol):
    """SQL. Every method is one transaction and may raise `errors.Unavailable`."""

    async def settings_of(self, app: AppId) -> AppSettings:
        """What an app sets for itself; the defaults for an app that is not there."""
        ...

    async def facts(self, rows: Sequence[Delivery]) -> Mapping[DeliveryId, Facts]:
        """Of each of these deliveries: what is read, muted, and superseded by a newer one of its collapse key."""
        ...

    async def superseded_by(self, notifications: Collection[NotificationId]) -> Sequence[Delivery]:
        """What has not left yet of older notifications with the same app and collapse key, for people that a newer
        one of these went to as well."""
        ...

    async def of_notifications(self, app: AppId, ids: Collection[NotificationId]) -> Sequence[Delivery]:
        """All deliveries of these notifications of the app."""
        ...

    async def in_scope(self, app: AppId, scope: EventScope) -> Sequence[NotificationId]:
        """The notifications that an event speaks of; the newest thousand of a thread."""
        ...

    async def dead(self, app: AppId, wanted: ReplayFilter) -> Sequence[Delivery]:
        """Deliveries that failed, or are settled as unknown, oldest first."""
        ...

    async def take_caps(self, wants: Sequence[CapWant], now: datetime) -> Mapping[DeliveryId, str]:
        """Count each delivery, once, under all of its rules or none. Returns which found which rule used up."""
        ...

    async def join_digest(
        self, delivery: Delivery, *, key: str, closes_at: datetime, now: datetime
    ) -> DigestAnswer:
        """Join the open window of (user, channel, key), or open one that closes at that time. Past its end, whoever
        asks first sends for all that joined; the others wait until it is known what became of that. Should that one be
        canceled or passed over, the next that asks sends. Twice is harmless: a member stays what it is."""
        ...

    async def digest_sizes(self, ids: Collection[DeliveryId]) -> Mapping[DeliveryId, int]:
        """For how many notifications these deliveries are sent; who sends for no digest is left out."""
        ...

    async def schedule(self, row: ScheduledRow) -> ScheduledRow:
        """Keep it until its time. Where its dedupe key or Idempotency-Key is kept already, that row is the answer."""
        ...

    async def scheduled(self, app: AppId, id_: NotificationId) -> ScheduledRow | None:
        """A scheduled notification."""
        ...

    async def take_scheduled(
        self, *, now: datetime, lease_until: datetime, limit: int
    ) -> Sequence[ScheduledRow]:
        """Those whose time has come, now this caller's until the lease ends."""
        ...

    async def end_scheduled(
        self, id_: NotificationId, state: ScheduledState, *, now: datetime, detail: str = ""
    ) -> bool:
        """Note how it ended. Only one that waits can be canceled; its keys may be used again then. False where it was
        too late."""
        ...

    async def forget_routing(self, before: datetime) -> int:
        """Remove counts, gatherings and appointments that ended before a time. Returns how many."""
        ...
