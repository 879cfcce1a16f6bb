"""From notification bodies to the core's drafts: people resolved in one query for all, policies pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.api.answers import raw_json
from hub.api.deps import Services
from hub.api.messages import body_json
from hub.api.policies import find_policy
from hub.api.policies_json import DEFAULT, policy_of
from hub.api.problems import Fault, Problem
from hub.api.schemas_notify import CardContent, NotificationNew, ToConversationBody
from hub.core.identity import ApiCaller
from hub.core.message import (
    SYSTEM,
    ConversationId,
    Draft,
    IdempotencyClaim,
    MessageId,
    NotificationDraft,
    NotificationId,
    ToConversation,
    ToInbox,
    UserKey,
)
from hub.core.records import NamedPolicy

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
    found: list[Draft | Problem] = []
    for item in asked:
        try:
            found.append(await _draft(hub, caller, item, known))
        except Problem as problem:
            found.append(problem)
    return found


async def _draft(hub: Services, caller: ApiCaller, asked: Asked, known: Mapping[str, UserKey]) -> Draft:
    body, now = asked.body, hub.engine.clock()
    named = await _policy(hub, caller, body)
    actor = body.actor.user_id if body.actor else None
    users = tuple(known[user_id] for user_id in people_of(body))
    notification = NotificationDraft(
        id=NotificationId(hub.engine.new_id("ntf")),
        type=body.type,
        policy=named.policy,
        category=body.category,
        priority=body.priority,
        dedupe_key=body.dedupe_key,
        collapse_key=body.collapse_key,
        metadata=None if body.metadata is None else raw_json(body.metadata),
    )
    kind, content = _content(hub, body)
    return Draft(
        id=MessageId(hub.engine.new_id("msg")),
        app=caller.app,
        sender=SYSTEM if actor is None else known[actor],
        sender_id=actor,
        to=ToConversation(ConversationId(body.to.conversation))
        if isinstance(body.to, ToConversationBody)
        else ToInbox(users),
        kind=kind,
        body=content,
        created_at=now,
        expires_at=_expiry(body, named, now),
        notification=notification,
        idempotency=asked.claim,
        as_member=False,
    )


async def _policy(hub: Services, caller: ApiCaller, body: NotificationNew) -> NamedPolicy:
    if body.route is not None:
        policy = policy_of(body.route, hub.engine.channels.names, where="/route")
        return NamedPolicy("", policy, body.route.expires_in)
    name = body.policy or DEFAULT
    found = await find_policy(hub, caller.app, name)
    if found is None:
        detail = f"This app has no policy {name!r}; see GET /v1/policies."
        raise Problem("policy_unknown", detail, errors=[Fault("/policy", "policy_unknown", detail)])
    return found[0]


def _content(hub: Services, body: NotificationNew) -> tuple[str, str]:
    content = body.content
    if not isinstance(content, CardContent):
        return content.kind, body_json(hub, content.body, "/content/body")
    shown: dict[str, Any] = {"title": content.title, "text": content.text}
    optional = {"data": content.data, "link": content.link}
    shown |= {name: value for name, value in optional.items() if value is not None}
    if content.actions is not None:
        shown["actions"] = [action.model_dump(exclude_none=True) for action in content.actions]
    return _KIND, body_json(hub, shown, "/content")


def _expiry(body: NotificationNew, named: NamedPolicy, now: datetime) -> datetime | None:
    """The earlier of what the notification and its policy say."""
    if body.expires_at is not None and body.expires_at <= now:
        detail = "`expires_at` lies in the past."
        raise Problem("expired_already", detail, errors=[Fault("/expires_at", "expired_already", detail)])
    ends = [moment for moment in (body.expires_at,) if moment is not None]
    if named.expires_in is not None:
        ends.append(now + named.expires_in)
    return min(ends, default=None)
