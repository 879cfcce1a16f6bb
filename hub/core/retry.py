"""When to try again: capped exponential back-off with full jitter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` counts the first try too. `patience` bounds how long a delivery waits for its turn (a full bucket, an
    open circuit, quiet hours), counted from its planning or its replay."""

    attempts: int = 8
    base: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=10)
    patience: timedelta = timedelta(days=3)


def delay(policy: RetryPolicy, attempt: int, jitter: float) -> timedelta:
    """How long to wait after try number `attempt` (from 1), with `jitter` in [0, 1].

    Half of the delay is fixed, so that a jitter of 0 cannot hammer.
    """
    exponent = min(max(attempt, 1) - 1, 32)
    full: timedelta = min(policy.base * float(2**exponent), policy.cap)
    return full * (0.5 + 0.5 * min(max(jitter, 0.0), 1.0))
