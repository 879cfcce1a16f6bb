"""From notification bodies to the core's drafts: people resolved in one query for all, policies and templates
pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.api.answers import raw_json
from hub.api.deps import Services
from hub.api.messages import body_json
from hub.api.policies import find_policy
from hub.api.policies_json import DEFAULT, policy_of
from hub.api.problems import Fault, Problem
from hub.api.schemas_notify import NotificationNew, RawContent, ToConversationBody
from hub.api.spoken import Subject, card_of, check_outside, pinned_version
from hub.core.identity import ApiCaller, Recipient
from hub.core.message import (
    SYSTEM,
    AppId,
    ConversationId,
    Draft,
    IdempotencyClaim,
    MessageId,
    NotificationDraft,
    NotificationId,
    TemplatePin,
    ToConversation,
    ToInbox,
    UserKey,
)
from hub.core.policy import Policy
from hub.core.records import NamedPolicy
from hub.core.rendering import hub_names
from hub.core.templates import TemplateVersion
from hub.core.webhooks import EndpointId

_AHEAD = timedelta(days=366)
_KIND = "notification"


@dataclass(frozen=True, slots=True)
class Asked:
    """A notification that was asked for, and its claim."""

    body: NotificationNew
    claim: IdempotencyClaim | None


def people_of(body: NotificationNew) -> list[str]:
    """The recipients' ids, each once, in the order named."""
    if isinstance(body.to, ToConversationBody):
        return []
    return list(dict.fromkeys(recipient.user_id for recipient in body.to))


async def drafts_of(hub: Services, caller: ApiCaller, asked: Sequence[Asked]) -> list[Draft | Problem]:
    """A draft for each, or why there is none; in order. Users who are not known yet are made."""
    wanted: set[str] = set()
    for item in asked:
        wanted.update(people_of(item.body))
        if item.body.actor is not None:
            wanted.add(item.body.actor.user_id)
    known = await hub.directory.ensure_users(caller.app, wanted) if wanted else {}
    listeners = await _listeners(hub, caller.app, asked, known)
    world = _World(hub, caller.app, known, listeners, await _hears(hub, caller.app))
    found: list[Draft | Problem] = []
    for item in asked:
        try:
            found.append(await _draft(world, item))
        except Problem as problem:
            found.append(problem)
    return found


def moment_of(body: NotificationNew) -> datetime | None:
    """When it is to be sent; None is now."""
    return body.send_at or body.not_before


async def _listeners(
    hub: Services, app: AppId, asked: Sequence[Asked], known: Mapping[str, UserKey]
) -> Mapping[UserKey, Recipient]:
    """How those who get a text from a template want to be spoken to. Nobody else is asked for."""
    users: set[UserKey] = set()
    for item in asked:
        if item.body.template is not None or await _steps_speak(hub, app, item.body):
            users.update(known[user_id] for user_id in people_of(item.body))
    return await hub.directory.recipients(users) if users else {}


async def _steps_speak(hub: Services, app: AppId, body: NotificationNew) -> bool:
    """Whether the policy names templates of its own."""
    if body.route is not None:
        return any(step.template is not None for step in body.route.steps)
    found = await find_policy(hub, app, body.policy or DEFAULT)
    return found is not None and any(hop.template is not None for hop in found[0].policy.hops)


async def _hears(hub: Services, app: AppId) -> str | None:
    """Who hears of deliveries without being named: every endpoint that subscribes, if there is one."""
    return "*" if await hub.webhooks.wants(app, "delivery.") else None


@dataclass(frozen=True, slots=True)
class _World:
    """What all drafts of a request share."""

    hub: Services
    app: AppId
    known: Mapping[str, UserKey]
    listeners: Mapping[UserKey, Recipient]
    hears: str | None


async def _draft(world: _World, asked: Asked) -> Draft:
    hub, body = world.hub, asked.body
    now = hub.engine.clock()
    named = await _policy(hub, world.app, body)
    actor = body.actor.user_id if body.actor else None
    users = tuple(world.known[user_id] for user_id in people_of(body))
    notification = await _notification(world, body, named.policy)
    people = [world.listeners[user] for user in users if user in world.listeners]
    subject = Subject(world.app, body, named.policy, people, hub_names(notification))
    version = await pinned_version(hub, world.app, body)
    kind, content = _content(hub, subject, version)
    await check_outside(hub, subject, version)
    return Draft(
        id=MessageId(hub.engine.new_id("msg")),
        app=world.app,
        sender=SYSTEM if actor is None else world.known[actor],
        sender_id=actor,
        to=ToConversation(ConversationId(body.to.conversation))
        if isinstance(body.to, ToConversationBody)
        else ToInbox(users),
        kind=kind,
        body=content,
        created_at=now,
        expires_at=_expiry(body, named, now),
        notification=_pinned(hub, notification, subject, version),
        idempotency=asked.claim,
        as_member=False,
    )


