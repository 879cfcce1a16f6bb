"""A delivery: one message on its way to one user through one hop of a policy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from hub.core.message import AppId, ConversationId, MessageId, NotificationId, UserKey
from hub.core.outcome import Outcome, Reason
from hub.core.policy import Hop
from hub.core.worktime import WorkCalendar

DeliveryId = NewType("DeliveryId", str)


class DeliveryState(StrEnum):
    """Where a delivery is. It only moves forward by rank, except between ATTEMPTING and RETRY_WAIT."""

    PLANNED = "planned"
    """Its turn has not come."""
    WAITING = "waiting"
    """Held back until a time (quiet hours, delay, quota)."""
    QUEUED = "queued"
    """Due: somebody should claim it."""
    ATTEMPTING = "attempting"
    """Claimed under a lease; the provider may have been called."""
    RETRY_WAIT = "retry_wait"
    """Tried in vain, to be tried again."""
    UNKNOWN = "unknown"
    """A try may have succeeded; only a receipt can tell."""
    ACCEPTED = "accepted"
    """The provider has it."""
    DELIVERED = "delivered"
    """It reached the device. Final."""
    SKIPPED = "skipped"
    """Never tried, for a reason. Final."""
    FAILED = "failed"
    """Tried, and refused or exhausted. Final."""
    CANCELED = "canceled"
    """No longer wanted. Final."""

    @property
    def final(self) -> bool:
        """True where nothing changes the state any more."""
        return self in _FINAL

    @property
    def replayable(self) -> bool:
        """True where only an explicit replay makes it move again."""
        return self in (DeliveryState.FAILED, DeliveryState.UNKNOWN)

    @property
    def cancelable(self) -> bool:
        """True where nothing has left the hub yet."""
        return self in _CANCELABLE


_FINAL = frozenset(
    {DeliveryState.DELIVERED, DeliveryState.SKIPPED, DeliveryState.FAILED, DeliveryState.CANCELED}
)
_CANCELABLE = frozenset(
    {DeliveryState.PLANNED, DeliveryState.WAITING, DeliveryState.QUEUED, DeliveryState.RETRY_WAIT}
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The row as the engine sees it; `version` is the one it was read at, for compare-and-set.

    `due_at` is when the sweep must look at it again, whatever the state: a try for QUEUED and RETRY_WAIT, the end
    of the lease for ATTEMPTING, the end of the hop's patience for ACCEPTED, DELIVERED and UNKNOWN. None is never.
    `escalated` says that the next hop has been planned, which happens once.
    """

    id: DeliveryId
    app: AppId
    message: MessageId
    notification: NotificationId | None
    conversation: ConversationId
    seq: int
    user: UserKey
    user_seq: int
    hop: int
    channel: str
    state: DeliveryState
    created_at: datetime
    version: int = 0
    attempts: int = 0
    due_at: datetime | None = None
    expires_at: datetime | None = None
    reason: Reason | None = None
    provider_id: str | None = None
    escalated: bool = False
    read: bool = False
    priority: str = "normal"
    tried_at: datetime | None = None
    """When the newest try began."""
    doubt_since: datetime | None = None
    """When the first try began of which nobody knows whether it arrived: repeats are harmless for a while only."""
    spent: int = 0
    """Tries of before a replay: they no longer count against the limit."""
    replayed_at: datetime | None = None
    callback: str | None = None
    """The webhook endpoint that hears of this delivery; `*` for every endpoint that subscribes."""

    @property
    def settled(self) -> bool:
        """True where nothing will happen any more by itself; a late receipt may still tell how it ended."""
        waits_for_nobody = self.state in (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
        return self.due_at is None and (self.state.final or waits_for_nobody)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, with the provider's own words beside ours. Written before the call, completed after it."""

    delivery: DeliveryId
    number: int
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class ReadReceipt:
    """The person read it (on any channel)."""


@dataclass(frozen=True, slots=True)
class Acted:
    """The person acted on it (approved, refused…), on any channel: more than reading."""


@dataclass(frozen=True, slots=True)
class Held:
    """It must not go out before a time: quiet hours, a frequency cap, a digest that gathers."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Joined:
    """Another delivery of the same digest has been sent for it too: nothing is to follow."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """Somebody wants what failed, or what nobody knows of, to be tried again: the one way back from a final state."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """Somebody or something (a recall, a read elsewhere) made it pointless."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Lapsed:
    """`due_at` has passed: the lease ended, or the hop's patience did. `unsent`: the channel knows that the try whose
    lease ended never left the hub."""

    unsent: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker (or the accepting node) took it, until `lease_until`."""

    lease_until: datetime


Event = Outcome | ReadReceipt | Acted | Canceled | Lapsed | Claimed | Held | Joined | Replayed


@dataclass(frozen=True, slots=True)
class Step:
    """What `lifecycle.advance` decided: the delivery as it should be, and whether the next hop is due."""

    delivery: Delivery
    next_hop: bool = False
    changed: bool = True


@dataclass(frozen=True, slots=True)
class HopContext:
    """What a decision needs to know beside the delivery: its hop, whether (and for how long since the first doubtful
    try) a repeat is harmless, how long after a try a receipt may still come, and what the hop's wait is counted in."""

    hop: Hop
    repeatable: bool
    hold_unknown: bool
    repeatable_for: timedelta | None = None
    receipt_within: timedelta | None = None
    calendar: WorkCalendar | None = None

    def patience_from(self, start: datetime) -> datetime | None:
        """When the hop's wait is over that began then; None where it waits for ever."""
        if self.hop.wait is None:
            return None
        return start + self.hop.wait if self.calendar is None else self.calendar.add(start, self.hop.wait)


def followers(
    new: Collection[Delivery], changes: Collection[Delivery], written: Collection[DeliveryId]
) -> list[Delivery]:
    """Those of `new` that follow from a change that was written: of the changes of the same message and user, from that
    of the last hop before it. Another hop's change says nothing about it."""
    places: dict[tuple[MessageId, UserKey], list[Delivery]] = {}
    for change in changes:
        places.setdefault((change.message, change.user), []).append(change)
    found = []
    for row in new:
        before = [one for one in places.get((row.message, row.user), ()) if one.hop < row.hop]
        if before and max(before, key=lambda one: one.hop).id in written:
            found.append(row)
    return found
