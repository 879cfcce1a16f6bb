"""How values become text for a person: the filters of templates. Pure; what does not fit is `Unfit`, never a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

_DECIMAL: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?")
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SIGNS: Final[Mapping[str, str]] = {
    "CNY": "¥",
    "JPY": "￥",
    "USD": "$",
    "HKD": "HK$",
    "TWD": "NT$",
    "EUR": "€",
    "GBP": "£",
    "KRW": "₩",
    "THB": "฿",
    "VND": "₫",
    "INR": "₹",
}
_NO_CENTS: Final = frozenset({"JPY", "KRW", "VND"})
_NUMBER_LIMIT: Final = 10**15
_TEXT_LIMIT: Final = 100_000
_TRUNCATE_LIMIT: Final = 20_000


class Unfit(Exception):
    """A value that a filter cannot take; the words complete a sentence about it. Never seen outside the rendering."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Whom the text is for: a BCP 47 locale and an IANA time zone."""

    locale: str
    timezone: str

    @property
    def chinese(self) -> bool:
        """Whether dates and words are Chinese; everybody else reads them in ISO order and English."""
        return self.locale.lower().partition("-")[0] == "zh"


def plain(value: object, voice: Voice) -> str:
    """A value without a filter. Null is empty; lists and objects have no plain text."""
    match value:
        case None:
            return ""
        case bool():
            words = ("是", "否") if voice.chinese else ("yes", "no")
            return words[0] if value else words[1]
        case str():
            if len(value) > _TEXT_LIMIT:
                message = f"has more than {_TEXT_LIMIT:,} characters"
                raise Unfit(message)
            return value
        case int() | float():
            return _number(value)
        case _:
            message = "is a list or an object, and a text was expected"
            raise Unfit(message)


def _number(value: float) -> str:
    # Compared first: a NaN is not less, and an int may be too long to print.
    if not abs(value) < _NUMBER_LIMIT:
        message = "is a number too large to show"
        raise Unfit(message)
    return str(value) if isinstance(value, int) else format(Decimal(str(value)), "f")


def moment_of(value: object) -> datetime | None:
    """An RFC 3339 time, or None."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def day_of(value: object) -> date | None:
    """An ISO date, or None."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def decimal_of(value: object) -> Decimal | None:
    """A number, or a text that is one; None for what is not, and beyond 15 digits before the point."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not abs(value) < _NUMBER_LIMIT:
            return None
        return Decimal(str(value))
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


@lru_cache(maxsize=1_024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # A machine without this zone: a time that says nothing of its zone would lie, UTC lies least.
        return UTC


def _local(value: object, voice: Voice) -> datetime:
    moment = moment_of(value)
    if moment is None:
        message = "is not an RFC 3339 time such as 2026-03-01T09:12:00+08:00"
        raise Unfit(message)
    try:
        return moment.astimezone(_zone(voice.timezone))
    except OverflowError as error:
        message = "is a time beyond the years 1 to 9999"
        raise Unfit(message) from error


def _date_text(day: date, voice: Voice) -> str:
    if voice.chinese:
        return f"{day.year:04d}年{day.month}月{day.day}日"
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}"


def _clock_text(moment: datetime) -> str:
    return f"{moment.hour:02d}:{moment.minute:02d}"


def _datetime(value: object, _argument: str | None, voice: Voice) -> object:
    local = _local(value, voice)
    return f"{_date_text(local.date(), voice)} {_clock_text(local)}"


def _date(value: object, _argument: str | None, voice: Voice) -> object:
    day = day_of(value)  # a date belongs to no zone
    return _date_text(_local(value, voice).date() if day is None else day, voice)


def _time(value: object, _argument: str | None, voice: Voice) -> object:
    return _clock_text(_local(value, voice))


def _money(value: object, currency: str, pattern: str) -> str:
    amount = decimal_of(value)
    if amount is None:
        message = "is not an amount such as 1200 or 1200.00"
        raise Unfit(message)
    cents = Decimal(1) if currency in _NO_CENTS else Decimal("0.01")
    rounded = amount.quantize(cents, ROUND_HALF_UP)
    sign = _SIGNS.get(currency, f"{currency} ")
    return f"{'-' if rounded < 0 else ''}{sign}{format(abs(rounded), pattern)}"


def _amount(value: object, argument: str | None, _voice: Voice) -> object:
    return _money(value, argument or "CNY", ",f")


def _plain_amount(value: object, argument: str | None, _voice: Voice) -> object:
    return _money(value, argument or "CNY", "f")


def _upper(value: object, _argument: str | None, voice: Voice) -> object:
    return plain(value, voice).upper()


def _truncate(value: object, argument: str | None, voice: Voice) -> object:
    text, length = plain(value, voice), int(argument or 0)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _default(value: object, argument: str | None, _voice: Voice) -> object:
    return argument if value is None or value == "" else value


def _urlencode(value: object, _argument: str | None, voice: Voice) -> object:
    # A lone surrogate has no UTF-8; it would be removed from the text anyway.
    return quote(plain(value, voice).encode("utf-8", "ignore"), safe="")


class TakesArgument(StrEnum):
    """Whether something may stand behind a filter's colon."""

    NEVER = "never"
    MAY = "may"
    ALWAYS = "always"


def _anything(_argument: str) -> bool:
    return True


def _is_length(argument: str) -> bool:
    return (
        argument.isascii()
        and argument.isdigit()
        and len(argument) < 6
        and 0 < int(argument) <= _TRUNCATE_LIMIT
    )


def _is_currency(argument: str) -> bool:
    return _CURRENCY.fullmatch(argument) is not None


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: what it does, and which argument it takes (`expects`, in words)."""

    apply: Callable[[object, str | None, Voice], object]
    takes: TakesArgument = TakesArgument.NEVER
    accepts: Callable[[str], bool] = _anything
    expects: str = "no argument"


FILTERS: Final[Mapping[str, Filter]] = {
    "datetime": Filter(_datetime),
    "date": Filter(_date),
    "time": Filter(_time),
    "amount": Filter(
        _amount, TakesArgument.MAY, _is_currency, 'a currency such as "USD", or nothing for CNY'
    ),
    "plain_amount": Filter(
        _plain_amount, TakesArgument.MAY, _is_currency, 'a currency such as "USD", or nothing for CNY'
    ),
    "upper": Filter(_upper),
    "truncate": Filter(
        _truncate,
        TakesArgument.ALWAYS,
        _is_length,
        f"a length from 1 to {_TRUNCATE_LIMIT:,} without separators",
    ),
    "default": Filter(_default, TakesArgument.ALWAYS, expects="the text to show where there is none"),
    "urlencode": Filter(_urlencode),
}
