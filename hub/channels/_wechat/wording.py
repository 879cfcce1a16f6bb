"""What a hub template says in the fields of one of WeChat's: filled, tidied and checked, or all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.channels._wechat import fields
from hub.channels._wechat.fields import Fault, Problem, rule_of
from hub.core.accounts import ProviderTemplate, TemplateKind
from hub.core.channel import ContentFault
from hub.core.identity import Recipient
from hub.core.rendering import RenderFault, render_fields, render_text
from hub.core.templates import ChannelMapping, Overflow

PAGE_LIMIT: Final = 1_024
"""Characters of a page or link. No official page says the limit; longer ones have been refused (40039, 45005)."""
STRUCTURE: Final = frozenset({Fault.MISSING, Fault.UNEXPECTED})
"""What is wrong with the mapping, whatever the data."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What to say, through which of WeChat's templates, and what a tap opens."""

    template: str
    kind: TemplateKind
    data: Mapping[str, str]
    page: str
    url: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What placeholders may name: the notification's data, and what the hub itself knows (`hub.…`)."""

    data: Mapping[str, object]
    extra: Mapping[str, object]


def word(
    mapping: ChannelMapping, template: ProviderTemplate, facts: Facts, reader: Recipient
) -> Wording | tuple[ContentFault, ...]:
    """The mapping filled for one reader: ready to be sent, or every fault at once."""
    texts = render_fields(mapping.fields, facts.data, reader, facts.extra)
    links = [
        _link(name, text, facts, reader) for name, text in (("page", mapping.page), ("url", mapping.url))
    ]
    faults = [link for link in links if isinstance(link, ContentFault)]
    if isinstance(texts, tuple):
        return (*map(_unrendered, texts), *faults)
    rules = {name: field.overflow for name, field in mapping.fields.items()}
    filled = fields.render_all(template.fields, texts, overflow=rules, enums=template.enums)
    if isinstance(filled, tuple):
        return (*(_unfit(problem, mapping) for problem in filled), *faults)
    if faults:
        return tuple(faults)
    page, url = (link for link in links if isinstance(link, str))
    return Wording(template.id, template.kind, filled, page, url)


def structure(mapping: ChannelMapping, template: ProviderTemplate) -> Sequence[ContentFault]:
    """What is wrong before there are any data: fields that are missing, unknown, or constants that do not fit."""
    found: list[Problem] = []
    for name in dict.fromkeys((*template.fields, *mapping.fields)):
        if name not in mapping.fields:
            found.append(fields.problem_of(name, Fault.MISSING))
        elif name not in template.fields:
            found.append(fields.problem_of(name, Fault.UNEXPECTED))
        elif "{{" not in mapping.fields[name].value:
            field = mapping.fields[name]
            values = template.enums.get(name, ())
            result = fields.render(name, field.value, overflow=field.overflow, values=values)
            found += [result] if isinstance(result, Problem) else []
    faults = [_unfit(problem, mapping) for problem in found]
    for name, text in (("page", mapping.page), ("url", mapping.url)):
        if "{{" not in text:
            faults += [fault for fault in [_too_long(name, text)] if fault is not None]
    return faults


def fault(field: str, code: str, detail: str, fix: str = "") -> ContentFault:
    """A fault in WeChat's words, `wx.` before its code."""
    return ContentFault(field, f"wx.{code}", detail, fix)


def _link(name: str, text: str, facts: Facts, reader: Recipient) -> str | ContentFault:
    link = render_text(text, facts.data, reader, facts.extra)
    if isinstance(link, RenderFault):
        return ContentFault(name, f"template.{link.code.value}", link.detail)
    return _too_long(name, link.strip()) or link.strip()


def _too_long(name: str, link: str) -> ContentFault | None:
    if len(link) <= PAGE_LIMIT:
        return None
    detail = f"{name}: at most {PAGE_LIMIT:,} characters, got {len(link):,}"
    return fault(name, f"{name}.too_long", detail, "Put an id into the link instead of what it names.")


def _unrendered(broken: RenderFault) -> ContentFault:
    fix = f"Did you mean {broken.near}?" if broken.near else ""
    return ContentFault(broken.field, f"template.{broken.code.value}", broken.detail, fix)


def _unfit(problem: Problem, mapping: ChannelMapping) -> ContentFault:
    return ContentFault(problem.field, problem.code, problem.en, _fix(problem, mapping))


def _fix(problem: Problem, mapping: ChannelMapping) -> str:
    rule, field = rule_of(problem.field), mapping.fields.get(problem.field)
    match problem.fault:
        case Fault.MISSING:
            return f"Map {problem.field}: the provider's template has it."
        case Fault.UNEXPECTED:
            return f"Take {problem.field} out of the mapping, or synchronise the provider's templates."
        case Fault.TOO_LONG if (
            rule is not None and rule.ellipsis and field and field.overflow is Overflow.REFUSE
        ):
            return "Set overflow=ellipsis on the field's mapping, or give a shorter value."
        case Fault.EMPTY:
            return 'Give a value, or a default in the mapping: {{ name | default: "-" }}.'
        case _:
            return f"Give {rule.en}." if rule is not None else ""
