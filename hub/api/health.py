"""`/healthz`, `/readyz`, `/metrics`: for orchestrators and Prometheus, without a key."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hub.api.answers import shown
from hub.api.deps import Services
from hub.api.metrics import RequestMetrics
from hub.api.route import HubRoute
from hub.api.schemas import Shown, example

router = APIRouter(tags=["operations"], route_class=HubRoute)


class Alive(Shown):
    """The process answers."""

    model_config = example({"status": "ok"})

    status: Literal["ok"] = "ok"


class DependencyShown(Shown):
    """How one dependency does."""

    name: str
    ok: bool
    ms: float
    detail: str


class Ready(Shown):
    """Whether this node should get requests."""

    model_config = example(
        {"status": "ready", "dependencies": [{"name": "database", "ok": True, "ms": 0.4, "detail": ""}]}
    )

    status: Literal["ready", "not_ready"]
    dependencies: list[DependencyShown]


@router.get("/healthz", operation_id="getHealth", response_model=Alive)
async def healthz() -> Response:
    """Say that the process runs. Looks at nothing else: a database that is away is no reason to restart it."""
    return shown(Alive())


@router.get(
    "/readyz",
    operation_id="getReadiness",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not ready: do not send requests here."}},
)
async def readyz(request: Request) -> Response:
    """Ask every dependency, with how long each took to answer."""
    hub: Services | None = getattr(request.app.state, "hub", None)
    if hub is None:
        return shown(Ready(status="not_ready", dependencies=[]), 503, {"Retry-After": "1"})
    found = [DependencyShown(name=d.name, ok=d.ok, ms=d.ms, detail=d.detail) for d in await hub.ready()]
    ready = all(dependency.ok for dependency in found)
    answer = Ready(status="ready" if ready else "not_ready", dependencies=found)
    return shown(answer, 200 if ready else 503, None if ready else {"Retry-After": "1"})


@router.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": 'hub_http_requests_total{method="GET",route="/v1/me",status="200"} 1.0\n',
                }
            }
        }
    },
)
async def metrics(request: Request) -> Response:
    """Read metrics in Prometheus' text format. Keep this path from the public, as you would any metrics."""
    held: RequestMetrics = request.app.state.metrics
    return Response(generate_latest(held.registry), media_type=CONTENT_TYPE_LATEST)
