"""What notifications say: from a template and data to the card that is stored once, checked for every
outside channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hub.api.deps import Services
from hub.api.problems import Fault, Problem
from hub.api.schemas_notify import CardContent, NotificationNew
from hub.api.templates_check import content_faults
from hub.core.channel import Templated
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.policy import Policy
from hub.core.rendering import RenderFault, locale_for, render_text, speaking
from hub.core.template_data import check_data
from hub.core.templates import TemplateVersion

_VOICES: Final = 20
"""Locales and time zones that one notification's outside texts are tried in before it is accepted."""
_TITLE: Final = 256
_FAULTS: Final = 50


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be said, and in whose languages. `people` is empty for a conversation: anybody may be in it."""

    app: AppId
    body: NotificationNew
    policy: Policy
    people: Sequence[Recipient]
    hub_names: Mapping[str, object]

    @property
    def data(self) -> Mapping[str, object]:
        """What fills templates: `data`, or of a card of its own the card's."""
        card = self.body.content
        given = card.data if isinstance(card, CardContent) else self.body.data
        return given or {}

    @property
    def where(self) -> str:
        """The pointer to it."""
        return "/data" if self.body.content is None else "/content/data"


async def pinned_version(hub: Services, app: AppId, body: NotificationNew) -> TemplateVersion | None:
    """The version that the notification will keep. Raises Problem template_unknown."""
    if body.template is None:
        return None
    wanted = body.template
    if wanted.version is None:
        found = await hub.templates.latest(app, wanted.key)
    else:
        found = await hub.templates.version(app, wanted.key, wanted.version)
    if found is None:
        detail = f"This app has no template {wanted.key!r}" + (
            "." if wanted.version is None else f" with a version {wanted.version}."
        )
        raise Problem("template_unknown", detail, errors=[Fault("/template", "template_unknown", detail)])
    return found


def card_of(subject: Subject, version: TemplateVersion) -> dict[str, Any]:
    """The card, in the one locale that all recipients share, or in several: what is said in the default one is on top,
    the others are under `locales`. Raises Problem template.data_invalid."""
    _refuse([*_data_faults(subject, version)])
    pinned = subject.body.template.locale if subject.body.template else None
    locales = _locales(subject, version, pinned)
    top = version.default_locale if version.default_locale in locales else locales[0]
    listener = _listener(subject.people)
    texts = {locale: _words(subject, version, replace(listener, locale=locale)) for locale in locales}
    card: dict[str, Any] = {**texts.pop(top), "locale": top}
    return {**card, "locales": texts} if texts else card


def _locales(subject: Subject, version: TemplateVersion, pinned: str | None) -> list[str]:
    if subject.people:
        return list(dict.fromkeys(locale_for(version, one.locale, pinned) for one in subject.people))
    return list(version.texts) if pinned is None else [locale_for(version, pinned)]


def _listener(people: Sequence[Recipient]) -> Recipient:
    """Whom the stored text is for: its times are in the zone that all share, else in the hub's default."""
    if len(people) == 1:
        return people[0]
    zones = {one.timezone for one in people}
    return Recipient("", timezone=zones.pop()) if len(zones) == 1 else Recipient("")


def _words(subject: Subject, version: TemplateVersion, listener: Recipient) -> dict[str, str]:
    words = version.texts[listener.locale]
    title = render_text(words.title, subject.data, listener, subject.hub_names)
    text = render_text(words.text, subject.data, listener, subject.hub_names)
    faults = [part for part in (title, text) if isinstance(part, RenderFault)]
    _refuse([_render_fault(subject, fault) for fault in faults])
    line = " ".join(str(title).split())
    if not line:
        fault = Fault(subject.where, "template.title_empty", "With these data the title is empty.")
        _refuse([fault])
    return {"title": line if len(line) <= _TITLE else line[: _TITLE - 1] + "…", "text": str(text)}


def _render_fault(subject: Subject, fault: RenderFault) -> Fault:
    return Fault(_pointer(subject.where, fault.name), f"template.{fault.code}", fault.detail)


def _data_faults(subject: Subject, version: TemplateVersion) -> Iterable[Fault]:
    for fault in check_data(version, subject.data):
        yield Fault(_pointer(subject.where, fault.name), fault.code, fault.detail)


def _pointer(where: str, name: str) -> str:
    return f"{where}/{name.replace('.', '/')}" if name else where


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Problem("template.data_invalid", faults[0].detail, errors=faults[:_FAULTS])


async def check_outside(hub: Services, subject: Subject, version: TemplateVersion | None) -> None:
    """Whether every channel of the policy that speaks through templates could say it, in the recipients' languages.
    Raises Problem template.field_invalid, template.data_invalid or template_unknown."""
    pinned = subject.body.template.locale if subject.body.template else None
    faults: dict[tuple[str, str, str], Fault] = {}
    for index, hop in enumerate(subject.policy.hops):
        if not isinstance(hub.engine.channels.get(hop.channel), Templated):
            continue
        said = version
        if hop.template is not None:
            said = await _of_step(hub, subject, hop.template, index)
        if said is None:
            continue
        for person in _voices(subject.people, said, pinned):
            for fault in await content_faults(hub, said, subject.data, person, hop.channel, hop.account):
                placed = replace(fault, pointer=subject.where + fault.pointer.removeprefix("/data"))
                faults.setdefault((placed.pointer, placed.code, placed.channel), placed)
    if faults:
        found = list(faults.values())
        raise Problem("template.field_invalid", found[0].detail, errors=found[:_FAULTS])


async def _of_step(hub: Services, subject: Subject, key: str, index: int) -> TemplateVersion:
    found = await hub.templates.latest(subject.app, key)
    if found is None:
        detail = f"Step {index + 1} of the policy names a template {key!r}, which this app does not have."
        pointer = f"/route/steps/{index}/template" if subject.body.route is not None else "/policy"
        raise Problem("template_unknown", detail, errors=[Fault(pointer, "template_unknown", detail)])
    _refuse([*_data_faults(subject, found)])
    return found


def _voices(people: Sequence[Recipient], version: TemplateVersion, pinned: str | None) -> Sequence[Recipient]:
    """One person for each locale and time zone that are among them."""
    some = people or [Recipient("", locale) for locale in version.texts]
    distinct: dict[tuple[str, str], Recipient] = {}
    for one in some:
        person = speaking(one, version, pinned)
        distinct.setdefault((person.locale, person.timezone), person)
        if len(distinct) == _VOICES:
            break
    return list(distinct.values())
