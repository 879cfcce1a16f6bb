"""`/v1/notifications`: tell people something, and see what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from hub.api.answers import REPLAYED, IdempotencyKey, claim_of, listed, page_of, raw, shown
from hub.api.deps import Hub, Services, by_key
from hub.api.drafts import Asked, drafts_of, moment_of, people_of
from hub.api.field_names import FIELD_NAMES
from hub.api.notification_views import notification_shown, scheduled_shown, state_of
from hub.api.problems import Problem, document, faults_of
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing
from hub.api.schemas_notify import (
    NotificationAccepted,
    NotificationBatch,
    NotificationBatchAnswer,
    NotificationNew,
    NotificationShown,
    TimelineEventShown,
    ToConversationBody,
)
from hub.core.errors import HubError, NotFound
from hub.core.identity import ApiCaller
from hub.core.message import Accepted, Draft, IdempotencyClaim, NotificationId
from hub.core.records import TimelineEvent
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
    return await submitted(hub, caller, body, await claim_of(request, caller, key))


async def submitted(
    hub: Services, caller: ApiCaller, body: NotificationNew, claim: IdempotencyClaim | None
) -> Response:
    """The answer to one notification, after its commit. Raises Problem, and what the engine raises."""
    (draft,) = await drafts_of(hub, caller, [Asked(body, claim)])
    if isinstance(draft, Problem):
        raise draft
    later = _later(hub, body)
    done = await (hub.engine.submit(draft) if later is None else hub.engine.schedule(draft, later))
    answer = _accepted(body, draft, done, later)
    headers = {"Location": answer.links.own}
    if answer.deduplicated and claim is not None:
        headers[REPLAYED] = "true"
    return raw(answer, 202, headers)


def _later(hub: Services, body: NotificationNew) -> datetime | None:
    """The moment to wait for; None where it has come."""
    moment = moment_of(body)
    return moment if moment is not None and moment > hub.engine.clock() else None


async def _scheduled(hub: Services, draft: Draft, later: datetime) -> Accepted | HubError:
    try:
        return await hub.engine.schedule(draft, later)
    except HubError as error:
        return error


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
    moments = {index: _later(hub, asked[index].body) for index in ready}
    now = [index for index in ready if moments[index] is None]
    results = dict(zip(now, await hub.engine.submit_many([ready[index] for index in now]), strict=True))
    for index, moment in moments.items():
        if moment is not None:
            results[index] = await _scheduled(hub, ready[index], moment)
    for index, draft in ready.items():
        result = results[index]
        if isinstance(result, HubError):
            answers[index] = _refused(document(request, result.code, result.detail, error=result))
        else:
            accepted = _accepted(asked[index].body, draft, result, moments[index])
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


def _accepted(body: NotificationNew, draft: Draft, accepted: Accepted, later: datetime | None) -> AcceptedOut:
    fallback = draft.notification.id if draft.notification else ""
    own = f"/v1/notifications/{accepted.notification or fallback}"
    return AcceptedOut(
        id=accepted.notification or fallback,
        status="accepted" if later is None else "scheduled",
        deduplicated=accepted.duplicate,
        recipients={"resolved": None if isinstance(body.to, ToConversationBody) else len(people_of(body))},
        links=Links(own, f"{own}/timeline"),
    )


@router.get("/{notification_id}", operation_id="getNotification", response_model=NotificationShown)
async def get_notification(hub: Hub, caller: Reader, notification_id: HubId) -> Response:
    """Get a notification with how far it got with each recipient.

    `accepted`: in the queue. `pushed`: written to a live socket. `delivered`: a device acknowledged it, or a channel
    confirmed it. `read`: the person's read cursor is past it. A notification that waits for its `send_at` is
    `scheduled` and has no recipients yet.
    """
    try:
        view = await hub.directory.notification(caller.app, notification_id)
    except NotFound:
        waiting = await hub.engine.scheduled(caller.app, NotificationId(notification_id))
        if waiting is None:
            raise
        return shown(scheduled_shown(waiting))
    return shown(notification_shown(view, state_of(view, now=hub.engine.clock())))


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
