"""`/v1/notifications`: tell people something, and see what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from hub.api.answers import REPLAYED, IdempotencyKey, claim_of, listed, loads, page_of, raw, shown
from hub.api.deliveries import delivery_shown
from hub.api.deps import Hub, by_key
from hub.api.drafts import Asked, drafts_of, people_of
from hub.api.field_names import FIELD_NAMES
from hub.api.policies_json import route_shown
from hub.api.problems import Problem, document, faults_of
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing
from hub.api.schemas_chat import MessageShown
from hub.api.schemas_notify import (
    NotificationAccepted,
    NotificationBatch,
    NotificationBatchAnswer,
    NotificationNew,
    NotificationShown,
    RecipientShown,
    TimelineEventShown,
    ToConversationBody,
)
from hub.core.errors import HubError
from hub.core.identity import ApiCaller
from hub.core.message import Accepted, Draft, Message
from hub.core.records import NotificationView, RecipientView, TimelineEvent, status_of
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/notifications", tags=["notifications"], route_class=HubRoute)

Writer = Annotated[ApiCaller, by_key(Scope.NOTIFICATIONS_WRITE)]
Reader = Annotated[ApiCaller, by_key(Scope.NOTIFICATIONS_READ)]


class Links(msgspec.Struct, frozen=True):
    """schemas_notify.NotificationAccepted.Links."""

    own: str = msgspec.field(name="self")
    timeline: str


class AcceptedOut(msgspec.Struct, frozen=True):
    """schemas_notify.NotificationAccepted, by the short way."""

    id: str
    status: str
    deduplicated: bool
    recipients: dict[str, int | None]
    links: Links


@router.post("", operation_id="createNotification", status_code=202, response_model=NotificationAccepted)
async def create_notification(
    request: Request, hub: Hub, caller: Writer, body: NotificationNew, key: IdempotencyKey = None
) -> Response:
    """Tell up to 1,000 users, or everybody in a conversation. The answer comes after the commit, before any delivery.

    Users who are not known yet are made: you may notify people before their first login. What they were sent waits
    in their queue.
    """
    claim = await claim_of(request, caller, key)
    (draft,) = await drafts_of(hub, caller, [Asked(body, claim)])
    if isinstance(draft, Problem):
        raise draft
    answer = _accepted(body, draft, await hub.engine.submit(draft))
    headers = {"Location": answer.links.own}
    if answer.deduplicated and claim is not None:
        headers[REPLAYED] = "true"
    return raw(answer, 202, headers)


@router.post(
    "/batch",
    operation_id="createNotifications",
    status_code=207,
    response_model=NotificationBatchAnswer,
)
async def create_notifications(
    request: Request, hub: Hub, caller: Writer, body: NotificationBatch, key: IdempotencyKey = None
) -> Response:
    """Send up to 500 notifications. Each is accepted or refused by itself; the answers come in the same order.

    With an Idempotency-Key a repeat of the same batch accepts only what was not accepted before.
    """
    answers: dict[int, dict[str, Any]] = {}
    asked: dict[int, Asked] = {}
    for index, item in enumerate(body.notifications):
        claim = await claim_of(request, caller, key, part=index, body=item)
        try:
            asked[index] = Asked(NotificationNew.model_validate(item), claim)
        except ValidationError as error:
            answers[index] = _invalid(request, error, item)
    drafts = dict(zip(asked, await drafts_of(hub, caller, list(asked.values())), strict=True))
    ready = {index: draft for index, draft in drafts.items() if isinstance(draft, Draft)}
    for index, draft in drafts.items():
        if isinstance(draft, Problem):
            answers[index] = _refused(document(request, draft.code, str(draft.detail), errors=draft.errors))
    results = await hub.engine.submit_many(list(ready.values()))
    for (index, draft), result in zip(ready.items(), results, strict=True):
        if isinstance(result, HubError):
            answers[index] = _refused(document(request, result.code, result.detail, error=result))
        else:
            accepted = _accepted(asked[index].body, draft, result)
            answers[index] = {"status": 202, "notification": accepted, "problem": None}
    return raw({"data": [answers[index] for index in range(len(body.notifications))]}, 207)


def _refused(problem: dict[str, Any]) -> dict[str, Any]:
    return {"status": problem["status"], "notification": None, "problem": problem}


def _invalid(request: Request, error: ValidationError, item: object) -> dict[str, Any]:
    found = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
    faults = faults_of(found, item, FIELD_NAMES)
    unsupported = [fault for fault in faults if fault.code == "not_supported"]
    code = "not_supported" if unsupported else "request_invalid"
    detail = (unsupported or list(faults))[0].detail
    return _refused(document(request, code, detail, errors=faults))


def _accepted(body: NotificationNew, draft: Draft, accepted: Accepted) -> AcceptedOut:
    fallback = draft.notification.id if draft.notification else ""
    own = f"/v1/notifications/{accepted.notification or fallback}"
    return AcceptedOut(
        id=accepted.notification or fallback,
        status="accepted",
        deduplicated=accepted.duplicate,
        recipients={"resolved": None if isinstance(body.to, ToConversationBody) else len(people_of(body))},
        links=Links(own, f"{own}/timeline"),
    )


@router.get("/{notification_id}", operation_id="getNotification", response_model=NotificationShown)
async def get_notification(hub: Hub, caller: Reader, notification_id: HubId) -> Response:
    """Get a notification with how far it got with each recipient.

    `accepted`: in the queue. `pushed`: written to a live socket. `delivered`: a device acknowledged it, or a channel
    confirmed it. `read`: the person's read cursor is past it.
    """
    view = await hub.directory.notification(caller.app, notification_id)
    return shown(_shown(view, status_of(view, now=hub.engine.clock()).value))


@router.get(
    "/{notification_id}/timeline",
    operation_id="getNotificationTimeline",
    response_model=Listing[TimelineEventShown],
)
async def get_timeline(
    request: Request, hub: Hub, caller: Reader, notification_id: HubId, limit: Limit = 50, after: After = None
) -> Response:
    """Read what happened to a notification, oldest first: states of its deliveries, tries, and providers' words."""
    found = await hub.directory.timeline(caller.app, notification_id, page_of(limit, after))
    return listed(request, found, _event)


