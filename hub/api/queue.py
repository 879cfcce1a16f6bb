"""`/v1/queue`: the same `sync` as over a socket, for clients without one; it may wait for news."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from hub.api.answers import empty, raw
from hub.api.attention import unless_gone
from hub.api.deps import Caller, Hub, by_either, person_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import MAX_SAFE, Duration, ForUser
from hub.api.schemas_chat import QueueAck, QueuePageShown
from hub.api.views import entry_out
from hub.core.message import Page
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/queue", tags=["queue"], route_class=HubRoute)

_GONE = 499
"""Nobody reads it; it is what the metrics count."""
_AFTER = Query(
    ge=0,
    le=MAX_SAFE,
    description="The cursor: what you have applied so far. Without one that of `device` counts, or 0.",
)
_WAIT = Query(
    description="Wait up to this long for something past `after` (`PT25S`); the hub's `HUB_POLL_WAIT` bounds it.",
    examples=["PT25S"],
)
_DEVICE = Query(
    min_length=1,
    max_length=128,
    pattern=r"^[!-~]+$",
    description="The device that pulls: one that is not known yet begins at 0.",
)


@router.get("", operation_id="pullQueue", response_model=QueuePageShown)
async def pull_queue(
    request: Request,
    hub: Hub,
    caller: Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)],
    user: ForUser = None,
    after: Annotated[int | None, _AFTER] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 100,
    wait: Annotated[Duration | None, _WAIT] = None,
    device: Annotated[str | None, _DEVICE] = None,
) -> Response:
    """Pull what is past `after`: contiguous, oldest first. Apply it, then acknowledge `page.next`.

    With `wait` the answer comes as soon as there is something, or empty when the time is over: ask again then. Who
    waits is not online by that. `rebase` true says that the cursor cannot be continued from: start again from the
    conversation list, and go on from `page.next`.
    """
    person = await person_of(hub, caller, user)
    known = None if device is None else await hub.directory.device(person.key, device)
    if known is not None and person.was_shown_out(known.kicked_at):
        raise Problem("device_kicked", "This device was shown out after its token was issued.")
    if after is None:
        after = 0 if known is None else known.cursor
    if wait is None or hub.polls is None:
        page = await hub.engine.sync(person.key, after=after, limit=limit)
    else:
        seconds = max(timedelta(0), wait).total_seconds()
        pull = hub.polls.pull(person.key, after=after, limit=limit, wait=seconds)
        try:
            page = await unless_gone(request, pull)
        except ClientDisconnect:
            return Response(status_code=_GONE)
    head = await hub.engine.head(person.key)
    return raw(_page(page, head))


def _page(page: Page, head: int) -> dict[str, object]:
    return {
        "data": [entry_out(entry, message) for entry, message in page.entries],
        "page": {"next": page.next, "has_more": page.more},
        "head": head,
        "rebase": page.rebase,
    }


@router.post("/ack", operation_id="ackQueue", status_code=204, response_class=Response)
async def ack_queue(
    hub: Hub, caller: Annotated[Caller, by_either(Scope.MESSAGES_WRITE, UserScope.READ)], body: QueueAck
) -> Response:
    """Say that a device has everything up to `seq`. Cumulative, and only forward; the device is made if new."""
    person = await person_of(hub, caller, body.user)
    head = await hub.engine.head(person.key)
    if body.seq > head:
        detail = f"The newest number of this queue is {head}."
        raise Problem("seq_beyond_head", detail, errors=[Fault("/seq", "seq_beyond_head", detail)])
    device = await hub.people.device(person, body.device.id, body.device.platform, body.device.name)
    if body.seq > device.cursor:
        hub.engine.ack(device.key, person.key, body.seq)
    return empty()
