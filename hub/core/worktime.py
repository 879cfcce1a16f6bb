"""Pure: working hours, with holidays and make-up days, and how far a duration reaches when only they count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from hub.core.timezones import DEFAULT, exists, moment, zone

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON = 800
"""Days looked ahead; a calendar with no working time in them is taken for none at all."""
_MAX_SPANS = 8
_MAX_DATES = 1_000
_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Span:
    """Working time from `start` to `end` by the local clock; an end that is not later is on the next day."""

    start: time
    end: time


_NINE_TO_SIX = (Span(time(9), time(18)),)
_OFFICE = (_NINE_TO_SIX,) * 5 + ((), ())


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """`week` has seven lists of spans, Monday first. `holidays` are days off; `workdays` are worked whatever else is
    said of them (调休): by their weekday's hours or, where it has none, by those of the first day that has."""

    timezone: str = DEFAULT
    week: tuple[tuple[Span, ...], ...] = _OFFICE
    holidays: frozenset[date] = frozenset()
    workdays: frozenset[date] = frozenset()

    def is_working(self, at: datetime) -> bool:
        """Whether this moment is working time."""
        return any(start <= at < end for start, end in self._from(at))

    def add(self, start: datetime, duration: timedelta) -> datetime:
        """When this much working time will have passed since `start`. A calendar without working time counts time as
        it passes."""
        left, reached = duration, start
        for opens, closes in self._from(start):
            begin = max(opens, reached)
            if begin >= closes:
                continue
            if closes - begin >= left:
                return begin + left
            left -= closes - begin
            reached = closes
        return start + duration

    def _from(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Spans of working time that end after `at`, in order."""
        where = zone(self.timezone)
        today = at.astimezone(where).date()
        for offset in range(-1, _HORIZON):
            day = today + timedelta(days=offset)
            for span in sorted(self._spans(day), key=lambda span: span.start):
                last = day if span.end > span.start else day + timedelta(days=1)
                opens, closes = moment(day, span.start, where), moment(last, span.end, where)
                if closes > at:
                    yield opens, closes

    def _spans(self, day: date) -> tuple[Span, ...]:
        usual = self.week[day.weekday()]
        if day in self.workdays:
            return usual or next((spans for spans in self.week if spans), ())
        return () if day in self.holidays else usual


DEFAULT_CALENDAR: Final = WorkCalendar()


def parse_calendar(said: object) -> WorkCalendar:
    """From JSON: `{"timezone": …, "week": {"mon": [["09:00", "18:00"]], …}, "holidays": ["2026-10-01"], "workdays":
    […]}`; what is not said is as by default, a weekday that is not named is free. Raises ValueError with the place of
    the first fault."""
    if not isinstance(said, Mapping):
        message = "calendar: an object is expected"
        raise ValueError(message)
    unknown = sorted(set(said) - {"timezone", "week", "holidays", "workdays"})
    if unknown:
        message = f"calendar: nothing is called {unknown[0]!r}"
        raise ValueError(message)
    timezone = said.get("timezone", DEFAULT)
    if not isinstance(timezone, str) or not exists(timezone):
        message = "calendar/timezone: an IANA time zone is expected, such as Asia/Shanghai"
        raise ValueError(message)
    week = _parse_week(said["week"]) if "week" in said else _OFFICE
    return WorkCalendar(
        timezone,
        week,
        _parse_dates(said.get("holidays", ()), "calendar/holidays"),
        _parse_dates(said.get("workdays", ()), "calendar/workdays"),
    )


def calendar_json(calendar: WorkCalendar) -> dict[str, object]:
    """What `parse_calendar` reads."""
    return {
        "timezone": calendar.timezone,
        "week": {
            name: [[_clock(span.start), _clock(span.end)] for span in spans]
            for name, spans in zip(DAYS, calendar.week, strict=True)
        },
        "holidays": [day.isoformat() for day in sorted(calendar.holidays)],
        "workdays": [day.isoformat() for day in sorted(calendar.workdays)],
    }


def parse_clock(said: object) -> time | None:
    """`HH:MM`, with 24:00 for midnight; None for anything else."""
    if said == "24:00":
        return _MIDNIGHT
    try:
        return datetime.strptime(said, "%H:%M").replace(tzinfo=UTC).time() if isinstance(said, str) else None
    except ValueError:
        return None


def _clock(value: time) -> str:
    return value.strftime("%H:%M")


def _parse_week(said: object) -> tuple[tuple[Span, ...], ...]:
    if not isinstance(said, Mapping) or set(said) - set(DAYS):
        message = f"calendar/week: an object of {', '.join(DAYS)} is expected"
        raise ValueError(message)
    week = tuple(_parse_spans(said.get(name, ()), f"calendar/week/{name}") for name in DAYS)
    if not any(week):
        message = "calendar/week: no day has working time"
        raise ValueError(message)
    return week


def _parse_spans(said: object, place: str) -> tuple[Span, ...]:
    message = f'{place}: a list of at most {_MAX_SPANS} spans such as ["09:00", "18:00"] is expected'
    if not isinstance(said, list | tuple) or len(said) > _MAX_SPANS:
        raise ValueError(message)
    spans = []
    for pair in said:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(message)
        start, end = parse_clock(pair[0]), parse_clock(pair[1])
        if start is None or end is None or start == end:
            raise ValueError(message)
        spans.append(Span(start, end))
    return tuple(spans)


def _parse_dates(said: object, place: str) -> frozenset[date]:
    message = f"{place}: a list of at most {_MAX_DATES} dates such as 2026-10-01 is expected"
    if not isinstance(said, Sequence) or isinstance(said, str) or len(said) > _MAX_DATES:
        raise ValueError(message)
    try:
        return frozenset(date.fromisoformat(day) for day in said)
    except (TypeError, ValueError):
        raise ValueError(message) from None
