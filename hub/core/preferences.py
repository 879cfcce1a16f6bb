"""Pure: what a person wants to hear and when, read from a JSON object that anybody may have written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from hub.core.quiet import QuietWindow
from hub.core.worktime import DAYS, parse_clock

_MOST = 500
"""Entries of a list or an object that are looked at."""
_DEEP = 20_000
"""Characters of preferences that are read at all."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """`off` are channels that are not wanted at all, `silenced` categories; `off_in` channels that are not wanted for a
    category. `muted` are `thread:…`, `category:…` and `type:…`. What is not said is wanted."""

    off: frozenset[str] = frozenset()
    silenced: frozenset[str] = frozenset()
    off_in: frozenset[tuple[str, str]] = frozenset()
    quiet: tuple[QuietWindow, ...] = ()
    muted: frozenset[str] = field(default=frozenset())

    def wants(self, channel: str, category: str) -> bool:
        """Whether something of this category may come this way."""
        return not (channel in self.off or category in self.silenced or (category, channel) in self.off_in)

    def mutes(self, *, thread: str | None, category: str, type_: str) -> bool:
        """Whether this person does not want to be told of it outside the app for now."""
        named = {f"category:{category}", f"type:{type_}"}
        if thread is not None:
            named.add(f"thread:{thread}")
        return not named.isdisjoint(self.muted)


NONE = Preferences()


@lru_cache(maxsize=4_096)
def parse(text: str) -> Preferences:
    """`{"channels": {"wechat_mp": false}, "categories": {"marketing": false, "news": {"channels": {"wechat_mp":
    false}}}, "quiet_hours": {"start": "22:00", "end": "08:00", "days": ["fri"]}, "mute": ["thread:…", "category:…",
    "type:…"]}`; `quiet_hours` may be a list of such. Never raises: what makes no sense is as if it were not said."""
    if len(text) > _DEEP:
        return NONE
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return NONE
    if not isinstance(said, dict):
        return NONE
    categories = _mapping(said.get("categories"))
    return Preferences(
        off=_refused(said.get("channels")),
        silenced=_refused(categories),
        off_in=frozenset(
            (name, channel)
            for name, words in categories.items()
            if isinstance(words, dict)
            for channel in _refused(words.get("channels"))
        ),
        quiet=_windows(said.get("quiet_hours")),
        muted=frozenset(word for word in _list(said.get("mute")) if isinstance(word, str)),
    )


def _mapping(said: object) -> Mapping[str, object]:
    if not isinstance(said, dict):
        return {}
    return {name: said[name] for name in list(said)[:_MOST] if isinstance(name, str)}


def _list(said: object) -> list[object]:
    return said[:_MOST] if isinstance(said, list) else []


def _refused(said: object) -> frozenset[str]:
    return frozenset(name for name, wanted in _mapping(said).items() if wanted is False)


def _windows(said: object) -> tuple[QuietWindow, ...]:
    words = _list(said) if isinstance(said, list) else [said]
    return tuple(window for word in words if (window := _window(word)) is not None)


def _window(said: object) -> QuietWindow | None:
    words = _mapping(said)
    start, end = parse_clock(words.get("start")), parse_clock(words.get("end"))
    if start is None or end is None or start == end:
        return None
    named = words.get("days")
    days = frozenset(DAYS.index(day) for day in _list(named) if isinstance(day, str) and day in DAYS)
    # Days that are all nonsense are not every day.
    return None if named is not None and not days else QuietWindow(start, end, days)
