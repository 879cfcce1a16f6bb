"""Whether a template can be published, and whether what notifications make of it can be sent; what it would
look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hub.api.deps import Services
from hub.api.policies_json import unknown_channel
from hub.api.problems import Fault, Problem
from hub.api.schemas_templates import TemplateBody
from hub.core.channel import ContentFault, Templated
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.rendering import RenderFault, check_text, speaking, variables_of
from hub.core.templates import ChannelMapping, FieldMapping, LocaleText, TemplateVersion


def version_of(app: AppId, key: str, body: TemplateBody) -> TemplateVersion:
    """The body as a value, without a number."""
    return TemplateVersion(
        app=app,
        key=key,
        version=0,
        texts={locale: LocaleText(text.title, text.text) for locale, text in body.texts.items()},
        default_locale=body.default_locale,
        mappings=tuple(
            ChannelMapping(
                channel=mapping.channel,
                template=mapping.template,
                fields={name: FieldMapping(f.value, f.overflow) for name, f in mapping.fields.items()},
                account=mapping.account,  # type: ignore[arg-type]  # NewType: checked by nobody but the channel
                page=mapping.page,
                url=mapping.url,
            )
            for mapping in body.mappings
        ),
        variables={name: kind.value for name, kind in body.variables.items()},
    )


async def check_publishing(hub: Services, version: TemplateVersion) -> None:
    """Raises Problem with everything that is wrong: texts, then mappings, as far as each channel knows."""
    texts = [
        fault
        for locale, text in version.texts.items()
        for part, words in (("title", text.title), ("text", text.text))
        for fault in _text_faults(f"/texts/{_escaped(locale)}/{part}", words, version)
    ]
    if texts:
        raise Problem("template.text_invalid", texts[0].detail, errors=texts)
    names = hub.engine.channels.names
    unknown = [
        unknown_channel(f"/mappings/{index}/channel", mapping.channel, names)
        for index, mapping in enumerate(version.mappings)
        if mapping.channel not in names
    ]
    if unknown:
        raise Problem("channel_unknown", unknown[0].detail, errors=unknown)
    faults: list[Fault] = []
    for index, mapping in enumerate(version.mappings):
        faults += await _mapping_faults(hub, version, mapping, f"/mappings/{index}")
    if faults:
        raise Problem("template.mapping_invalid", faults[0].detail, errors=faults)


async def _mapping_faults(
    hub: Services, version: TemplateVersion, mapping: ChannelMapping, where: str
) -> list[Fault]:
    values = [(f"{where}/fields/{_escaped(name)}/value", f.value) for name, f in mapping.fields.items()]
    values += [(f"{where}/page", mapping.page), (f"{where}/url", mapping.url)]
    faults = [fault for place, words in values for fault in _text_faults(place, words, version)]
    channel = hub.engine.channels.get(mapping.channel)
    if not isinstance(channel, Templated):
        detail = f"The channel {mapping.channel!r} has no templates of its own; it shows the card."
        return [*faults, Fault(f"{where}/channel", "template.mapping_useless", detail, mapping.channel)]
    for found in await channel.check_mapping(version.app, mapping):
        place = f"{where}/fields/{_escaped(found.field)}" if found.field in mapping.fields else where
        faults.append(Fault(place, found.code, found.detail, mapping.channel, found.fix))
    return faults


def _text_faults(place: str, words: str, version: TemplateVersion) -> Iterator[Fault]:
    for fault in check_text(words, version.variables):
        yield Fault(place, f"template.{fault.code}", fault.detail)


def mapping_for(version: TemplateVersion, channel: str, account: str | None = None) -> ChannelMapping | None:
    """How the template is said there: the account's own mapping, else that of every account, else any one."""
    here = [mapping for mapping in version.mappings if mapping.channel == channel]
    best = sorted(here, key=lambda m: (m.account != account, m.account is not None))
    return best[0] if best else None


async def content_faults(
    hub: Services,
    version: TemplateVersion,
    data: Mapping[str, object],
    recipient: Recipient,
    channel: str,
    account: str | None = None,
) -> Sequence[Fault]:
    """What the channel would have refused, with pointers into `data`. Nothing where it does not say this template."""
    mapping = mapping_for(version, channel, account)
    speaker = hub.engine.channels.get(channel)
    if mapping is None or not isinstance(speaker, Templated):
        return ()
    found = await speaker.check_content(version.app, version, data, recipient, account)
    return [
        Fault(_data_pointer(mapping, fault), fault.code, fault.detail, channel, fault.fix) for fault in found
    ]


def _data_pointer(mapping: ChannelMapping, fault: ContentFault) -> str:
    """Where in `data` the value comes from: the first variable of the field."""
    field = mapping.fields.get(fault.field)
    names = variables_of(field.value) if field is not None else ()
    return "/data/" + "/".join(map(_escaped, names[0].split("."))) if names else "/data"


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def in_locale(recipient: Recipient, version: TemplateVersion, locale: str) -> Recipient:
    """The same person, who asks for this locale."""
    return speaking(replace(recipient, locale=locale), version)


def shown_fault(fault: RenderFault | ContentFault) -> dict[str, str]:
    """A fault as schemas_templates.ContentFaultShown."""
    if isinstance(fault, RenderFault):
        hint = f"Use {fault.near!r}." if fault.near else ""
        return {"field": fault.field, "code": f"template.{fault.code}", "detail": fault.detail, "fix": hint}
    return {"field": fault.field, "code": fault.code, "detail": fault.detail, "fix": fault.fix}
