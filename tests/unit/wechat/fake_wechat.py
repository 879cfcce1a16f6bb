"""A little WeChat on a real port: tokens as stable_token gives them, sends, and every way to break an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

APPID, SECRET = "wx0123456789abcdef", "0123456789abcdef-the-secret"
RID = "rid: 66bdb248-1fa23ff9-58483015"

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeWeChat:
    """`behave` replaces the answer of every path but the token's; `behave_token` that of the token's."""

    def __init__(self) -> None:
        self.base = ""
        self.serial = 1
        self.expires_in = 7200
        self.fetches: list[bool] = []
        """Calls of stable_token: whether each was forced."""
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.behave: Behaviour | None = None
        self.behave_token: Behaviour | None = None
        self.token_delay = 0.0
        self.refuse_all = False

    @property
    def token(self) -> str:
        """The only one that works: the harsh case, without an overlap."""
        return f"token-{self.serial:04}-{'x' * 120}"

    def invalidate(self) -> None:
        """As if somebody had forced a refresh."""
        self.serial += 1

    async def stable_token(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.fetches.append(bool(body["force_refresh"]))
        await asyncio.sleep(self.token_delay)
        if self.behave_token is not None:
            return await self.behave_token(request)
        if body["appid"] != APPID or body["secret"] != SECRET:
            return web.json_response({"errcode": 40125, "errmsg": f"invalid appsecret {SECRET} {RID}"})
        if body["force_refresh"]:
            self.serial += 1
        return web.json_response({"access_token": self.token, "expires_in": self.expires_in})

    async def anything(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.bodies.append(raw)
        self.headers.append(dict(request.headers))
        body = await request.json() if raw else None
        self.requests.append((request.method, request.path, dict(request.query), body))
        if self.behave is not None:
            return await self.behave(request)
        token = request.query.get("access_token")
        if request.path.startswith("/sns/"):
            token = self.token
        if self.refuse_all or token != self.token:
            return web.json_response({"errcode": 40001, "errmsg": f"invalid credential {token} {RID}"})
        default = {"errcode": 0, "errmsg": "ok", "msgid": 3248682510344192008}
        return web.json_response(self.answers.get(request.path, default))


@asynccontextmanager
async def running(fake: FakeWeChat) -> AsyncIterator[FakeWeChat]:
    """Serves it on a free port."""
    app = web.Application()
    app.router.add_post("/cgi-bin/stable_token", fake.stable_token)
    app.router.add_route("*", "/{rest:.*}", fake.anything)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.base = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def answering(body: str | bytes, *, status: int = 200, content_type: str = "application/json") -> Behaviour:
    """Answers with exactly this."""

    async def behave(_: web.Request) -> web.StreamResponse:
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(body=raw, status=status, content_type=content_type)

    return behave


async def hang(_: web.Request) -> web.StreamResponse:
    """Takes the request and says nothing."""
    await asyncio.sleep(30)
    return web.Response()


async def reset(request: web.Request) -> web.StreamResponse:
    """Takes the request and breaks the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Promises more than it sends."""
    response = web.StreamResponse(headers={"Content-Length": "500"})
    await response.prepare(request)
    await response.write(b'{"errcode":0,"errmsg":"ok","ms')
    assert request.transport is not None
    request.transport.abort()
    return response


async def drip(request: web.Request) -> web.StreamResponse:
    """Never silent for long, never done."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response
