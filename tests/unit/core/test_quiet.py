"""Quiet hours by the clock of whoever wants them."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from hub.core.quiet import QuietWindow, quiet_until

NIGHT = (QuietWindow(time(22), time(8)),)


def at(text: str, zone: str = "Asia/Shanghai") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-02 21:59", None),
        ("2026-03-02 22:00", "2026-03-03 08:00"),
        ("2026-03-03 00:30", "2026-03-03 08:00"),
        ("2026-03-03 07:59", "2026-03-03 08:00"),
        ("2026-03-03 08:00", None),
    ],
)
def test_a_night_goes_over_midnight(now: str, until: str | None) -> None:
    found = quiet_until(NIGHT, "Asia/Shanghai", at(now))
    assert found == (at(until) if until else None)


def test_the_clock_is_the_persons() -> None:
    now = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # 23:00 in Shanghai, 10:00 in New York
    assert quiet_until(NIGHT, "Asia/Shanghai", now) is not None
    assert quiet_until(NIGHT, "America/New_York", now) is None
    assert quiet_until(NIGHT, "Nowhere/At all", now) == quiet_until(NIGHT, "Asia/Shanghai", now)


def test_days_are_those_on_which_quiet_begins() -> None:
    friday = (QuietWindow(time(22), time(8), frozenset({4})),)
    assert quiet_until(friday, "Asia/Shanghai", at("2026-03-06 23:00")) == at("2026-03-07 08:00")
    assert quiet_until(friday, "Asia/Shanghai", at("2026-03-07 07:00")) == at("2026-03-07 08:00")
    assert quiet_until(friday, "Asia/Shanghai", at("2026-03-07 23:00")) is None


def test_quiet_that_follows_quiet_is_one() -> None:
    windows = (*NIGHT, QuietWindow(time(8), time(9)), QuietWindow(time(12), time(13)))
    assert quiet_until(windows, "Asia/Shanghai", at("2026-03-02 23:00")) == at("2026-03-03 09:00")


def test_quiet_all_round_the_clock_is_looked_at_again() -> None:
    always = (QuietWindow(time(0), time(12)), QuietWindow(time(12), time(0)))
    until = quiet_until(always, "Asia/Shanghai", at("2026-03-02 10:00"))
    assert until is not None
    assert until > at("2026-03-05 00:00")


def test_clocks_that_are_put_forward_or_back_move_the_end_with_them() -> None:
    night = (QuietWindow(time(22), time(6)),)
    berlin = "Europe/Berlin"
    assert quiet_until(night, berlin, at("2026-03-28 23:00", berlin)) == datetime(2026, 3, 29, 4, tzinfo=UTC)
    assert quiet_until(night, berlin, at("2026-10-24 23:00", berlin)) == datetime(2026, 10, 25, 5, tzinfo=UTC)


def test_an_end_that_the_clocks_leave_out_is_when_they_are_put_forward() -> None:
    night = (QuietWindow(time(22), time(2, 30)),)
    ends = quiet_until(night, "Europe/Berlin", at("2026-03-28 23:00", "Europe/Berlin"))
    assert ends == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
