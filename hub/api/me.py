"""`/v1/me`: what end users see and set about themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from hub.api.answers import raw_json, shown, write
from hub.api.deps import Hub, by_user
from hub.api.route import HubRoute
from hub.api.schemas_people import MeFields, UserShown
from hub.api.users import show_user
from hub.core.directory import Change
from hub.core.identity import EndUser
from hub.core.records import UserWrite
from hub.core.scopes import UserScope

router = APIRouter(prefix="/v1/me", tags=["me"], route_class=HubRoute)

Reader = Annotated[EndUser, by_user(UserScope.READ)]
Writer = Annotated[EndUser, by_user(UserScope.WRITE)]


@router.get("", operation_id="getMe", response_model=UserShown)
async def get_me(hub: Hub, caller: Reader) -> Response:
    """Get yourself."""
    return shown(show_user(await hub.directory.user(caller.app, caller.id)))


@router.put("", operation_id="putMe", response_model=UserShown)
async def put_me(hub: Hub, caller: Writer, body: MeFields) -> Response:
    """Change your language, time zone or preferences."""
    preferences = None if body.preferences is None else raw_json(body.preferences.kept())

    async def work(change: Change) -> Response:
        wanted = UserWrite(caller.id, None, body.locale, body.timezone, preferences)
        record, _ = await change.put_user(wanted)
        return shown(show_user(record))

    return await write(hub, caller, work)
