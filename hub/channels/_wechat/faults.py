"""What can go wrong with a call to WeChat, as values, and what a delivery makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, assert_never

from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry, Unknown

BEIJING: Final = timezone(timedelta(hours=8))
"""WeChat's quotas are counted by the day in China, which has no summer time."""

_DETAIL_LIMIT: Final = 500


class Kind(StrEnum):
    """Whose fault it is, which decides what happens next."""

    TOKEN = "token"  # noqa: S105
    """The access token is not good (any more): a new one, and one more call."""
    BUSY = "busy"
    """WeChat or the way there, for now: not sent, try again."""
    RATE = "rate"
    """Too much for now: wait, and slow the account down."""
    RECIPIENT = "recipient"
    """Never to this person this way, until the person does something."""
    MESSAGE = "message"
    """Never this message or template, until somebody mends it."""
    ACCOUNT = "account"
    """The account's configuration is broken: nothing will go through until a person acts."""
    LOGIN = "login"
    """A login code is wrong, used or old: the person must log in again."""
    DUPLICATE = "duplicate"
    """WeChat has this very send already."""
    AMBIGUOUS = "ambiguous"
    """The request may have been carried out."""
    BUG = "bug"
    """The hub asked wrongly."""
    UNRECOGNISED = "unrecognised"
    """A code that is not in the table: once more, then as a MESSAGE."""


class Pause(StrEnum):
    """How long a Retry waits; DEFAULT leaves it to the engine's back-off."""

    DEFAULT = "default"
    MOMENT = "moment"
    MINUTE = "minute"
    HOUR = "hour"
    NEXT_DAY = "next_day"
    DAY = "day"
    ACCOUNT = "account"


class Breaks(StrEnum):
    """What should take no more sends until somebody has looked."""

    NOTHING = "nothing"
    TEMPLATE = "template"
    ACCOUNT = "account"


class Effect(StrEnum):
    """What a code teaches about the person, for the binding or the ledger of subscriptions."""

    NONE = "none"
    NO_SUCH_OPENID = "no_such_openid"
    NOT_FOLLOWING = "not_following"
    NO_GRANT = "no_grant"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Advice:
    """What happened and what to do about it, in one language."""

    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One errcode of WeChat in the hub's words."""

    kind: Kind
    reason: Reason
    zh: Advice
    en: Advice
    pause: Pause = Pause.DEFAULT
    breaks: Breaks = Breaks.NOTHING
    effect: Effect = Effect.NONE

    def advice(self, locale: str) -> Advice:
        """In Chinese for a `zh…` locale, otherwise in English."""
        return self.zh if locale.lower().startswith("zh") else self.en


@dataclass(frozen=True, slots=True)
class Pauses:
    """WeChat changes its limits often: these are settings. `reset` is when a day's quota starts, in Beijing."""

    moment: timedelta = timedelta(seconds=2)
    minute: timedelta = timedelta(minutes=1)
    account: timedelta = timedelta(minutes=10)
    reset: timedelta = timedelta(minutes=5)
    """After midnight: no official page says the exact time."""

    def of(self, pause: Pause, now: datetime) -> timedelta | None:
        """How long from `now`; None for the engine's own back-off."""
        match pause:
            case Pause.DEFAULT:
                return None
            case Pause.MOMENT:
                return self.moment
            case Pause.MINUTE:
                return self.minute
            case Pause.HOUR:
                return timedelta(hours=1)
            case Pause.DAY:
                return timedelta(days=1)
            case Pause.ACCOUNT:
                return self.account
            case Pause.NEXT_DAY:
                return self._next_day(now)
            case _:
                assert_never(pause)

    def _next_day(self, now: datetime) -> timedelta:
        midnight = now.astimezone(BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=1) + self.reset - now


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no result. `words` are the provider's own (or the network's), without any secret."""

    kind: Kind
    reason: Reason
    errcode: int | None = None
    words: str = ""
    rid: str | None = None
    """WeChat explains a failed request by this id for seven days."""
    pause: Pause = Pause.DEFAULT
    breaks: Breaks = Breaks.NOTHING
    effect: Effect = Effect.NONE
    fields: tuple[str, ...] = field(default=())
    """The template fields that WeChat named."""

    @property
    def sent(self) -> bool | None:
        """Whether the request was carried out: None where nobody knows."""
        match self.kind:
            case Kind.AMBIGUOUS:
                return None
            case Kind.DUPLICATE:
                return True
            case _:
                return False

    @property
    def detail(self) -> str:
        """For the person who looks at night: code, words and request id."""
        code = f"errcode {self.errcode}: " if self.errcode is not None else ""
        rid = f" (rid {self.rid})" if self.rid and self.rid not in self.words else ""
        return f"{code}{self.words}{rid}"[:_DETAIL_LIMIT]


def outcome_of(failure: Failure, *, now: datetime, attempt: int, pauses: Pauses | None = None) -> Outcome:
    """What a delivery makes of a failed send; `attempt` counts from 1."""
    reason, detail = failure.reason, failure.detail
    code = str(failure.errcode) if failure.errcode is not None else ""
    match failure.kind:
        case Kind.TOKEN | Kind.BUSY | Kind.RATE | Kind.ACCOUNT:
            return Retry(reason, (pauses or Pauses()).of(failure.pause, now), detail, code=code)
        case Kind.RECIPIENT | Kind.MESSAGE | Kind.LOGIN | Kind.BUG:
            return Rejected(reason, detail, code)
        case Kind.UNRECOGNISED:
            if attempt <= 1:
                return Retry(reason, None, detail, code=code)
            return Rejected(reason, detail, code)
        case Kind.DUPLICATE:
            return Accepted(None, detail)
        case Kind.AMBIGUOUS:
            return Unknown(reason, detail, code)
        case _:
            assert_never(failure.kind)
