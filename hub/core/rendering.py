"""Templates' texts with placeholders: parsed once, filled with data for one person. Text in, text out; nothing is run.

`{{ name }}`, `{{ applicant.name }}`, `{{ submitted_at | datetime }}`, `{{ note | default: "-" | truncate: 20 }}`.
The time is linear in the template and the output, and the output is bounded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

from hub.core.formatting import FILTERS, TakesArgument, Unfit, Voice, plain
from hub.core.identity import Recipient
from hub.core.message import NotificationDraft
from hub.core.templates import FieldMapping, TemplateVersion

OUTPUT_LIMIT: Final = 20_000
"""Characters. A template's own text is bounded by the same."""
HUB_NAMES: Final = frozenset(
    {"user_id", "locale", "notification", "type", "category", "priority", "thread", "task", "digest_of"}
)
"""What `{{ hub.… }}` may name."""
_HUB: Final = "hub"
_MAX_FILTERS: Final = 8
_NAME: Final = re.compile(
    r"[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff-]{0,63}(?:\.[\w\u0080-\U0010ffff-]{1,64}){0,7}"
)
_CALL: Final = re.compile(r"""\s*([A-Za-z_]\w{0,31})\s*(?::\s*("[^"]*"|'[^']*'|[\w.+-]{1,64})\s*)?""")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class RenderCode(StrEnum):
    """What is wrong with a template, or with a value for it."""

    MALFORMED = "malformed"
    UNKNOWN_VARIABLE = "unknown_variable"
    UNKNOWN_FILTER = "unknown_filter"
    BAD_ARGUMENT = "bad_argument"
    BAD_VALUE = "bad_value"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class RenderFault:
    """Why a text cannot be filled. `name` is the variable or filter, `near` the nearest one that exists; `field` is the
    provider's field that it was for. The detail never repeats a value."""

    code: RenderCode
    name: str
    detail: str
    near: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class _Filter:
    name: str
    argument: str | None


@dataclass(frozen=True, slots=True)
class _Placeholder:
    name: str
    filters: tuple[_Filter, ...]

    @property
    def optional(self) -> bool:
        return any(step.name == "default" for step in self.filters)


_Parsed: TypeAlias = tuple[str | _Placeholder, ...]


def render_text(
    template: str,
    data: Mapping[str, object],
    recipient: Recipient,
    extra: Mapping[str, object] | None = None,
    *,
    limit: int = OUTPUT_LIMIT,
) -> str | RenderFault:
    """The text as this person reads it, without control characters (line breaks stay), or the first fault met."""
    parsed = _parse(template)
    if isinstance(parsed, RenderFault):
        return parsed
    hub = {"user_id": recipient.user_id, "locale": recipient.locale, **(extra or {})}
    voice = Voice(recipient.locale, recipient.timezone)
    found: list[str] = []
    room = limit
    for piece in parsed:
        text = piece if isinstance(piece, str) else _filled(piece, data, hub, voice)
        if isinstance(text, RenderFault):
            return text
        room -= len(text)
        if room < 0:
            name = "" if isinstance(piece, str) else piece.name
            return RenderFault(RenderCode.TOO_LONG, name, f"The text has more than {limit:,} characters.")
        found.append(text)
    return _CONTROL.sub("", "".join(found))


def render_fields(
    fields: Mapping[str, FieldMapping],
    data: Mapping[str, object],
    recipient: Recipient,
    extra: Mapping[str, object] | None = None,
) -> Mapping[str, str] | tuple[RenderFault, ...]:
    """Every field's text, or the fault of each field that has one. Overflow is for who knows the field's limit."""
    texts: dict[str, str] = {}
    faults: list[RenderFault] = []
    for name, mapping in fields.items():
        text = render_text(mapping.value, data, recipient, extra)
        if isinstance(text, RenderFault):
            faults.append(replace(text, field=name))
        else:
            texts[name] = text
    return tuple(faults) or texts


def hub_names(notification: NotificationDraft | None, digest_of: int = 1) -> Mapping[str, object]:
    """What `{{ hub.… }}` knows of a notification."""
    if notification is None:
        return {"digest_of": digest_of}
    return {
        "notification": notification.id,
        "type": notification.type,
        "category": notification.category,
        "priority": notification.priority,
        "thread": notification.thread or "",
        "task": notification.task or "",
        "digest_of": digest_of,
    }


def variables_of(text: str) -> tuple[str, ...]:
    """The data that a text wants, each once, in order; nothing for a malformed text."""
    parsed = _parse(text)
    if isinstance(parsed, RenderFault):
        return ()
    named = (piece.name for piece in parsed if isinstance(piece, _Placeholder))
    return tuple(dict.fromkeys(name for name in named if not name.startswith(f"{_HUB}.")))


def check_text(text: str, known: Collection[str]) -> tuple[RenderFault, ...]:
    """What is wrong with a text before there are data: its form, its filters, and variables that are not `known`."""
    parsed = _parse(text)
    if isinstance(parsed, RenderFault):
        return (parsed,)
    names = {*known, *(f"{_HUB}.{name}" for name in HUB_NAMES)}
    wanted = dict.fromkeys(piece.name for piece in parsed if isinstance(piece, _Placeholder))
    return tuple(_unknown_variable(name, names) for name in wanted if name not in names)


