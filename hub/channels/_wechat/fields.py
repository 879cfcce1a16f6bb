"""What the typed fields of WeChat's templates take: rules as data, and pure functions that check and render.

A value that breaks its rule is refused by WeChat with the whole message (47003), for ever: so it is checked here.
A field is named by its type and a number (`thing1`, `character_string10`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hub.core.templates import Overflow

_CJK: Final = "\u4e00-\u9fff"
_CLOCK: Final = r"(?:(?:[01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)(?::[0-5][0-9])?"
_YMD: Final = (
    r"(?:[0-9]{4}年[0-9]{1,2}月(?:[0-9]{1,2}日)?|[0-9]{1,2}月[0-9]{1,2}日"
    r"|[0-9]{4}(?P<SEP>[-/.])[0-9]{1,2}(?:(?P=SEP)[0-9]{1,2})?|[0-9]{1,2}[-/.][0-9]{1,2})"
)


def _date(name: str) -> str:
    return _YMD.replace("SEP", name)


_CURRENCY: Final = "$¢£¤¥฿₠-⃀￠￡￥￦＄"
_ZWJ: Final = "\u200d"
_WIDE: Final = 0xFFFF


class Fault(StrEnum):
    """What is wrong with a value."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    NOT_IN_ENUM = "not_in_enum"
    MISSING = "missing"
    """The template has the field, the message does not."""
    UNEXPECTED = "unexpected"
    """The message has the field, the template does not."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One type. `limit` is in characters. `ellipsis` ends a shortened value; without one a shortened value would say
    something else (a number, a date), so that it is refused whatever the mapping says."""

    limit: int
    pattern: re.Pattern[str]
    zh: str
    en: str
    ellipsis: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a value cannot be sent. `code` is stable: `wx.thing.too_long`."""

    field: str
    fault: Fault
    zh: str
    en: str

    @property
    def code(self) -> str:
        """For problem documents and metrics."""
        return f"wx.{type_of(self.field)}.{self.fault.value}"


def _rule(limit: int, pattern: str, zh: str, en: str, ellipsis: str | None = None) -> FieldRule:
    return FieldRule(limit, re.compile(pattern, re.DOTALL), zh, en, ellipsis)


_TEXT: Final = r"[^\x00-\x1f\x7f\u2028\u2029]+"

RULES: Final[Mapping[str, FieldRule]] = MappingProxyType(
    {
        "thing": _rule(20, _TEXT, "20 个以内字符，不含换行", "text in one line", "…"),
        "number": _rule(32, r"-?[0-9]+(\.[0-9]+)?", "32 位以内数字，可带小数", "digits, decimals allowed"),
        "letter": _rule(32, r"[A-Za-z]+", "32 位以内字母", "letters A-Z only"),
        "symbol": _rule(5, r"[^\w\s]+", "5 位以内符号", "symbols only"),
        "character_string": _rule(
            32, r"[\x21-\x7e]+", "32 位以内数字、字母或符号", "digits, letters, symbols; no spaces", "..."
        ),
        "time": _rule(
            64,
            rf"(?:{_date('a')}\s?)?{_CLOCK}(?:\s?~\s?(?:{_date('b')}\s?)?{_CLOCK})?",
            "24 小时制时间，如 15:01 或 2019年10月1日 15:01",
            "a time of 24 hours: 15:01 or 2019-10-01 15:01, a range with ~",
        ),
        "date": _rule(
            64,
            rf"{_date('a')}(?:\s?{_CLOCK})?(?:\s?~\s?{_date('b')}(?:\s?{_CLOCK})?)?",
            "日期，如 2019年10月1日，可带时间",
            "a date: 2019-10-01, a time allowed, a range with ~",
        ),
        "amount": _rule(
            10,
            rf"[{_CURRENCY}]?[0-9]+(\.[0-9]+)?元?",
            "1 个币种符号加 10 位以内数字，可带小数和“元”",
            "a currency sign and up to 10 digits, decimals allowed",
        ),
        "phone_number": _rule(17, r"[0-9+\-() ]+", "17 位以内电话号码", "digits and + - ( )"),
        "car_number": _rule(
            8,
            rf"[{_CJK}A-Za-z0-9](?:[A-Za-z0-9]*[{_CJK}A-Za-z0-9])?",
            "8 位以内车牌，首尾可为汉字",
            "a number plate; the first and last may be Chinese",
        ),
        "name": _rule(
            20, _TEXT, "10 个以内汉字或 20 个以内字母", "10 characters with Chinese, 20 without", "…"
        ),
        "phrase": _rule(5, rf"[{_CJK}]+", "5 个以内汉字", "Chinese characters only"),
        "enum": _rule(20, _TEXT, "模板预设的值", "one of the template's values"),
        "const": _rule(20, _TEXT, "20 个以内字符的固定值", "a fixed value of the template"),
    }
)
"""Subscribe messages and category templates; `const` is of the latter only."""

_LEGACY: Final = _rule(20, _TEXT, "20 个以内字符，不含换行", "text in one line", "…")
"""Fields of industry templates, without a type. WeChat cuts these silently, and drops `first` and `remark`."""
_LEGACY_NAMES: Final = ("first", "keyword", "remark")
_CHINESE_NAME: Final = 10
_FREE_TEXT: Final = frozenset({"thing", "name", "const", "enum", *_LEGACY_NAMES})


def type_of(field: str) -> str:
    """The name without its number."""
    return field.rstrip("0123456789")


def rule_of(field: str) -> FieldRule | None:
    """None for a type that is not known: WeChat may have new ones, and says no itself."""
    kind = type_of(field)
    return _LEGACY if kind in _LEGACY_NAMES else RULES.get(kind)


def check(field: str, value: str, *, values: Collection[str] = ()) -> Problem | None:
    """What is wrong with a value, or None. `values`: those that the template names for this field."""
    rule = rule_of(field)
    if not value.strip():
        return _problem(field, Fault.EMPTY, "不能为空", "must not be empty")
    if values and value not in values:
        return _problem(
            field, Fault.NOT_IN_ENUM, f"须为：{'、'.join(values)}", f"must be one of {', '.join(values)}"
        )
    if rule is None:
        return None
    length, limit = _length(field, value), _limit(field, rule, value)
    if length > limit:
        return _problem(
            field,
            Fault.TOO_LONG,
            f"最多 {limit} 个字符，实际 {length}",
            f"at most {limit} characters, got {length}",
        )
    if not rule.pattern.fullmatch(value):
        return _problem(field, Fault.MALFORMED, f"须为{rule.zh}", f"must be {rule.en}")
    return None


def render(
    field: str, value: str, *, overflow: Overflow = Overflow.REFUSE, values: Collection[str] = ()
) -> str | Problem:
    """The value as it will be sent, tidied and perhaps shortened, or why it cannot be."""
    tidy = _tidy(field, value)
    rule = rule_of(field)
    if overflow is Overflow.ELLIPSIS and rule is not None and rule.ellipsis is not None and not values:
        tidy = shorten(tidy, _limit(field, rule, tidy), rule.ellipsis)
    return check(field, tidy, values=values) or tidy


def render_all(
    fields: Collection[str],
    data: Mapping[str, str],
    *,
    overflow: Mapping[str, Overflow] | None = None,
    enums: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str] | tuple[Problem, ...]:
    """Every field of a template, or all that is wrong at once. WeChat wants exactly the template's fields."""
    rules, choices = overflow or {}, enums or {}
    rendered: dict[str, str] = {}
    problems = [problem_of(name, Fault.UNEXPECTED) for name in data if name not in fields]
    for name in fields:
        if name not in data:
            problems.append(problem_of(name, Fault.MISSING))
            continue
        result = render(
            name, data[name], overflow=rules.get(name, Overflow.REFUSE), values=choices.get(name, ())
        )
        if isinstance(result, Problem):
            problems.append(result)
        else:
            rendered[name] = result
    return tuple(problems) or rendered


