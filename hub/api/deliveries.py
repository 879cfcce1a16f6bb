"""`/v1/deliveries`: why somebody did or did not get something."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import listed, page_of, shown
from hub.api.deps import Hub, by_key, user_of
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing, UserId
from hub.api.schemas_control import ReplayBody, ReplayShown
from hub.api.schemas_deliveries import AttemptShown, DeliveryEventShown, DeliveryShown, DeliveryStoryShown
from hub.core.control import ReplayFilter
from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.identity import ApiCaller
from hub.core.message import NotificationId
from hub.core.records import DeliveryFilter, DeliveryView
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.NOTIFICATIONS_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.DELIVERIES_WRITE)]
IdQuery = Annotated[str | None, Query(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


def delivery_shown(view: DeliveryView) -> DeliveryShown:
    """A delivery as answers show it."""
    return DeliveryShown(
        id=view.id,
        notification=view.notification,
        message=view.message,
        user_id=view.user_id,
        hop=view.hop,
        channel=view.channel,
        state=view.state,
        reason=view.reason,
        attempts=view.attempts,
        provider_id=view.provider_id,
        read=view.read,
        created_at=view.created_at,
        due_at=view.due_at,
        expires_at=view.expires_at,
    )


@router.get("", operation_id="listDeliveries", response_model=Listing[DeliveryShown])
async def list_deliveries(
    request: Request,
    hub: Hub,
    caller: Reader,
    notification: IdQuery = None,
    user: Annotated[UserId | None, Query(description="To whom.")] = None,
    state: Annotated[DeliveryState | None, Query(description="In which state they are now.")] = None,
    channel: Annotated[str | None, Query(min_length=1, max_length=32, pattern=r"^[a-z0-9_]+$")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """Search deliveries, newest first. One exists where a policy has something to do after or instead of a push."""
    key = None if user is None else await user_of(hub, caller.app, user)
    only = DeliveryFilter(notification, key, state, channel)
    return listed(
        request, await hub.directory.deliveries(caller.app, only, page_of(limit, after)), delivery_shown
    )


@router.post("/replay", operation_id="replayDeliveries", response_model=ReplayShown)
async def replay_deliveries(hub: Hub, caller: Writer, body: ReplayBody) -> Response:
    """Try dead letters again, once the cause is gone: what failed, and what may have arrived and was never heard of.

    Each gets a fresh number of tries; its story goes on. Asking twice is harmless: what is in the queue again is no
    dead letter.
    """
    user = None if body.user_id is None else await user_of(hub, caller.app, body.user_id)
    wanted = ReplayFilter(
        ids=tuple(DeliveryId(id_) for id_ in body.ids or ()),
        notification=None if body.notification is None else NotificationId(body.notification),
        user=user,
        channel=body.channel,
        state=None if body.state is None else DeliveryState(body.state),
        reason=body.reason,
        since=body.since,
        until=body.until,
        limit=body.limit,
    )
    return shown(ReplayShown(replayed=await hub.engine.replay(caller.app, wanted)))


@router.post("/{delivery_id}/replay", operation_id="replayDelivery", response_model=ReplayShown)
async def replay_delivery(hub: Hub, caller: Writer, delivery_id: HubId) -> Response:
    """Try one dead letter again. 0 where there is nothing to try: it is under way, arrived, was read or has expired."""
    await hub.directory.delivery(caller.app, delivery_id)
    wanted = ReplayFilter(ids=(DeliveryId(delivery_id),))
    return shown(ReplayShown(replayed=await hub.engine.replay(caller.app, wanted)))


@router.get("/{delivery_id}", operation_id="getDelivery", response_model=DeliveryStoryShown)
async def get_delivery(hub: Hub, caller: Reader, delivery_id: HubId) -> Response:
    """Get one delivery with every state it has been in and every try."""
    story = await hub.directory.delivery(caller.app, delivery_id)
    return shown(
        DeliveryStoryShown(
            **delivery_shown(story.delivery).model_dump(),
            events=[
                DeliveryEventShown(version=e.version, at=e.at, state=e.state, reason=e.reason)
                for e in story.events
            ],
            tries=[
                AttemptShown(
                    number=a.number,
                    started_at=a.started_at,
                    finished_at=a.finished_at,
                    outcome=a.outcome,
                    reason=a.reason,
                    provider_id=a.provider_id,
                    detail=a.detail,
                )
                for a in story.attempts
            ],
        )
    )
