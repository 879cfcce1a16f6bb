"""Pure: whether somebody wants quiet at a moment, by the clock where they are, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from hub.core.timezones import moment, zone

_LINKED = 16
"""Windows that follow each other without a break; more are not looked at, the next claim looks again."""


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """From `start` to `end` by the local clock; an end that is not later is on the next day. `days` are the weekdays on
    which it begins (Monday is 0); empty is every day."""

    start: time
    end: time
    days: frozenset[int] = frozenset()


def quiet_until(windows: Sequence[QuietWindow], timezone: str, at: datetime) -> datetime | None:
    """When the quiet that holds at this moment ends (UTC); None where none holds."""
    until: datetime | None = None
    for _ in range(_LINKED):
        ends = [end for window in windows if (end := _end(window, timezone, until or at)) is not None]
        if not ends:
            break
        until = max(ends)
    return until


def _end(window: QuietWindow, timezone: str, at: datetime) -> datetime | None:
    where = zone(timezone)
    today = at.astimezone(where).date()
    for day in (today - timedelta(days=1), today):
        if window.days and day.weekday() not in window.days:
            continue
        last = day if window.end > window.start else day + timedelta(days=1)
        if moment(day, window.start, where) <= at < (end := moment(last, window.end, where)):
            return end
    return None
