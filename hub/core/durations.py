"""Pure: ISO 8601 durations of days, hours, minutes and seconds, such as PT90S or P1DT12H."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(
    r"P(?:(?P<days>\d{1,6})D)?(?:T(?=\d)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,9})S)?)?"
)


def parse_duration(text: str) -> timedelta | None:
    """The duration, or None for what is none."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return timedelta(**{unit: int(number) for unit, number in found.groupdict(default="0").items()})


def format_duration(length: timedelta) -> str:
    """In the largest of hours, minutes and seconds that is exact to the second."""
    seconds = round(length.total_seconds())
    for size, unit in ((3600, "H"), (60, "M")):
        if seconds and seconds % size == 0:
            return f"PT{seconds // size}{unit}"
    return f"PT{seconds}S"
