"""A routing policy as a value: which channels, in which order, and what counts as success on each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Mode(StrEnum):
    """CASCADE tries hops in order; ALL sends every hop at once."""

    CASCADE = "cascade"
    ALL = "all"


class Success(StrEnum):
    """How far a hop must get before the cascade is content with it."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    ACTED = "acted"


class OnUnknown(StrEnum):
    """What to do with a send that may have happened: HOLD it as it is, or go to the NEXT hop."""

    HOLD = "hold"
    NEXT = "next"


class TimerClock(StrEnum):
    """What the waits of a policy are counted in: time as it passes, or the app's working hours only."""

    ALWAYS = "always"
    WORKING_HOURS = "working_hours"


class QuietHours(StrEnum):
    """What happens to a hop that would disturb somebody in their quiet hours."""

    DEFER = "defer"
    SKIP = "skip"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step. `wait` is how long an accepted send may take to reach `success`; None waits for ever.

    `template` and `account` override the notification's own for this step.
    """

    channel: str
    success: Success = Success.DELIVERED
    wait: timedelta | None = None
    only_priority: tuple[str, ...] = ()
    only_category: tuple[str, ...] = ()
    only_locale: tuple[str, ...] = ()
    template: str | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The hops of a notification. The one-hop `ws` policy needs no delivery rows: the queue does it all."""

    hops: tuple[Hop, ...] = (Hop("ws"),)
    mode: Mode = Mode.CASCADE
    stop_on: tuple[str, ...] = ("read", "acted")
    on_unknown: OnUnknown = OnUnknown.HOLD
    clock: TimerClock = TimerClock.ALWAYS
    quiet_hours: QuietHours = QuietHours.DEFER
    digest: timedelta | None = None
    """Outside sends of one person under one `digest_key` within this time become one."""

    @property
    def push_only(self) -> bool:
        """True where nothing is to be done after or instead of the push."""
        return len(self.hops) == 1 and self.hops[0].channel == "ws" and self.hops[0].wait is None


PUSH_ONLY = Policy()
