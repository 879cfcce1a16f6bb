"""Whether the data of a notification are what a template's variables say they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from hub.core.formatting import day_of, decimal_of, moment_of
from hub.core.rendering import lookup, names_in, nearest
from hub.core.templates import TemplateVersion


class VariableType(StrEnum):
    """What a variable may hold."""

    TEXT = "text"
    """Text, a number or a truth value: whatever has a plain form."""
    NUMBER = "number"
    AMOUNT = "amount"
    """A number, or a text such as `1200.00`, which is exact."""
    DATETIME = "datetime"
    """RFC 3339, with an offset."""
    DATE = "date"
    """`2026-03-01`, or a datetime."""
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class DataFault:
    """A variable that is missing or of another type. The detail never repeats a value."""

    name: str
    code: str
    detail: str
    near: str = ""


def check_data(version: TemplateVersion, data: Mapping[str, object]) -> tuple[DataFault, ...]:
    """Every variable that the data do not give as declared. What they give beside that is nobody's business."""
    faults: list[DataFault] = []
    for name, kind in version.variables.items():
        value, there = lookup(name, data)
        if not there:
            near = nearest(name, [n for n in names_in(data) if n not in version.variables])
            hint = f" Is {near!r} meant to be it?" if near else ""
            text = f"The template {version.key!r} wants {name!r}.{hint}"
            faults.append(DataFault(name, "template.variable_missing", text, near))
        elif not _fits(value, VariableType(kind)):
            text = f"{name!r} must be {_WANTED[VariableType(kind)]}."
            faults.append(DataFault(name, "template.variable_type", text))
    return tuple(faults)


_WANTED: Mapping[VariableType, str] = {
    VariableType.TEXT: "a text, a number or a truth value",
    VariableType.NUMBER: "a number",
    VariableType.AMOUNT: 'a number, or a text such as "1200.00"',
    VariableType.DATETIME: "an RFC 3339 time such as 2026-03-01T09:12:00+08:00",
    VariableType.DATE: "a date such as 2026-03-01, or an RFC 3339 time",
    VariableType.BOOL: "true or false",
}


def _fits(value: object, kind: VariableType) -> bool:
    match kind:
        case VariableType.TEXT:
            return isinstance(value, str | bool | int | float)
        case VariableType.NUMBER | VariableType.AMOUNT:
            return decimal_of(value) is not None
        case VariableType.DATETIME:
            return moment_of(value) is not None
        case VariableType.DATE:
            return day_of(value) is not None or moment_of(value) is not None
        case VariableType.BOOL:
            return isinstance(value, bool)
        case _:
            assert_never(kind)
