"""What the fields of one of WeChat's templates take, read off its rules and the example that comes with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from hub.channels._wechat.fields import rule_of, type_of
from hub.core.accounts import ProviderTemplate
from hub.core.field_guide import TemplateField

_SLOT: Final = re.compile(r"\{\{\s*(\w{1,64})\.DATA\s*\}\}")


def fields_of(template: ProviderTemplate) -> Sequence[TemplateField]:
    """See core.field_guide. A type that the hub does not know has no limit: WeChat may have new ones."""
    examples = _examples(template.content, template.example)
    return [_field(name, template.enums.get(name, ()), examples) for name in template.fields]


def _field(name: str, values: tuple[str, ...], examples: Mapping[str, str]) -> TemplateField:
    rule = rule_of(name)
    return TemplateField(
        name=name,
        type=type_of(name),
        limit=None if rule is None else rule.limit,
        rule="" if rule is None else rule.en,
        example=examples.get(name, ""),
        values=values,
    )


def _examples(content: str, example: str) -> Mapping[str, str]:
    """The example is the content with its slots filled; line by line, as values have no line breaks."""
    found: dict[str, str] = {}
    for shape, line in zip(_lines(content), _lines(example), strict=False):
        slots = list(_SLOT.finditer(shape))
        if len(slots) != 1:
            continue
        before, after = shape[: slots[0].start()], shape[slots[0].end() :]
        if line.startswith(before) and line.endswith(after) and len(line) >= len(before) + len(after):
            found[slots[0][1]] = line[len(before) : len(line) - len(after)].strip()
    return found


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
