"""What a channel can answer about one delivery: a closed set of values, and why, from a closed catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias


class Reason(StrEnum):
    """The stable catalogue: shown to people, counted in metrics, never renamed."""

    NO_ADDRESS = "no_address"
    NOT_BOUND = "not_bound"
    UNSUBSCRIBED = "unsubscribed"
    OPT_IN_REQUIRED = "opt_in_required"
    QUOTA_EXHAUSTED = "quota_exhausted"
    USER_BLOCK = "user_block"
    PREFERENCE_OFF = "preference_off"
    QUIET_HOURS = "quiet_hours"
    FREQUENCY_CAP = "frequency_cap"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    OFFLINE = "offline"
    NOT_APPLICABLE = "not_applicable"
    TEMPLATE_INVALID = "template_invalid"
    PROVIDER_RATE_LIMITED = "provider_rate_limited"
    PROVIDER_DOWN = "provider_down"
    AUTH_FAILED = "auth_failed"
    RECALLED = "recalled"
    READ = "read"
    ACTED = "acted"
    TIMED_OUT = "timed_out"
    WORKER_LOST = "worker_lost"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    NO_CHANNEL = "no_channel"
    CONTENT_REFUSED = "content_refused"
    MUTED = "muted"
    DIGESTED = "digested"
    CANCELED = "canceled"
    EVENT = "event"
    HOLIDAY = "holiday"
    NO_RECEIPT = "no_receipt"
    ADAPTER_BUG = "adapter_bug"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivered:
    """It reached the person's device. Final."""

    provider_id: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider (or a live session) has it; a receipt may follow."""

    provider_id: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after` overrides the back-off where the provider named a time. With `tried` False nothing left the
    hub (an open circuit, a full bucket, another send to the same person): it does not count as a try.

    `code` is the provider's own code here as in the others, so that its meaning can be told in plain words.
    """

    reason: Reason
    after: timedelta | None = None
    detail: str = ""
    tried: bool = True
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not this way, ever: the next hop's turn."""

    reason: Reason
    detail: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have happened."""

    reason: Reason
    detail: str = ""
    code: str = ""


Outcome: TypeAlias = Delivered | Accepted | Retry | Rejected | Unknown
