"""Working hours: what counts, over nights, weekends, holidays, make-up days and clocks that are put forward."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.records import AppSettings
from hub.core.worktime import DEFAULT_CALENDAR, WorkCalendar, calendar_json, parse_calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  (what hypothesis asks for)


def at(text: str, where: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=where).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-03-02 10:00", 2, "2026-03-02 12:00"),
        ("2026-03-02 16:00", 4, "2026-03-03 11:00"),
        ("2026-03-06 17:00", 2, "2026-03-09 10:00"),  # over a weekend
        ("2026-03-07 12:00", 1, "2026-03-09 10:00"),  # from within it
        ("2026-03-02 05:00", 9, "2026-03-02 18:00"),
    ],
)
def test_only_working_hours_count(start: str, hours: int, end: str) -> None:
    assert DEFAULT_CALENDAR.add(at(start), hours * HOUR) == at(end)


def test_holidays_are_left_out_and_make_up_days_are_worked() -> None:
    calendar = parse_calendar(
        {
            "week": {
                name: [["09:00", "12:00"], ["13:00", "18:00"]] for name in ("mon", "tue", "wed", "thu", "fri")
            },
            "holidays": ["2026-10-01", "2026-10-02", "2026-10-05", "2026-10-06", "2026-10-07"],
            "workdays": ["2026-10-10"],
        }
    )
    assert calendar.add(at("2026-09-30 17:00"), 2 * HOUR) == at("2026-10-08 10:00")
    assert calendar.add(at("2026-10-09 17:30"), HOUR) == at("2026-10-10 09:30")
    assert calendar.is_working(at("2026-10-10 09:30"))
    assert not calendar.is_working(at("2026-10-10 12:30"))
    assert not calendar.is_working(at("2026-10-05 10:00"))


def test_a_night_shift_goes_over_midnight() -> None:
    calendar = parse_calendar({"week": {"mon": [["22:00", "06:00"]]}})
    assert calendar.is_working(at("2026-03-03 05:59"))
    assert not calendar.is_working(at("2026-03-03 06:00"))
    assert calendar.add(at("2026-03-02 23:00"), 8 * HOUR) == at("2026-03-09 23:00")


def test_a_day_on_which_clocks_are_put_forward_is_an_hour_shorter() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    calendar = parse_calendar({"timezone": "Europe/Berlin", "week": {"sun": [["00:00", "06:00"]]}})
    assert calendar.add(at("2026-03-29 00:00", berlin), 5 * HOUR) == at("2026-03-29 06:00", berlin)
    autumn = at("2026-10-25 00:00", berlin)
    assert calendar.add(autumn, 7 * HOUR) == at("2026-10-25 06:00", berlin)


def test_a_calendar_without_working_time_counts_time_as_it_passes() -> None:
    calendar = WorkCalendar(week=((),) * 7)
    assert calendar.add(at("2026-03-02 10:00"), HOUR) == at("2026-03-02 11:00")


@given(
    st.datetimes(NAIVE, NAIVE + timedelta(days=365), timezones=st.just(UTC)),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_two_waits_after_each_other_are_one_long_one(start: datetime, one: int, other: int) -> None:
    first, second = timedelta(minutes=one), timedelta(minutes=other)
    whole = DEFAULT_CALENDAR.add(start, first + second)
    assert DEFAULT_CALENDAR.add(DEFAULT_CALENDAR.add(start, first), second) == whole
    assert whole >= start + first + second


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ([], "calendar"),
        ({"zone": "UTC"}, "calendar"),
        ({"timezone": "Mars/Olympus"}, "calendar/timezone"),
        ({"week": {"someday": []}}, "calendar/week"),
        ({"week": {}}, "calendar/week"),
        ({"week": {"mon": [["9", "18:00"]]}}, "calendar/week/mon"),
        ({"week": {"mon": [["09:00", "09:00"]]}}, "calendar/week/mon"),
        ({"week": {"mon": [["09:00"]]}}, "calendar/week/mon"),
        ({"holidays": ["2026-02-30"]}, "calendar/holidays"),
        ({"workdays": "2026-10-10"}, "calendar/workdays"),
        ({"holidays": [5]}, "calendar/holidays"),
    ],
)
def test_what_is_no_calendar_is_refused_with_its_place(said: object, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        parse_calendar(said)


def test_a_calendar_is_written_as_it_is_read() -> None:
    said = {
        "timezone": "Europe/Berlin",
        "week": {name: [["08:00", "16:30"]] if name == "tue" else [] for name in calendar_days()},
        "holidays": ["2026-12-25"],
        "workdays": ["2026-12-27"],
    }
    assert calendar_json(parse_calendar(said)) == said
    assert parse_calendar({}) == DEFAULT_CALENDAR == AppSettings().calendar
    assert parse_calendar(said).holidays == {date(2026, 12, 25)}


def calendar_days() -> tuple[str, ...]:
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
