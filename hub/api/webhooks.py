"""`/v1/webhooks`: where business systems hear of what happens, and what became of each event."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, empty, listed, loads, location, page_of, shown, write
from hub.api.deps import Hub, Services, by_key
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing
from hub.api.schemas_webhooks import (
    HealthShown,
    HookDeliveryShown,
    HookEventShown,
    HookTestShown,
    ReplayBody,
    ReplayShown,
    RotateBody,
    SecretShown,
    WebhookCreated,
    WebhookNew,
    WebhookPatch,
    WebhookShown,
    WebhookStoryShown,
)
from hub.core.directory import Change
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.records import Slice
from hub.core.scopes import Scope
from hub.core.webhooks import Endpoint, EndpointId, HookDelivery, HookState, WebhookEventId

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.WEBHOOKS_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.WEBHOOKS_WRITE)]

TEST = "webhook.test"


def webhook_shown(endpoint: Endpoint) -> WebhookShown:
    """An endpoint as answers show it."""
    return WebhookShown(
        id=endpoint.id,
        url=endpoint.url,
        events=list(endpoint.events),
        description=endpoint.description,
        enabled=endpoint.disabled_at is None,
        disabled_at=endpoint.disabled_at,
        disabled_reason=endpoint.disabled_reason,
        created_at=endpoint.created_at,
    )


def delivery_shown(way: HookDelivery) -> HookDeliveryShown:
    """One event's way to one endpoint as answers show it."""
    return HookDeliveryShown(
        event=way.event,
        endpoint=way.endpoint,
        state=way.state,
        attempts=way.attempts,
        due_at=way.due_at,
        status=way.status,
        error=way.error,
        created_at=way.created_at,
        updated_at=way.updated_at,
    )


async def find_webhook(hub: Services, app: AppId, webhook_id: str) -> Endpoint:
    """An endpoint of this app. Raises Problem webhook_not_found."""
    found = await hub.webhooks.endpoint(app, EndpointId(webhook_id))
    if found is None:
        raise Problem("webhook_not_found", "There is no webhook endpoint of this id in your app.")
    return found


@router.post("", operation_id="createWebhook", status_code=201, response_model=WebhookCreated)
async def create_webhook(
    request: Request, hub: Hub, caller: Writer, body: WebhookNew, key: IdempotencyKey = None
) -> Response:
    """Make a webhook endpoint. Its signing secret is shown only now."""
    hub.hooks.check_url(body.url)

    async def work(change: Change) -> Response:
        made, secret = await change.create_webhook(body.url, body.events, body.description)
        created = WebhookCreated(**webhook_shown(made).model_dump(), secret=secret)
        return shown(created, 201, location("webhooks", made.id))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("", operation_id="listWebhooks", response_model=Listing[WebhookShown])
async def list_webhooks(request: Request, hub: Hub, caller: Reader) -> Response:
    """List the webhook endpoints of your app, oldest first; there are at most 50."""
    return listed(request, Slice(await hub.webhooks.endpoints(caller.app)), webhook_shown)


@router.get("/events/{event_id}", operation_id="getWebhookEvent", response_model=HookEventShown)
async def get_event(hub: Hub, caller: Reader, event_id: HubId) -> Response:
    """Get one event with its ways to your endpoints. An event that no endpoint wanted was not kept."""
    found = await hub.webhooks.event(caller.app, WebhookEventId(event_id))
    if found is None:
        raise Problem("webhook_event_not_found", "There is no event of this id in your app.")
    event, ways = found
    return shown(
        HookEventShown(
            id=event.id,
            type=event.type,
            at=event.at,
            data=loads(event.data),
            deliveries=[delivery_shown(way) for way in ways],
        )
    )