def _event(event: TimelineEvent) -> TimelineEventShown:
    return TimelineEventShown(
        at=event.at,
        event=event.event,
        user_id=event.user_id,
        channel=event.channel,
        delivery=event.delivery,
        reason=event.reason,
        detail=event.detail,
    )


def _recipient(view: RecipientView) -> RecipientShown:
    state = (
        "read" if view.read else "delivered" if view.delivered else "pushed" if view.pushed else "accepted"
    )
    return RecipientShown(
        user_id=view.user_id,
        state=state,
        queue_seq=view.queue_seq,
        deliveries=[delivery_shown(delivery) for delivery in view.deliveries],
    )


def _shown(view: NotificationView, status: str) -> NotificationShown:
    recipients = [_recipient(person) for person in view.recipients]
    counts = dict.fromkeys(("accepted", "pushed", "delivered", "read"), 0)
    for person in recipients:
        counts[person.state] += 1
    return NotificationShown(
        id=view.id,
        status=status,
        type=view.type,
        category=view.category,
        priority=view.priority,
        dedupe_key=view.dedupe_key,
        collapse_key=view.collapse_key,
        metadata=None if view.metadata is None else loads(view.metadata),
        route=route_shown(view.policy),
        created_at=view.created_at,
        expires_at=view.expires_at,
        message=None if view.message is None else _message(view.message),
        summary=NotificationShown.Summary(total=len(recipients), **counts),
        recipients=recipients,
    )


def _message(message: Message) -> MessageShown:
    return MessageShown(
        id=message.id,
        conversation=message.conversation,
        seq=message.seq,
        sender=message.sender_id,
        kind=message.kind,
        body=loads(message.body),
        at=message.created_at,
        client_msg_id=message.client_msg_id,
        mentions=list(message.mentions) or None,
        notification=message.notification,
        expires_at=message.expires_at,
    )
