"""`/v1/templates`: what kinds of notifications say, in versions; what they would look like, and a try."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, empty, listed, page_of, shown
from hub.api.deps import Hub, Services, by_key, user_of
from hub.api.notifications import submitted
from hub.api.policies_json import unknown_channel
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, Limit, Listing
from hub.api.schemas_notify import NotificationAccepted, NotificationNew, Recipient, TemplateRef
from hub.api.schemas_routing import RouteBody, StepBody
from hub.api.schemas_templates import (
    CardShown,
    ChannelPreviewShown,
    PreviewBody,
    PreviewShown,
    TemplateBody,
    TemplateKey,
    TemplateShown,
    TestBody,
)
from hub.api.templates_check import check_publishing, in_locale, mapping_for, shown_fault, version_of
from hub.core import identity
from hub.core.channel import Templated
from hub.core.errors import Refused
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.policy import QuietHours
from hub.core.rendering import RenderFault, render_text
from hub.core.scopes import Scope
from hub.core.template_data import DataFault, check_data
from hub.core.templates import ChannelMapping, TemplateVersion

router = APIRouter(prefix="/v1/templates", tags=["templates"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.TEMPLATES_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.TEMPLATES_WRITE)]
KeyPath = Annotated[TemplateKey, Path()]
VersionPath = Annotated[int, Path(ge=1, le=2**31 - 1)]


def _shown(version: TemplateVersion) -> TemplateShown:
    return TemplateShown.model_validate(
        {
            "key": version.key,
            "version": version.version,
            "texts": {name: {"title": t.title, "text": t.text} for name, t in version.texts.items()},
            "default_locale": version.default_locale,
            "variables": dict(version.variables),
            "mappings": [_mapping_shown(mapping) for mapping in version.mappings],
            "created_at": version.created_at,
            "created_by": version.created_by,
        }
    )


def _mapping_shown(mapping: ChannelMapping) -> dict[str, object]:
    return {
        "channel": mapping.channel,
        "template": mapping.template,
        "fields": {name: {"value": f.value, "overflow": f.overflow} for name, f in mapping.fields.items()},
        "account": mapping.account,
        "page": mapping.page,
        "url": mapping.url,
    }


async def _found(hub: Services, app: AppId, key: str, version: int | None = None) -> TemplateVersion:
    """The newest version, or the one named. Raises Problem template_not_found."""
    found = await (
        hub.templates.latest(app, key) if version is None else hub.templates.version(app, key, version)
    )
    if found is None:
        what = f"template {key!r}" if version is None else f"version {version} of a template {key!r}"
        raise Problem("template_not_found", f"This app has no {what}.")
    return found


@router.put(
    "/{key}",
    operation_id="putTemplate",
    response_model=TemplateShown,
    responses={201: {"model": TemplateShown}},
)
async def put_template(hub: Hub, caller: Writer, key: KeyPath, body: TemplateBody) -> Response:
    """Publish a version of a template. 201 says that it is a new one; the same content as the newest makes none.

    Notifications accepted earlier keep the version that they were accepted with. Every placeholder must name a
    declared variable (or something of the hub's own: `{{ hub.user_id }}`), and each mapping must fill exactly the
    fields of the provider's template. An archived template comes back.
    """
    wanted = version_of(caller.app, key, body)
    await check_publishing(hub, wanted)
    before = (await hub.templates.versions(caller.app, key, page_of(1, None))).items
    made = await hub.templates.publish(wanted, actor=caller.key_id)
    new = not before or made.version > before[0].version
    headers = {"Location": f"/v1/templates/{key}"} if made.version == 1 and new else None
    return shown(_shown(made), 201 if new else 200, headers)


@router.get("", operation_id="listTemplates", response_model=Listing[TemplateShown])
async def list_templates(
    request: Request, hub: Hub, caller: Reader, limit: Limit = 50, after: After = None
) -> Response:
    """List the templates of your app by key, each in its newest version."""
    return listed(request, await hub.templates.keys(caller.app, page_of(limit, after)), _shown)


@router.get("/{key}", operation_id="getTemplate", response_model=TemplateShown)
async def get_template(hub: Hub, caller: Reader, key: KeyPath) -> Response:
    """Get the newest version of a template."""
    return shown(_shown(await _found(hub, caller.app, key)))


@router.get("/{key}/versions", operation_id="listTemplateVersions", response_model=Listing[TemplateShown])
async def list_versions(
    request: Request, hub: Hub, caller: Reader, key: KeyPath, limit: Limit = 50, after: After = None
) -> Response:
    """List the versions of a template, newest first; of an archived one too."""
    found = await hub.templates.versions(caller.app, key, page_of(limit, after))
    if not found.items and after is None:
        raise Problem("template_not_found", f"This app has no template {key!r}.")
    return listed(request, found, _shown)


@router.get("/{key}/versions/{version}", operation_id="getTemplateVersion", response_model=TemplateShown)
async def get_version(hub: Hub, caller: Reader, key: KeyPath, version: VersionPath) -> Response:
    """Get one version of a template."""
    return shown(_shown(await _found(hub, caller.app, key, version)))


@router.delete("/{key}", operation_id="archiveTemplate", status_code=204, response_class=Response)
async def archive_template(hub: Hub, caller: Writer, key: KeyPath) -> Response:
    """Archive a template: new notifications can no longer name it, accepted ones are sent as they were.

    Publishing under the same key brings it back.
    """
    await hub.templates.archive(caller.app, key, actor=caller.key_id)
    return empty()


@router.post("/{key}/preview", operation_id="previewTemplate", response_model=PreviewShown)
async def preview_template(hub: Hub, caller: Reader, key: KeyPath, body: PreviewBody) -> Response:
    """Show what a template would say: the card in each language, and what each provider would be sent.

    Nothing is sent. What is wrong is among the `faults`, in the words that accepting a notification would use.
    """
    version = await _found(hub, caller.app, key, body.version)
    person = identity.Recipient(body.user_id or "")
    if body.user_id is not None:
        known = await hub.directory.user(caller.app, body.user_id)
        person = identity.Recipient(known.id, known.locale, known.timezone, known.preferences)
    wanted = body.locale or (person.locale if body.user_id is not None else None)
    people = [in_locale(person, version, locale) for locale in ([wanted] if wanted else version.texts)]
    faults = check_data(version, body.data)
    cards = [_card(version, body, one, faults) for one in people]
    channels = [
        await _channel_preview(hub, version, mapping, body, one)
        for one in people
        for mapping in version.mappings
    ]
    return shown(PreviewShown(key=key, version=version.version, cards=cards, channels=channels))


def _card(
    version: TemplateVersion, body: PreviewBody, person: identity.Recipient, data: tuple[DataFault, ...]
) -> CardShown:
    words = version.texts[person.locale]
    title, text = (render_text(part, body.data, person) for part in (words.title, words.text))
    found = [shown_fault(part) for part in (title, text) if isinstance(part, RenderFault)]
    found += [{"field": f.name, "code": f.code, "detail": f.detail, "fix": ""} for f in data]
    return CardShown.model_validate(
        {
            "locale": person.locale,
            "title": title if isinstance(title, str) else None,
            "text": text if isinstance(text, str) else None,
            "faults": found,
        }
    )


async def _channel_preview(
    hub: Services,
    version: TemplateVersion,
    mapping: ChannelMapping,
    body: PreviewBody,
    person: identity.Recipient,
) -> ChannelPreviewShown:
    channel = hub.engine.channels.get(mapping.channel)
    request, faults = None, []
    if isinstance(channel, Templated):
        asked = (version.app, version, body.data, person, mapping.account)
        faults = [shown_fault(fault) for fault in await channel.check_content(*asked)]
        try:
            request = None if faults else dict(await channel.preview(*asked))
        except Refused as refused:
            faults = [{"field": "", "code": refused.code, "detail": refused.detail, "fix": ""}]
    else:
        detail = f"This hub has no channel {mapping.channel!r} that speaks through templates."
        faults = [{"field": "", "code": "channel_unknown", "detail": detail, "fix": ""}]
    return ChannelPreviewShown.model_validate(
        {
            "locale": person.locale,
            "channel": mapping.channel,
            "account": mapping.account,
            "template": mapping.template,
            "request": request,
            "faults": faults,
        }
    )


@router.post("/{key}/test", operation_id="testTemplate", status_code=202, response_model=NotificationAccepted)
async def try_template(
    request: Request,
    hub: Hub,
    caller: Writer,
    key: KeyPath,
    body: TestBody,
    idempotency: IdempotencyKey = None,
) -> Response:
    """Send a template to one user through one channel, for real. The key needs `notifications:write` too.

    It is a notification of the type `template.test`, which waits for no quiet hours; follow it by its id.
    """
    if Scope.NOTIFICATIONS_WRITE not in caller.scopes:
        raise Problem("scope_missing", "This key was not given the scope `notifications:write`.")
    await user_of(hub, caller.app, body.user_id)
    _can_say(hub, await _found(hub, caller.app, key, body.version), body.channel)
    asked = NotificationNew(
        type="template.test",
        to=[Recipient(user_id=body.user_id)],
        template=TemplateRef(key=key, version=body.version, locale=body.locale),
        data=body.data,
        category="test",
        route=RouteBody(steps=[StepBody(channel=body.channel)], quiet_hours=QuietHours.IGNORE),
    )
    return await submitted(hub, caller, asked, await claim_of(request, caller, idempotency))


def _can_say(hub: Services, version: TemplateVersion, channel: str) -> None:
    """Raises Problem where a try on this channel could only fail."""
    names = hub.engine.channels.names
    if channel not in names:
        fault = unknown_channel("/channel", channel, names)
        raise Problem("channel_unknown", fault.detail, errors=[fault])
    if isinstance(hub.engine.channels.get(channel), Templated) and mapping_for(version, channel) is None:
        detail = f"Version {version.version} of the template has no mapping for {channel!r}."
        fault = Fault("/channel", "template.mapping_missing", detail, channel)
        raise Problem("template.mapping_invalid", detail, errors=[fault])
