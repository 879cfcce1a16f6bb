"""`/v1/apps`: tenants, for who runs the hub."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, listed, location, page_of, shown, write
from hub.api.deps import Hub, by_key
from hub.api.keys import issued
from hub.api.route import HubRoute
from hub.api.schemas import After, AppIdText, Limit, Listing
from hub.api.schemas_config import AppCreated, AppNew, AppPatch, AppSettingsBody, AppShown, app_shown
from hub.api.schemas_preferences import caps_value
from hub.core.directory import Change
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.records import AppSettings
from hub.core.scopes import APP_SCOPES, Scope

router = APIRouter(prefix="/v1/apps", tags=["apps"], route_class=HubRoute)

_ADMIN = by_key(Scope.APPS_ADMIN)
Admin = Annotated[ApiCaller, _ADMIN]
AppPath = Annotated[AppIdText, Path()]


def _settings(body: AppSettingsBody) -> AppSettings:
    return AppSettings(
        body.sessions_per_platform,
        body.session_overflow,
        body.compression,
        body.calendar.value(),
        caps_value(body.caps),
        body.retention,
        body.media_max_bytes,
    )


@router.post("", operation_id="createApp", status_code=201, response_model=AppCreated)
async def create_app(
    request: Request, hub: Hub, caller: Admin, body: AppNew, key: IdempotencyKey = None
) -> Response:
    """Make an app, with a first API key that has every scope of an app; its secret is shown only now."""

    async def work(change: Change) -> Response:
        record = await change.create_app(AppId(body.id), body.name, _settings(body.settings))
        made = await change.issue_key(record.id, "first key", APP_SCOPES, None)
        answer = AppCreated(**app_shown(record).model_dump(), key=issued(made))
        return shown(answer, 201, location("apps", record.id))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("", operation_id="listApps", response_model=Listing[AppShown], dependencies=[_ADMIN])
async def list_apps(request: Request, hub: Hub, limit: Limit = 50, after: After = None) -> Response:
    """List all apps of this hub, by id."""
    return listed(request, await hub.directory.apps(page_of(limit, after)), app_shown)


@router.get("/{app_id}", operation_id="getApp", response_model=AppShown, dependencies=[_ADMIN])
async def get_app(hub: Hub, app_id: AppPath) -> Response:
    """Get one app."""
    return shown(app_shown(await hub.directory.app(AppId(app_id))))


@router.patch("/{app_id}", operation_id="changeApp", response_model=AppShown)
async def patch_app(hub: Hub, caller: Admin, app_id: AppPath, body: AppPatch) -> Response:
    """Change an app's name or settings."""

    async def work(change: Change) -> Response:
        settings = None if body.settings is None else _settings(body.settings)
        return shown(app_shown(await change.patch_app(AppId(app_id), body.name, settings)))

    return await write(hub, caller, work)
