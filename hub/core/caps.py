"""Pure: how often one person may be disturbed, across everything that an app sends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from hub.core.durations import format_duration, parse_duration
from hub.core.timezones import zone

_MOST = 20
_COUNT = 10_000
_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CapThen(StrEnum):
    """What becomes of a send that is one too many."""

    SKIP = "skip"
    DEFER = "defer"


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `count` sends to one person in each window of length `per`; of one channel or category, or of all."""

    count: int
    per: timedelta
    channel: str | None = None
    category: str | None = None
    then: CapThen = CapThen.SKIP

    def covers(self, channel: str, category: str) -> bool:
        """Whether a send counts."""
        return self.channel in (None, channel) and self.category in (None, category)

    @property
    def rule(self) -> str:
        """What uses are counted under: the same for the same scope and length, so that a new count holds at once."""
        scope = f"{self.channel or '*'}\x1f{self.category or '*'}\x1f{self.per.total_seconds():.0f}"
        return hashlib.sha256(scope.encode()).hexdigest()[:32]

    def window(self, at: datetime, timezone: str) -> tuple[datetime, datetime]:
        """The window that a moment lies in: fixed ones, which begin with a local day where they divide one."""
        offset = at.astimezone(zone(timezone)).utcoffset() or timedelta(0)
        start = _EPOCH + self.per * ((at + offset - _EPOCH) // self.per) - offset
        return start, start + self.per


def parse_caps(said: object) -> tuple[FrequencyCap, ...]:
    """From JSON: `[{"channel": "wechat_mp", "category": null, "count": 3, "per": "PT24H", "then": "skip"}]`. Raises
    ValueError with the place of the first fault."""
    if not isinstance(said, Sequence) or isinstance(said, str) or len(said) > _MOST:
        message = f"caps: a list of at most {_MOST} is expected"
        raise ValueError(message)
    return tuple(_parse(cap, f"caps/{place}") for place, cap in enumerate(said))


def caps_json(caps: Sequence[FrequencyCap]) -> list[dict[str, object]]:
    """What `parse_caps` reads."""
    return [
        {
            "channel": cap.channel,
            "category": cap.category,
            "count": cap.count,
            "per": format_duration(cap.per),
            "then": cap.then.value,
        }
        for cap in caps
    ]


def _parse(said: object, place: str) -> FrequencyCap:
    if not isinstance(said, Mapping) or set(said) - {"channel", "category", "count", "per", "then"}:
        message = f"{place}: an object of channel, category, count, per and then is expected"
        raise ValueError(message)
    count, per = said.get("count"), said.get("per")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= _COUNT:
        message = f"{place}/count: a number from 1 to {_COUNT} is expected"
        raise ValueError(message)
    length = parse_duration(per) if isinstance(per, str) else None
    if length is None or not _SHORTEST <= length <= _LONGEST:
        message = f"{place}/per: a duration from PT1M to P31D is expected"
        raise ValueError(message)
    for name in ("channel", "category"):
        if not isinstance(said.get(name), str | None):
            message = f"{place}/{name}: a name or null is expected"
            raise ValueError(message)
    then = said.get("then", CapThen.SKIP.value)
    if then not in set(CapThen):
        message = f"{place}/then: skip or defer is expected"
        raise ValueError(message)
    return FrequencyCap(count, length, said.get("channel"), said.get("category"), CapThen(then))
