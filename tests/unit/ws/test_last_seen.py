"""Sightings are reported in batches, the latest each, and kept while nobody takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from hub.channels.ws import last_seen
from hub.channels.ws.last_seen import LastSeen
from hub.core.errors import Unavailable
from hub.core.message import UserKey

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = START + timedelta(seconds=5)
ANN, BEN, EVE = UserKey(1), UserKey(2), UserKey(3)


class Directory:
    """Takes reports, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[dict[UserKey, datetime]] = []

    async def report(self, times: Mapping[UserKey, datetime]) -> None:
        if self.away:
            raise Unavailable("database_away", "")
        self.taken.append(dict(times))


async def test_the_latest_is_reported_once() -> None:
    directory = Directory()
    seen = LastSeen(directory.report)
    seen.note(ANN, LATER)
    seen.note(ANN, START)
    seen.note(BEN, START)
    await seen.report()
    await seen.report()
    assert directory.taken == [{ANN: LATER, BEN: START}]


async def test_what_was_refused_is_reported_later_with_what_came_meanwhile() -> None:
    directory = Directory()
    directory.away = True
    seen = LastSeen(directory.report)
    seen.note(ANN, LATER)
    await seen.report()
    seen.note(ANN, START)
    seen.note(BEN, START)
    directory.away = False
    await seen.report()
    assert directory.taken == [{ANN: LATER, BEN: START}]


async def test_too_many_push_out_the_oldest_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_seen, "_WAITING", 2)
    directory = Directory()
    seen = LastSeen(directory.report)
    for user in (ANN, BEN, EVE):
        seen.note(user, START)
    await seen.report()
    assert directory.taken == [{BEN: START, EVE: START}]
    assert seen.dropped == 1


async def test_without_anybody_to_report_to_nothing_is_kept() -> None:
    seen = LastSeen(None)
    seen.note(ANN, START)
    await seen.report()
    assert seen.dropped == 0
