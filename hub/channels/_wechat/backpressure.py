"""When to hold back from an account: a circuit breaker and a pace, as values and pure functions.

The caller keeps the values, by account and API or by template, and passes the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from hub.channels._wechat.faults import Breaks, Failure, Kind, Pause

_ZERO = timedelta(0)
LONGEST_WAIT: Final = timedelta(minutes=1)
"""Whoever is held back looks again by then: a circuit may have been closed by a person."""
_PROBE_WAIT: Final = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Opens after `failures` in a row of the network or WeChat, at once for what a person must mend. The pause doubles
    from `first` to `longest` each time a probe fails. A probe that never reports is given up after `probe`."""

    failures: int = 20
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
    if failure is None or not (failure.breaks is scope or _of_the_way(failure)):
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


def _of_the_way(failure: Failure) -> bool:
    """WeChat or the network as a whole; a pause of its own says that it is about this send (43108)."""
    return failure.kind in (Kind.BUSY, Kind.AMBIGUOUS) and failure.pause is Pause.DEFAULT


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


@dataclass(frozen=True, slots=True)
class Gate:
    """The circuit and the pace of one API of an account. Whoever was held back was told to come again, the last of
    them at `promised`, so that a long queue does not come back all at once."""

    bucket: Bucket
    breaker: Breaker = field(default_factory=Breaker)
    promised: datetime | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """How many may go now, how long each of the others waits, and what opened the circuit (None: only the pace)."""

    admitted: int
    waits: tuple[timedelta, ...] = ()
    why: Failure | None = None


def enter(
    gate: Gate, wanted: int, limits: BreakerLimits, pace: Pace, *, now: datetime
) -> tuple[Gate, Passage]:
    """Ask for `wanted` sends. Of those admitted, each must be reported to `leave`."""
    breaker, wait = admit(gate.breaker, limits, now=now)
    bucket = _fill(gate.bucket, pace, now)
    if wait is None:
        admitted = max(min(wanted, int(bucket.tokens), 1 if breaker.probing else wanted), 0)
        if breaker.probing and not admitted:
            breaker = gate.breaker  # nobody finds out now
    else:
        admitted = 0
    bucket = replace(bucket, tokens=bucket.tokens - admitted)
    held = wanted - admitted
    if not held:
        return Gate(bucket, breaker, gate.promised), Passage(admitted)
    if breaker.probing:
        wait = min(wait or _PROBE_WAIT, _PROBE_WAIT)
    # The first half of the longest wait is for the circuit, the rest for spreading those who wait.
    start, end = now + min(wait or _ZERO, LONGEST_WAIT / 2), now + LONGEST_WAIT
    step = timedelta(seconds=1 / (pace.per_second * bucket.share))
    first = min(max(gate.promised or start, start), end)
    times = [min(first + step * (number + 1), end) for number in range(held)]
    waits = tuple(at - now for at in times)
    return Gate(bucket, breaker, times[-1]), Passage(admitted, waits, breaker.why)


def leave(
    gate: Gate,
    results: Sequence[Failure | None],
    limits: BreakerLimits,
    pace: Pace,
    *,
    now: datetime,
    unused: int,
) -> Gate:
    """What became of those admitted, in the order in which they ended; `unused` were not sent after all."""
    breaker, bucket = gate.breaker, gate.bucket
    if breaker.probing and not results:
        breaker = replace(breaker, open_until=now, probing=False)
    for failure in results:
        breaker = record(breaker, failure, limits, now=now, scope=Breaks.ACCOUNT)
    if any(failure is not None and failure.kind is Kind.RATE for failure in results):
        bucket = slow(bucket, pace, now=now)
    tokens = min(bucket.tokens + unused, float(pace.burst))
    return replace(gate, breaker=breaker, bucket=replace(bucket, tokens=tokens))