def problem_of(field: str, fault: Fault) -> Problem:
    """A field that the template or the message lacks."""
    if fault is Fault.MISSING:
        return _problem(field, fault, "缺少该字段", "the message does not fill it")
    return _problem(field, Fault.UNEXPECTED, "模板没有该字段", "the template has no such field")


def shorten(text: str, limit: int, ellipsis: str) -> str:
    """At most `limit` characters, the ellipsis included, whole emoji left whole.

    Nobody documents whether an emoji counts once or, as in UTF-16, twice: the result keeps to the limit either way.
    """
    if _units(text) <= limit:
        return text
    room, end = limit - len(ellipsis), 0
    while end < len(text) and (room := room - _units(text[end])) >= 0:
        end += 1
    while end and (_clings(text[end]) or text[end - 1] == _ZWJ):
        end -= 1
    return text[:end].rstrip() + ellipsis


def _tidy(field: str, value: str) -> str:
    """What changes the form only: spaces and line breaks, separators of thousands, fractions of seconds."""
    kind = type_of(field)
    text = value.strip()
    if kind in _FREE_TEXT:
        return re.sub(r"[\s\x00-\x1f\x7f\u2028\u2029]+", " ", text).strip()
    if kind in ("amount", "number"):
        return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    if kind in ("time", "date"):
        return re.sub(r"(:\d{2})\.\d{1,9}\b", r"\1", text)
    return text


def _length(field: str, value: str) -> int:
    """Amounts and numbers are limited in digits: `amount` before the point, `number` in all."""
    kind = type_of(field)
    if kind == "amount":
        return sum(c.isdigit() for c in value.partition(".")[0])
    if kind == "number":
        return sum(c.isdigit() for c in value)
    return len(value)


def _limit(field: str, rule: FieldRule, value: str) -> int:
    """A name with Chinese in it has half the room."""
    if type_of(field) == "name" and re.search(f"[{_CJK}]", value):
        return _CHINESE_NAME
    return rule.limit


def _units(text: str) -> int:
    return len(text) + sum(ord(c) > _WIDE for c in text)


def _clings(character: str) -> bool:
    """Belongs to the character before it: accents, variation selectors, skin tones, joiners."""
    skin = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin or character == _ZWJ or unicodedata.combining(character) > 0 or _is_selector(character)


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f"


def _problem(field: str, fault: Fault, zh: str, en: str) -> Problem:
    return Problem(field, fault, f"{field}：{zh}", f"{field}: {en}")
