"""The REST API on a FastAPI application: routers, problems, documentation and what every request passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

import hub
from hub.api import (
    accounts,
    approvals,
    approvals_more,
    apps,
    audit,
    bindings,
    contacts,
    control,
    conversation_state,
    conversations,
    deliveries,
    devices,
    docs,
    groups,
    health,
    keys,
    me,
    media,
    members,
    message_changes,
    messages,
    notifications,
    policies,
    presence,
    problems,
    queue,
    removals,
    search,
    stories,
    templates,
    threads,
    tokens,
    users,
    webhooks,
)
from hub.api.field_names import FIELD_NAMES
from hub.api.front import Front
from hub.api.hot import HotRoutes
from hub.api.limits import Buckets
from hub.api.metrics import RequestMetrics
from hub.api.openapi import describe
from hub.api.role_gate import RoleGate
from hub.core.errors import HubError, QueueUnavailable
from hub.core.ports import NewId
from hub.roles import Role
from hub.settings import Settings

log = logging.getLogger("hub.api")

ROUTERS: Final[tuple[APIRouter, ...]] = (
    notifications.router,
    control.router,
    control.events,
    messages.router,
    message_changes.router,
    conversations.router,
    conversation_state.router,
    members.router,
    groups.router,
    threads.router,
    media.router,
    removals.users,
    removals.removals,
    queue.router,
    search.router,
    users.router,
    contacts.router,
    contacts.mine,
    devices.theirs,
    me.router,
    devices.mine,
    presence.router,
    tokens.router,
    policies.router,
    templates.router,
    accounts.router,
    bindings.router,
    deliveries.router,
    stories.router,
    webhooks.router,
    approvals.router,
    approvals.instances,
    approvals.mine,
    audit.router,
    keys.router,
    apps.router,
    health.router,
)

_FORM: Final = 65_536
"""What a form adds to the file in it."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def new_app(
    settings: Settings,
    *,
    new_id: NewId,
    lifespan: Lifespan | None = None,
    registry: CollectorRegistry | None = None,
) -> FastAPI:
    """A FastAPI application with the API on it. The lifespan sets `app.state.hub` (deps.Services)."""
    app = FastAPI(
        title="Notification hub",
        version=hub.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A slash too many is a typing error, and a redirect would lose the body's method with some clients.
        redirect_slashes=False,
    )
    include_api(app, settings, new_id=new_id, registry=registry)
    return app


def include_api(
    app: FastAPI, settings: Settings, *, new_id: NewId, registry: CollectorRegistry | None = None
) -> None:
    """Put the API on an application that was made without docs and openapi URLs, before it starts."""
    app.state.buckets = Buckets()
    app.state.metrics = RequestMetrics(registry or CollectorRegistry())
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(docs.router)
    app.include_router(approvals_more.links)
    described: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not described:
            described.append(describe(app, ROUTERS))
        return described[0]

    app.openapi = openapi  # type: ignore[method-assign]
    _handle_errors(app)
    app.add_middleware(HotRoutes, routes=_hot_routes())
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=[
                "Link",
                "Location",
                "Retry-After",
                "RateLimit",
                "X-Request-Id",
                "Idempotent-Replayed",
            ],
            max_age=600,
        )
    if settings.role is not Role.ALL:
        app.add_middleware(RoleGate, role=settings.role)
    app.add_middleware(
        Front,
        metrics=app.state.metrics,
        max_bytes=settings.request_max_bytes,
        max_upload=settings.media_max_bytes + _FORM,
        new_id=new_id,
    )


def _hot_routes() -> list[APIRoute]:
    hot = {"sendMessage", "createNotification", "createNotifications"}
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [route for route in routes if route.operation_id in hot]


def _handle_errors(app: FastAPI) -> None:
    async def on_known(request: Request, error: Exception) -> Response:
        return problems.of_error(request, error) or await on_anything(request, error)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return problems.of_validation(request, error.errors(), error.body, FIELD_NAMES)

    async def on_anything(request: Request, error: Exception) -> Response:
        log.error(
            "request_failed",
            extra={"request_id": problems.request_id_of(request), "error": type(error).__name__},
        )
        headers = {"X-Request-Id": problems.request_id_of(request)}
        return problems.answer(
            request,
            "internal",
            "Something went wrong in the hub. Its log knows this request_id.",
            headers=headers,
        )

    for kind in (HTTPException, HubError, QueueUnavailable):
        app.add_exception_handler(kind, on_known)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Exception, on_anything)