@router.get("/{webhook_id}", operation_id="getWebhook", response_model=WebhookStoryShown)
async def get_webhook(hub: Hub, caller: Reader, webhook_id: HubId) -> Response:
    """Get one endpoint and how it does: what waits for it, what was given up, and how the last try failed."""
    endpoint = await find_webhook(hub, caller.app, webhook_id)
    found = await hub.webhooks.health(endpoint.id)
    health = HealthShown(
        pending=found.pending,
        failed=found.failed,
        waiting_since=found.waiting_since,
        last_failure_at=found.last_failure_at,
        last_status=found.last_status,
        last_error=found.last_error,
    )
    return shown(WebhookStoryShown(**webhook_shown(endpoint).model_dump(), health=health))


@router.patch("/{webhook_id}", operation_id="patchWebhook", response_model=WebhookShown)
async def patch_webhook(hub: Hub, caller: Writer, webhook_id: HubId, body: WebhookPatch) -> Response:
    """Change an endpoint, or disable or enable it. While it is disabled, what happens is not kept for it."""
    if body.url is not None:
        hub.hooks.check_url(body.url)

    async def work(change: Change) -> Response:
        changed = await change.patch_webhook(
            EndpointId(webhook_id),
            url=body.url,
            events=body.events,
            description=body.description,
            enabled=body.enabled,
        )
        return shown(webhook_shown(changed))

    return await write(hub, caller, work)


@router.delete("/{webhook_id}", operation_id="deleteWebhook", status_code=204, response_class=Response)
async def delete_webhook(hub: Hub, caller: Writer, webhook_id: HubId) -> Response:
    """Remove an endpoint. What was on its way there is not sent."""

    async def work(change: Change) -> Response:
        await change.delete_webhook(EndpointId(webhook_id))
        return empty()

    return await write(hub, caller, work)


@router.post("/{webhook_id}/secret/rotate", operation_id="rotateWebhookSecret", response_model=SecretShown)
async def rotate_secret(
    request: Request,
    hub: Hub,
    caller: Writer,
    webhook_id: HubId,
    body: RotateBody,
    key: IdempotencyKey = None,
) -> Response:
    """Make a new signing secret. Until `overlap` has passed, requests carry a signature of the old one too."""
    overlap = body.overlap if body.overlap is not None else timedelta(0)

    async def work(change: Change) -> Response:
        secret = await change.rotate_webhook_secret(EndpointId(webhook_id), overlap=overlap)
        return shown(SecretShown(secret=secret))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.post("/{webhook_id}/test", operation_id="testWebhook", response_model=HookTestShown)
async def test_webhook(hub: Hub, caller: Writer, webhook_id: HubId) -> Response:
    """Send a `webhook.test` event right now, once, and say how the endpoint answered."""
    event = WebhookEventId(hub.engine.new_id("evt"))
    endpoint = EndpointId(webhook_id)
    answer = await hub.hooks.ask(caller.app, endpoint, TEST, '{"text":"你好, webhook"}', id_=event)
    return shown(HookTestShown(event=event, ok=answer.ok, status=answer.status, error=answer.error))


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="listWebhookDeliveries",
    response_model=Listing[HookDeliveryShown],
)
async def list_deliveries(
    request: Request,
    hub: Hub,
    caller: Reader,
    webhook_id: HubId,
    state: Annotated[HookState | None, Query(description="In which state they are now.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List what was sent to an endpoint or is to be, newest first."""
    endpoint = await find_webhook(hub, caller.app, webhook_id)
    found = await hub.webhooks.deliveries(endpoint.id, page_of(limit, after), state=state)
    return listed(request, found, delivery_shown)


@router.post("/{webhook_id}/replay", operation_id="replayWebhook", response_model=ReplayShown)
async def replay_webhook(hub: Hub, caller: Writer, webhook_id: HubId, body: ReplayBody) -> Response:
    """Send events again, under the ids that they had: those named, or those that failed since a time. Repeat until
    the answer is 0 to replay more than 1,000."""
    endpoint = await find_webhook(hub, caller.app, webhook_id)
    count = await hub.webhooks.replay(
        caller.app,
        events=[WebhookEventId(event) for event in body.events or ()],
        failed_since=body.failed_since,
        endpoint=endpoint.id,
        now=hub.engine.clock(),
    )
    return shown(ReplayShown(replayed=count))
