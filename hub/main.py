"""The web application: REST on FastAPI, the socket as raw ASGI beside it, one hub behind both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from hub.api.application import new_app
from hub.bootstrap_roles import open_web_hub
from hub.channels._wechat.routes import CallbackDoor, callback_router
from hub.channels.ws.asyncapi import document
from hub.channels.ws.routes import PATH, SocketApp
from hub.console import router as console
from hub.metrics import HubCollector
from hub.settings import Settings
from hub.store.ids import new_id
from hub.tally import open_tally


def create_app(settings: Settings | None = None) -> Entrance:
    """An ASGI application; its lifespan opens the hub and, at the end, drains and closes it."""
    chosen = settings or Settings()
    sockets = _Sockets()
    callbacks = _Callbacks()
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # celery is only imported where something runs, not where something asks for the version
        from tasks.app import make_app
        from tasks.queue import CeleryExecutor

        executor = CeleryExecutor(make_app(chosen), batch=chosen.delivery_batch)
        async with (
            open_web_hub(chosen, executor=executor) as hub,
            open_tally(hub.link, hub.engine.dispatcher.tries) as tally,
        ):
            app.state.hub = hub
            registry.register(HubCollector(hub, tally))
            callbacks.door = hub.entrance.door
            if hub.gateway is not None:
                sockets.app = SocketApp(hub.gateway, chosen)
            try:
                yield
            finally:
                sockets.app = callbacks.door = None

    app = new_app(chosen, new_id=new_id, lifespan=lifespan, registry=registry)
    app.include_router(callback_router(lambda: callbacks.door))
    app.include_router(console)
    app.add_route("/asyncapi.json", _asyncapi, include_in_schema=False)
    return Entrance(app, sockets)


async def _asyncapi(_: Request) -> Response:
    """The socket's description (AsyncAPI 3), beside `/openapi.json`."""
    return JSONResponse(document())


class _Sockets:
    """The socket application, while the hub is open."""

    app: SocketApp | None = None


class _Callbacks:
    """Where WeChat's calls go, while the hub is open."""

    door: CallbackDoor | None = None


class Entrance:
    """Sends the socket's path past FastAPI: accepting through its router costs twice as much."""

    def __init__(self, app: FastAPI, sockets: _Sockets) -> None:
        self.app = app
        self._sockets = sockets

    def going_down(self) -> None:
        """The server stops taking connections: tell those who wait."""
        if self._sockets.app is not None:
            self._sockets.app.going_down()

    def crowded(self) -> bool:
        """Whether handshakes of sockets had better wait."""
        return self._sockets.app is not None and self._sockets.app.crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"] == PATH and self._sockets.app is not None:
            await self._sockets.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)