async def _notification(world: _World, body: NotificationNew, policy: Policy) -> NotificationDraft:
    return NotificationDraft(
        id=NotificationId(world.hub.engine.new_id("ntf")),
        type=body.type,
        policy=policy,
        category=body.category,
        priority=body.priority,
        dedupe_key=body.dedupe_key,
        collapse_key=body.collapse_key,
        metadata=None if body.metadata is None else raw_json(body.metadata),
        thread=body.thread,
        digest_key=body.digest_key,
        callback=await _callback(world, body),
    )


def _pinned(
    hub: Services, notification: NotificationDraft, subject: Subject, version: TemplateVersion | None
) -> NotificationDraft:
    """With the template's version and the data, where a channel will need them."""
    speaks = version is not None or any(hop.template is not None for hop in subject.policy.hops)
    data = body_json(hub, subject.data, subject.where) if speaks else None
    if version is None or subject.body.template is None:
        return replace(notification, data=data)
    pin = TemplatePin(version.key, version.version, subject.body.template.locale)
    return replace(notification, data=data, template=pin)


async def _callback(world: _World, body: NotificationNew) -> str | None:
    if body.callback is None:
        return world.hears
    wanted = body.callback.endpoint_id
    endpoint = await world.hub.webhooks.endpoint(world.app, EndpointId(wanted))
    if endpoint is None or endpoint.disabled_at is not None:
        state = "has no webhook endpoint" if endpoint is None else "has disabled the webhook endpoint"
        detail = f"This app {state} {wanted!r}."
        raise Problem(
            "webhook_unknown", detail, errors=[Fault("/callback/endpoint_id", "webhook_unknown", detail)]
        )
    return wanted


async def _policy(hub: Services, app: AppId, body: NotificationNew) -> NamedPolicy:
    found = await _named(hub, app, body)
    if body.quiet_hours is None:
        return found
    return replace(found, policy=replace(found.policy, quiet_hours=body.quiet_hours))


async def _named(hub: Services, app: AppId, body: NotificationNew) -> NamedPolicy:
    if body.route is not None:
        policy = policy_of(body.route, hub.engine.channels.names, where="/route")
        return NamedPolicy("", policy, body.route.expires_in)
    name = body.policy or DEFAULT
    found = await find_policy(hub, app, name)
    if found is None:
        detail = f"This app has no policy {name!r}; see GET /v1/policies."
        raise Problem("policy_unknown", detail, errors=[Fault("/policy", "policy_unknown", detail)])
    return found[0]


def _content(hub: Services, subject: Subject, version: TemplateVersion | None) -> tuple[str, str]:
    content = subject.body.content
    if isinstance(content, RawContent):
        return content.kind, body_json(hub, content.body, "/content/body")
    if version is not None:
        shown, actions = card_of(subject, version), subject.body.actions
    else:
        assert content is not None  # noqa: S101  (the schema asks for one of the two)
        shown = {"title": content.title, "text": content.text}
        optional = {"data": content.data, "link": content.link}
        shown |= {name: value for name, value in optional.items() if value is not None}
        actions = content.actions if subject.body.actions is None else subject.body.actions
    if actions is not None:
        shown["actions"] = [action.model_dump(exclude_none=True) for action in actions]
    return _KIND, body_json(hub, shown, "/content" if version is None else "/data")


def _expiry(body: NotificationNew, named: NamedPolicy, now: datetime) -> datetime | None:
    """The earlier of what the notification and its policy say; the policy's time begins when it is sent."""
    start = max(now, moment_of(body) or now)
    if start - now > _AHEAD:
        detail = f"`send_at` is more than {_AHEAD.days} days from now."
        raise Problem("request_invalid", detail, errors=[Fault("/send_at", "too_far", detail)])
    if body.expires_at is not None and body.expires_at <= start:
        detail = "`expires_at` lies in the past." if start == now else "It would expire before it is sent."
        raise Problem("expired_already", detail, errors=[Fault("/expires_at", "expired_already", detail)])
    ends = [moment for moment in (body.expires_at,) if moment is not None]
    if named.expires_in is not None:
        ends.append(start + named.expires_in)
    return min(ends, default=None)
