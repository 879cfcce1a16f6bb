"""Devices of a user: with their live sessions, shown out, forgotten. Routes of the business system and of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response

from hub.api.answers import empty, listed, page_of, shown, write
from hub.api.deps import Caller, Hub, Services, by_key, by_user, user_of
from hub.api.live import LiveSession
from hub.api.route import HubRoute
from hub.api.schemas import After, Limit, Listing, PathDevice, PathUser
from hub.api.schemas_devices import DeviceShown, Kick, Kicked, device_shown
from hub.core.directory import Change
from hub.core.errors import QueueUnavailable
from hub.core.identity import ApiCaller, EndUser
from hub.core.message import UserKey
from hub.core.scopes import Scope, UserScope

theirs = APIRouter(prefix="/v1/users/{user_id}/devices", tags=["users"], route_class=HubRoute)
mine = APIRouter(prefix="/v1/me/devices", tags=["me"], route_class=HubRoute)

KeyReader = Annotated[ApiCaller, by_key(Scope.USERS_READ)]
KeyWriter = Annotated[ApiCaller, by_key(Scope.USERS_WRITE)]
Reader = Annotated[EndUser, by_user(UserScope.READ)]
Writer = Annotated[EndUser, by_user(UserScope.WRITE)]
_KICK: Final = Kick(remove=False)
"""What a kick without a body means."""


@theirs.get("", operation_id="listDevices", response_model=Listing[DeviceShown])
async def list_devices(
    request: Request, hub: Hub, caller: KeyReader, user_id: PathUser, limit: Limit = 50, after: After = None
) -> Response:
    """List the devices of a user: how far each has acknowledged the queue, and its live sessions."""
    return await _list(request, hub, await user_of(hub, caller.app, user_id), limit, after)


@mine.get("", operation_id="listMyDevices", response_model=Listing[DeviceShown])
async def list_my_devices(
    request: Request, hub: Hub, caller: Reader, limit: Limit = 50, after: After = None
) -> Response:
    """List your devices: how far each has acknowledged the queue, and its live sessions."""
    return await _list(request, hub, caller.key, limit, after)


@theirs.post("/{device_id}/kick", operation_id="kickDevice", response_model=Kicked)
async def kick_device(
    hub: Hub, caller: KeyWriter, user_id: PathUser, device_id: PathDevice, body: Kick = _KICK
) -> Response:
    """Close the sockets of a device, on every node (`bye` 4411 `kicked`). It is let in again with a token that is
    issued later, also if it was away.

    With `remove` it is forgotten instead, and comes back as a new one. Sign the user out to refuse a token altogether.
    """
    user = await user_of(hub, caller.app, user_id)
    return await _kick(hub, caller, user, device_id, remove=body.remove)


@mine.post("/{device_id}/kick", operation_id="kickMyDevice", response_model=Kicked)
async def kick_my_device(hub: Hub, caller: Writer, device_id: PathDevice, body: Kick = _KICK) -> Response:
    """Close the sockets of one of your devices, on every node (`bye` 4411 `kicked`). It is let in again with a token
    that is issued later; with `remove` it is forgotten instead."""
    return await _kick(hub, caller, caller.key, device_id, remove=body.remove)


@theirs.delete("/{device_id}", operation_id="deleteDevice", status_code=204, response_class=Response)
async def delete_device(hub: Hub, caller: KeyWriter, user_id: PathUser, device_id: PathDevice) -> Response:
    """Forget a device, and close its sockets. It comes back as a new one with its next hello."""
    await _kick(hub, caller, await user_of(hub, caller.app, user_id), device_id, remove=True)
    return empty()


@mine.delete("/{device_id}", operation_id="deleteMyDevice", status_code=204, response_class=Response)
async def delete_my_device(hub: Hub, caller: Writer, device_id: PathDevice) -> Response:
    """Forget one of your devices, and close its sockets. It comes back as a new one with its next hello."""
    await _kick(hub, caller, caller.key, device_id, remove=True)
    return empty()


async def _list(request: Request, hub: Services, user: UserKey, limit: int, after: str | None) -> Response:
    found = await hub.directory.devices(user, page_of(limit, after))
    live = await _live(hub, user)
    return listed(
        request, found, lambda record: device_shown(record, None if live is None else live.get(record.id, []))
    )


async def _live(hub: Services, user: UserKey) -> Mapping[str, Sequence[LiveSession]] | None:
    """Sessions by device; None while nobody can say."""
    try:
        sessions = await hub.doorman.sessions(user)
    except QueueUnavailable:
        return None
    found: dict[str, list[LiveSession]] = {}
    for session in sessions:
        found.setdefault(session.device, []).append(session)
    return found


async def _kick(hub: Services, caller: Caller, user: UserKey, device: str, *, remove: bool) -> Response:
    """The row first: a hello that comes in between is refused, or of a new device and closed with the others."""

    async def forget(change: Change) -> Response:
        await change.remove_device(user, device)
        return empty()

    async def mark(change: Change) -> Response:
        await change.kick_device(user, device)
        return empty()

    await write(hub, caller, forget if remove else mark)
    try:
        sessions = await hub.doorman.kick(user, device)
    except QueueUnavailable:
        if not remove:
            raise
        sessions = 0
    return shown(Kicked(device_id=device, sessions=sessions, removed=remove))
