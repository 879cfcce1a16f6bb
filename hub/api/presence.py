"""`/v1/presence`: who is there now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Query, Response

from hub.api.answers import shown
from hub.api.deps import Caller, Hub, by_either
from hub.api.route import HubRoute
from hub.api.schemas import UserId
from hub.api.schemas_people import PresenceList, PresenceShown
from hub.core.identity import EndUser
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/presence", tags=["presence"], route_class=HubRoute)

_SOCKETS = ("app", "web")
_NEVER_KNOWN = ("wechat_mp", "miniprogram")
Word: TypeAlias = Literal["online", "offline", "unknown"]


@router.get("", operation_id="getPresence", response_model=PresenceList)
async def get_presence(
    hub: Hub,
    caller: Annotated[Caller, by_either(Scope.PRESENCE_READ, UserScope.READ)],
    user: Annotated[
        list[UserId], Query(min_length=1, max_length=200, description="Whose; repeat it for more.")
    ],
) -> Response:
    """Ask who of these users is online. Those who do not exist are left out.

    An end user hears of people in a common conversation only; others are left out too.
    """
    if isinstance(caller, EndUser):
        known = await hub.people.acquainted(caller.key, caller.app, user)
    else:
        known = await hub.directory.user_keys(caller.app, user)
    asked = {user_id: known[user_id] for user_id in user if user_id in known}
    online = await hub.presence.online(list(asked.values()))
    seen = await hub.directory.last_seen(asked.values())
    data = [
        PresenceShown(
            user_id=user_id,
            online=bool(online.get(key, {}).get("online")),
            platforms=_platforms(online.get(key, {})),
            last_seen_at=seen.get(key),
        )
        for user_id, key in asked.items()
    ]
    return shown(PresenceList(data=data))


def _platforms(told: Mapping[str, object]) -> dict[str, Word]:
    """Sockets are known to be there or not; WeChat never tells, whatever was sent or answered."""
    live = told.get("platforms", ())
    present = set(live) if isinstance(live, list | tuple | set | frozenset) else set()
    found: dict[str, Word] = {name: "online" if name in present else "offline" for name in _SOCKETS}
    return found | dict.fromkeys(_NEVER_KNOWN, "unknown")
