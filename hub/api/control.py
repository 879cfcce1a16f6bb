"""What is done to notifications after they were accepted: `DELETE`, `recall`, and business events that end them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from hub.api.answers import shown
from hub.api.deps import Hub, by_key
from hub.api.route import HubRoute
from hub.api.schemas import HubId
from hub.api.schemas_control import CancelShown, EventNew, EventShown, RecallLineShown, RecallShown
from hub.core.control import EventScope
from hub.core.identity import ApiCaller
from hub.core.message import NotificationId
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/notifications", tags=["notifications"], route_class=HubRoute)
events = APIRouter(prefix="/v1/events", tags=["notifications"], route_class=HubRoute)

Writer = Annotated[ApiCaller, by_key(Scope.NOTIFICATIONS_WRITE)]


@router.delete("/{notification_id}", operation_id="cancelNotification", response_model=CancelShown)
async def cancel_notification(hub: Hub, caller: Writer, notification_id: HubId) -> Response:
    """Cancel what has not been sent yet. A scheduled notification is never sent; of another, no further step is tried.

    The message in the app stays: `recall` takes that back too.
    """
    report = await hub.engine.cancel(caller.app, NotificationId(notification_id))
    return shown(
        CancelShown(
            id=report.notification,
            scheduled=report.scheduled,
            canceled=report.canceled,
            under_way=report.under_way,
            sent=report.sent,
        )
    )


@router.post("/{notification_id}/recall", operation_id="recallNotification", response_model=RecallShown)
async def recall_notification(hub: Hub, caller: Writer, notification_id: HubId) -> Response:
    """Take a notification back, as far as each channel allows, and say for each recipient what was possible.

    `recalled`: devices are told to remove it. `canceled`: it was still to be sent. `not_sent`: it never was.
    `under_way`: it is just being sent and may arrive. `not_recallable`: it has left the hub, and the channel cannot
    take it back.
    """
    report = await hub.engine.recall(caller.app, NotificationId(notification_id))
    people = await hub.directory.recipients({line.user for line in report.lines})
    lines = [
        RecallLineShown(
            user_id=people[line.user].user_id,
            channel=line.channel,
            result=line.result.value,
            delivery=line.delivery,
        )
        for line in report.lines
        if line.user in people
    ]
    return shown(RecallShown(id=report.notification, scheduled=report.scheduled, lines=lines))


@events.post("", operation_id="sendEvent", response_model=EventShown)
async def send_event(hub: Hub, caller: Writer, body: EventNew) -> Response:
    """Say that something happened in the business: deliveries that wait for it (`event:…` in `stop_on`) are canceled.

    A repeat is harmless. An event for a thread that nobody has heard of cancels nothing.
    """
    if body.thread is not None:
        scope = EventScope(thread=body.thread)
    elif body.dedupe_key is not None:
        scope = EventScope(dedupe_key=body.dedupe_key)
    else:
        scope = EventScope(notifications=(NotificationId(body.notification or ""),))
    canceled = await hub.engine.event(caller.app, scope, body.name)
    return shown(EventShown(name=body.name, canceled=canceled))
