"""When to hold back from an account: a circuit breaker and a pace, as values and pure functions.

The caller keeps the values, by account or by template, and passes the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.channels._wechat.faults import Breaks, Failure, Kind

_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Opens after `failures` in a row of the network or WeChat, at once for what a person must mend. The pause doubles
    from `first` to `longest` each time a probe fails. A probe that never reports is given up after `probe`."""

    failures: int = 5
    first: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(minutes=10)
    probe: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed without `open_until`. `why` is what opened it; `probing` while one call finds out."""

    failures: int = 0
    open_until: datetime | None = None
    pause: timedelta = _ZERO
    why: Failure | None = None
    probing: bool = False

    @property
    def closed(self) -> bool:
        """Whether everything may pass."""
        return self.open_until is None


def admit(breaker: Breaker, limits: BreakerLimits, *, now: datetime) -> tuple[Breaker, timedelta | None]:
    """None: go ahead. Otherwise how long to wait. When the pause is over one call passes as a probe, and the others
    wait for what it reports."""
    if breaker.open_until is None:
        return breaker, None
    if now < breaker.open_until:
        return breaker, breaker.open_until - now
    return replace(breaker, open_until=now + limits.probe, probing=True), None


def record(
    breaker: Breaker, failure: Failure | None, limits: BreakerLimits, *, now: datetime, scope: Breaks
) -> Breaker:
    """The breaker after a call. What WeChat answers about a person, a message or another `scope` is a sign of life."""
    if failure is None or not (failure.breaks is scope or failure.kind in (Kind.BUSY, Kind.AMBIGUOUS)):
        return Breaker()
    failures = breaker.failures + 1
    if failure.breaks is scope:
        pause = limits.longest
    elif breaker.closed:
        if failures < limits.failures:
            return replace(breaker, failures=failures)
        pause = limits.first
    elif breaker.probing:
        pause = min(max(breaker.pause, limits.first) * 2, limits.longest)
    else:
        return breaker  # a straggler that left before it opened
    return Breaker(failures, now + pause, pause, failure)


@dataclass(frozen=True, slots=True)
class Pace:
    """What an account may send: `per_second` on average, `burst` at once. Slowed down, it keeps at least `floor` of
    that, and is back at full speed after `recovery`."""

    per_second: float = 100.0
    burst: int = 100
    floor: float = 0.05
    recovery: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be sent now, at which share of the pace, as of `at`."""

    tokens: float
    at: datetime
    share: float = 1.0


def full(pace: Pace, *, now: datetime) -> Bucket:
    """A bucket that has not been used."""
    return Bucket(float(pace.burst), now)


def take(bucket: Bucket, pace: Pace, *, now: datetime, count: int = 1) -> tuple[Bucket, timedelta | None]:
    """None: `count` may go now, and are taken. Otherwise how long until they may, and nothing is taken. More than a
    burst goes as soon as the bucket is full, and is paid for afterwards."""
    filled = _fill(bucket, pace, now)
    needed = min(count, pace.burst)
    if filled.tokens >= needed:
        return replace(filled, tokens=filled.tokens - count), None
    missing = needed - filled.tokens
    return filled, timedelta(seconds=missing / (pace.per_second * filled.share))


def slow(bucket: Bucket, pace: Pace, *, now: datetime) -> Bucket:
    """WeChat says too much: half the pace, and nothing saved up."""
    filled = _fill(bucket, pace, now)
    return replace(filled, tokens=min(filled.tokens, 0.0), share=max(filled.share / 2, pace.floor))


def _fill(bucket: Bucket, pace: Pace, now: datetime) -> Bucket:
    """A clock that went back gives nothing, and takes nothing away."""
    elapsed = max(now - bucket.at, _ZERO)
    earned = elapsed.total_seconds() * pace.per_second * bucket.share
    return Bucket(
        tokens=min(bucket.tokens + earned, float(pace.burst)),
        at=now,
        share=min(bucket.share + elapsed / pace.recovery, 1.0),
    )
