"""`DELETE /v1/users/{id}` and what becomes of it, and a user's own data as lines of JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from hub.api.answers import location, shown
from hub.api.deps import Hub, actor_of, by_key
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import HubId, Moment, PathUser
from hub.api.schemas_media import RemovalShown, removal_shown
from hub.core.export import Wanted
from hub.core.identity import ApiCaller
from hub.core.removal import Written
from hub.core.scopes import Scope

users = APIRouter(prefix="/v1/users", tags=["users"], route_class=HubRoute)
removals = APIRouter(prefix="/v1/removals", tags=["users"], route_class=HubRoute)

NDJSON: Final = "application/x-ndjson"
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"type":"header","version":1,"app":"shop","user":"u_1024"}\n{"type":"end","lines":1}\n',
            }
        },
        "description": "Lines of JSON.",
    }
}
_MESSAGES = Query(
    description="`keep`: what the user wrote to others stays as it is. `erase`: its bodies go, and who wrote it."
)


@users.delete(
    "/{user_id}", operation_id="deleteUser", status_code=202, response_model=RemovalShown, tags=["users"]
)
async def delete_user(
    hub: Hub,
    caller: Annotated[ApiCaller, by_key(Scope.USERS_WRITE)],
    user_id: PathUser,
    messages: Annotated[Written, _MESSAGES] = Written.KEEP,
) -> Response:
    """Remove a user with everything that is theirs. It cannot be undone.

    From the answer on the user is gone for everybody: tokens are refused, sockets closed, nobody finds them. The rest
    (queue, devices, groups, files …) goes in small steps; ask `/v1/removals/{id}` how far it is.
    """
    begun = await hub.keeping.removals.begin(caller.app, user_id, messages, actor=actor_of(caller))
    return shown(removal_shown(begun), 202, location("removals", begun.id))


@removals.get("/{removal_id}", operation_id="getRemoval", response_model=RemovalShown)
async def get_removal(
    hub: Hub, caller: Annotated[ApiCaller, by_key(Scope.USERS_READ)], removal_id: HubId
) -> Response:
    """How far the removal of a user is."""
    return shown(removal_shown(await hub.keeping.removals.get(caller.app, removal_id)))


@users.get(
    "/{user_id}/export",
    operation_id="exportUser",
    response_class=StreamingResponse,
    responses=_LINES,
)
async def export_user(
    hub: Hub,
    caller: Annotated[ApiCaller, by_key(Scope.MESSAGES_READ)],
    user_id: PathUser,
    since: Annotated[Moment | None, Query(description="Only messages from this time on.")] = None,
) -> StreamingResponse:
    """Everything that the hub has of a user and that the user can read, as lines of JSON; needs `users:read` too.

    The last line has the type `end`: without it the answer was cut off.
    """
    if Scope.USERS_READ not in caller.scopes:
        raise Problem("scope_missing", f"This key was not given the scope `{Scope.USERS_READ}`.")
    wanted = Wanted(caller.app, user=user_id, since=since)
    await hub.keeping.exports.check(wanted)
    headers = {"Content-Disposition": 'attachment; filename="export.jsonl"'}
    return StreamingResponse(hub.keeping.exports.lines(wanted), 200, headers, NDJSON)