def locale_for(version: TemplateVersion, wanted: str, pinned: str | None = None) -> str:
    """The locale of the version's texts that is nearest to the one wanted: exact, else of the same language (the
    bare one first), else the default. `pinned` overrides whatever the person wants."""
    asked = (pinned or wanted).lower()
    by_lower = {locale.lower(): locale for locale in version.texts}
    if asked in by_lower:
        return by_lower[asked]
    language = asked.partition("-")[0]
    alike = sorted(name for name in by_lower if name.partition("-")[0] == language)
    return by_lower[alike[0]] if alike else version.default_locale


def speaking(recipient: Recipient, version: TemplateVersion, pinned: str | None = None) -> Recipient:
    """The same person, spoken to in the locale that the version has for them."""
    return replace(recipient, locale=locale_for(version, recipient.locale, pinned))


def _filled(
    piece: _Placeholder, data: Mapping[str, object], hub: Mapping[str, object], voice: Voice
) -> str | RenderFault:
    value, there = lookup(piece.name, data, hub)
    if not there and not piece.optional:
        return _unknown_variable(piece.name, names_in(data))
    try:
        for step in piece.filters:
            value = FILTERS[step.name].apply(value, step.argument, voice)
        return plain(value, voice)
    except Unfit as unfit:
        return RenderFault(RenderCode.BAD_VALUE, piece.name, f"{piece.name!r} {unfit}.")


def lookup(
    name: str, data: Mapping[str, object], hub: Mapping[str, object] | None = None
) -> tuple[object, bool]:
    """The value of a dotted name, and whether it is there. A name of the hub's that is not known is empty."""
    first, _, rest = name.partition(".")
    if first == _HUB and rest in HUB_NAMES and hub is not None:
        return hub.get(rest, ""), True
    here: object = data
    for step in name.split("."):
        if not isinstance(here, Mapping) or step not in here:
            return None, False
        here = here[step]
    return here, True


def names_in(data: Mapping[str, object]) -> Sequence[str]:
    """The names that data offer, one level of nesting included, for who mistyped one."""
    names = list(data)[:200]
    for name in names[:50]:
        inner = data[name]
        if isinstance(inner, Mapping):
            names += [f"{name}.{child}" for child in list(inner)[:50]]
    return [str(name)[:64] for name in names]


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that looks most like it, or nothing."""
    near = difflib.get_close_matches(name[:64], sorted(known)[:500], n=1)
    return near[0] if near else ""


def _unknown_variable(name: str, known: Collection[str]) -> RenderFault:
    near = nearest(name, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return RenderFault(RenderCode.UNKNOWN_VARIABLE, name, f"There is no variable {name!r}.{hint}", near)


@lru_cache(maxsize=512)
def _parse(template: str) -> _Parsed | RenderFault:
    if len(template) > OUTPUT_LIMIT:
        return RenderFault(
            RenderCode.TOO_LONG, "", f"The template has more than {OUTPUT_LIMIT:,} characters."
        )
    pieces: list[str | _Placeholder] = []
    at = 0
    while (begin := template.find("{{", at)) >= 0:
        end = template.find("}}", begin)
        if end < 0:
            return _malformed("A placeholder begins with {{ and never ends.")
        placeholder = _placeholder(template[begin + 2 : end])
        if isinstance(placeholder, RenderFault):
            return placeholder
        pieces += [template[at:begin], placeholder]
        at = end + 2
    return (*pieces, template[at:])


def _placeholder(inside: str) -> _Placeholder | RenderFault:
    name, *calls = _split(inside)
    if not _NAME.fullmatch(name := name.strip()):
        return _malformed("A placeholder holds a name such as {{ applicant }}, and filters behind a |.")
    if len(calls) > _MAX_FILTERS:
        return _malformed(f"A placeholder has at most {_MAX_FILTERS} filters.")
    filters: list[_Filter] = []
    for call in calls:
        found = _filter(call)
        if isinstance(found, RenderFault):
            return found
        filters.append(found)
    return _Placeholder(name, tuple(filters))


def _split(inside: str) -> list[str]:
    """At each | that is not in quotes."""
    parts = [""]
    quote = ""
    for character in inside:
        if character == "|" and not quote:
            parts.append("")
            continue
        if character in "\"'" and quote in ("", character):
            quote = "" if quote else character
        parts[-1] += character
    return parts


def _filter(call: str) -> _Filter | RenderFault:
    match = _CALL.fullmatch(call)
    if match is None:
        return _malformed('A filter is a name, perhaps with one argument: truncate: 20, default: "text".')
    name, given = match[1], match[2]
    kind = FILTERS.get(name)
    if kind is None:
        near = nearest(name, FILTERS)
        hint = f" Did you mean {near!r}?" if near else f" There are: {', '.join(sorted(FILTERS))}."
        return RenderFault(RenderCode.UNKNOWN_FILTER, name, f"There is no filter {name!r}.{hint}", near)
    argument = given.strip("\"'") if given and given[0] in "\"'" else given
    if (argument is None and kind.takes is TakesArgument.ALWAYS) or (
        argument is not None and (kind.takes is TakesArgument.NEVER or not kind.accepts(argument))
    ):
        return RenderFault(RenderCode.BAD_ARGUMENT, name, f"The filter {name!r} takes {kind.expects}.")
    return _Filter(name, argument)


def _malformed(detail: str) -> RenderFault:
    return RenderFault(RenderCode.MALFORMED, "", detail)
