"""The typed fields of templates: what each may hold, as the subscribe-message documentation lists it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hub.sandbox.errors import ApiError
from hub.sandbox.state import Template

_SLOT: Final = re.compile(r"\{\{\s*(\w+)\.DATA\s*\}\}", re.IGNORECASE)
_TYPED: Final = re.compile(r"([a-z_]+?)(\d{1,2})")
_CJK: Final = re.compile(r"[\u4e00-\u9fff]")
_YEAR: Final = r"\d{4}(?:年\d{1,2}月(?:\d{1,2}日)?|[-/.]\d{1,2}(?:[-/.]\d{1,2})?)"
_DAY: Final = rf"(?:{_YEAR}|\d{{1,2}}(?:月\d{{1,2}}日|[-/.]\d{{1,2}}))"
_HOUR: Final = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?"
_MOMENT: Final = rf"(?:{_DAY} ?)?{_HOUR}"
_DATED: Final = rf"{_DAY}(?: ?{_HOUR})?"
_EMOJI: Final = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")
_INDUSTRY_MOST: Final = 20


def _matching(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _name(value: str) -> bool:
    """10 Chinese characters or 20 letters and symbols; mixed counts as Chinese."""
    if any(character.isdigit() or ord(character) < 0x20 for character in value):
        return False
    return 1 <= len(value) <= (10 if _CJK.search(value) else 20)


RULES: Final[Mapping[str, Callable[[str], bool]]] = {
    "thing": _matching(r"[^\x00-\x1f\x7f]{1,20}"),
    "const": _matching(r"[^\x00-\x1f\x7f]{1,20}"),
    "number": _matching(r"(?=.{1,33}$)-?\d{1,32}(\.\d+)?"),
    "letter": _matching(r"[A-Za-z]{1,32}"),
    "symbol": _matching(r"[^\w\s\u4e00-\u9fff]{1,5}"),
    "character_string": _matching(r"[\x21-\x7e]{1,32}"),
    "time": _matching(rf"{_MOMENT}( ?~ ?{_MOMENT})?"),
    "date": _matching(rf"{_DATED}( ?~ ?{_DATED})?"),
    "amount": _matching(r"[¥￥$€£]?\d{1,10}(\.\d+)?元?"),
    "phone_number": _matching(r"[0-9+\-() ]{1,17}"),
    "car_number": _matching(r"[\u4e00-\u9fff]?[A-Za-z0-9·]{4,7}[\u4e00-\u9fff]?"),
    "name": _name,
    "phrase": _matching(r"[\u4e00-\u9fff]{1,5}"),
}


def slots(content: str) -> list[tuple[str, str]]:
    """(label, key) for each {{key.DATA}} of a template's text, in its order."""
    found = []
    for line in content.splitlines():
        for match in _SLOT.finditer(line):
            before = line[: match.start()].rsplit("}}", 1)[-1]
            found.append((before.strip().rstrip(":："), match[1]))
    return found


def prefix_of(key: str) -> str:
    """thing of thing01; empty for keyword1, first and other untyped keys."""
    match = _TYPED.fullmatch(key)
    prefix = match[1] if match else ""
    return prefix if prefix in RULES or prefix == "enum" else ""


def value_of(data: Mapping[str, Any], key: str) -> str | None:
    """The text of a field; None where it is missing or not {"value": ...}."""
    entry = data.get(key)
    value = entry.get("value") if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)


def fits(template: Template, key: str, value: str) -> bool:
    """Whether the value is allowed under the key."""
    prefix = prefix_of(key)
    if prefix in {"enum", "const"} and key in template.enums:
        return value in template.enums[key]
    rule = RULES.get(prefix)
    return rule is None or rule(value)


def fill(template: Template, data: Mapping[str, Any]) -> list[list[str]]:
    """Label and value of each line as the phone shows it. 47003, naming the field, for what does not fit."""
    wanted = slots(template.content)
    if template.industry:
        return _shortened(wanted, data)
    return _strict(template, wanted, data)


def _strict(
    template: Template, wanted: Sequence[tuple[str, str]], data: Mapping[str, Any]
) -> list[list[str]]:
    lines = []
    for label, key in wanted:
        value = value_of(data, key)
        if value is None or not value.strip():
            raise ApiError(47003, f"argument invalid! data.{key}.value is empty")
        if not fits(template, key, value):
            raise ApiError(47003, f"argument invalid! data.{key}.value invalid")
        lines.append([label, value])
    known = {key for _, key in wanted}
    for key in data:
        if key not in known:
            raise ApiError(47003, f"argument invalid! data.{key}.value invalid")
    return lines


def _shortened(wanted: Sequence[tuple[str, str]], data: Mapping[str, Any]) -> list[list[str]]:
    """Since 2023-05-04 first and remark are dropped, lines joined and cut at 20, without an error."""
    lines = []
    for label, key in wanted:
        if key in {"first", "remark"}:
            continue
        value = (value_of(data, key) or "").replace("\r", "").replace("\n", "")
        lines.append([label, _without_emoji(value)[:_INDUSTRY_MOST]])
    return lines


def _without_emoji(value: str) -> str:
    return _EMOJI.sub("", value)
