"""Token buckets, in this process: a caller may burst, and then goes on at its rate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once. A rate of 0 does not limit."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket said: whether the request may go on, what is left, and when there will be more."""

    allowed: bool
    rate: Rate
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """The RateLimit fields of draft-ietf-httpapi-ratelimit-headers."""
        window = max(1, math.ceil(self.rate.burst / self.rate.per_second))
        found = {
            "RateLimit-Policy": f'"requests";q={self.rate.burst};w={window}',
            "RateLimit": f'"requests";r={self.remaining};t={self.reset_s}',
        }
        if not self.allowed:
            found["Retry-After"] = str(self.reset_s)
        return found


class Buckets:
    """Bounded: past `capacity` the bucket that was not used for longest is forgotten, and starts full again."""

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, rate: Rate, *, now: float | None = None) -> Taken | None:
        """Take one; None where the rate does not limit."""
        if rate.per_second <= 0:
            return None
        now = time.monotonic() if now is None else now
        level, since = self._levels.get(name, (float(rate.burst), now))
        level = min(float(rate.burst), level + (now - since) * rate.per_second)
        allowed = level >= 1
        if allowed:
            level -= 1
        self._levels[name] = (level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > self._capacity:
            self._levels.popitem(last=False)
        wait = 0.0 if level >= 1 else (1 - level) / rate.per_second
        return Taken(allowed, rate, math.floor(level), max(0 if allowed else 1, math.ceil(wait)))
