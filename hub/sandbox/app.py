"""The sandbox as one application: WeChat's API, its pages, the control API and the phone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.sandbox import control_people, control_world, quotas, snapshot, tokens
from hub.sandbox.control import add_rows
from hub.sandbox.endpoints import ENDPOINTS
from hub.sandbox.pages import Pages
from hub.sandbox.pipeline import Endpoint, Pipeline, Rules
from hub.sandbox.world import World

_PHONE: Final = Path(__file__).parent / "phone"
_METHODS: Final = ["GET", "POST"]
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def new_app(world: World, *, folder: Path | None = None) -> FastAPI:
    """The application over a world. With a folder its state is saved there."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        saving = asyncio.create_task(snapshot.keep_saving(folder, world)) if folder else None
        try:
            yield
        finally:
            await world.callbacks.close()
            if saving is not None:
                saving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await saving

    app = FastAPI(title="WeChat sandbox", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    rules = Rules(tokens.account_of_token, quotas.spend, tokens.revoke_all)
    pipeline = Pipeline(world, ENDPOINTS, rules)
    for endpoint in ENDPOINTS:
        app.add_route(endpoint.path, _Api(pipeline, endpoint).answer, methods=_METHODS)
    pages = Pages(world)
    app.add_route("/connect/oauth2/authorize", pages.authorize)
    app.add_route("/cgi-bin/showqrcode", pages.show_qrcode)
    app.add_route("/mp/subscribemsg", pages.subscribe)
    add_rows(app, world, control_world.ROWS + control_people.ROWS)
    app.add_route("/", _index)
    app.mount("/phone", StaticFiles(directory=_PHONE))
    app.add_middleware(_Guard)
    return app


class _Api:
    """One endpoint of WeChat's."""

    def __init__(self, pipeline: Pipeline, endpoint: Endpoint) -> None:
        self._pipeline, self._endpoint = pipeline, endpoint

    async def answer(self, request: Request) -> Response:
        """The pipeline's answer."""
        return await self._pipeline.answer(self._endpoint, request)


async def _index(_: Request) -> Response:
    return FileResponse(_PHONE / "index.html", headers={"Cache-Control": "no-cache"})


class _Guard:
    """Pages get a strict policy; other sites' pages cannot use the control API from somebody's browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["path"].startswith("/sandbox/") and headers.get(b"sec-fetch-site") == b"cross-site":
            await JSONResponse({"error": "not from another site"}, status_code=403)(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start" and not scope["path"].startswith("/cgi-bin/"):
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_policy)
