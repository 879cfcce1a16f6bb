"""Pure: IANA time zones by name, and the moments that a local clock shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DEFAULT = "Asia/Shanghai"


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The zone of this name; the hub's default where there is no such zone."""
    return _known(name) or ZoneInfo(DEFAULT)


def exists(name: str) -> bool:
    """Whether there is a zone of this name."""
    return _known(name) is not None


def _known(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or the name of a folder
        return None


def moment(day: date, clock: time, where: ZoneInfo) -> datetime:
    """The UTC moment at which a clock there shows this. A time that summer time leaves out is the moment at which the
    clocks are put forward; of one that comes twice it is the first."""
    local = datetime.combine(day, clock, where)
    utc = local.astimezone(UTC)
    if utc.astimezone(where).replace(tzinfo=None) == local.replace(tzinfo=None):
        return utc
    # Left out: both readings of it lie around the change, and the later offset's reading lies before it.
    before, after = local.replace(fold=1).astimezone(UTC), utc
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(where).replace(tzinfo=None) >= local.replace(tzinfo=None):
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)
