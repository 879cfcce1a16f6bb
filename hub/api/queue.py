"""`/v1/queue`: the same `sync` as over a socket, for clients without one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from hub.api.answers import empty, raw
from hub.api.deps import Caller, Hub, by_either, person_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import MAX_SAFE, ForUser
from hub.api.schemas_chat import QueueAck, QueuePageShown
from hub.api.views import entry_out
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/queue", tags=["queue"], route_class=HubRoute)


@router.get("", operation_id="pullQueue", response_model=QueuePageShown)
async def pull_queue(
    hub: Hub,
    caller: Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)],
    user: ForUser = None,
    after: Annotated[
        int, Query(ge=0, le=MAX_SAFE, description="The cursor: what you have applied so far.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 100,
) -> Response:
    """Pull what is past `after`: contiguous, oldest first. Apply it, then acknowledge `page.next`.

    `rebase` true says that the cursor cannot be continued from: start again from the conversation list, and go on
    from `page.next`.
    """
    person = await person_of(hub, caller, user)
    page = await hub.engine.sync(person.key, after=after, limit=limit)
    return raw(
        {
            "data": [entry_out(entry, message) for entry, message in page.entries],
            "page": {"next": page.next, "has_more": page.more},
            "head": await hub.engine.head(person.key),
            "rebase": page.rebase,
        }
    )


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
