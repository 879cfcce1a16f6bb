"""One request to WeChat, one answer: bounded in time and size, and never an exception for what a network can do.

Why aiohttp and not wechatpy's client: docs/decisions/0009-wechat-over-aiohttp.md.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

import aiohttp

from hub.channels._wechat.errcodes import failure_of
from hub.channels._wechat.faults import Failure, Kind
from hub.core.outcome import Reason

API: Final = "https://api.weixin.qq.com"

Answer: TypeAlias = Mapping[str, object]
"""A JSON object whose errcode is 0 or missing."""

_SCRUBBED: Final = "***"
_MAX_WORDS: Final = 400
_OK: Final = 200
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """`connect` bounds the way to the server, `read` each silence after it, `total` all of it, waiting for one of the
    `connections` included. An idle connection is closed after `keep_alive`, before the server does: a request that
    meets the server's close on its way may or may not have been carried out."""

    connect: timedelta = timedelta(seconds=3)
    read: timedelta = timedelta(seconds=5)
    total: timedelta = timedelta(seconds=8)
    connections: int = 200
    keep_alive: timedelta = timedelta(seconds=5)
    max_bytes: int = 2_097_152


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `once`: carrying it out twice is worse than once, so what may have happened is AMBIGUOUS."""

    path: str
    query: Mapping[str, str]
    body: Mapping[str, object] | None = None
    """Sent by POST; without one it is a GET."""
    once: bool = False
    token_endpoint: bool = False
    secrets: Collection[str] = ()
    """What must not appear in a failure's words."""


@dataclass(slots=True)
class _Way:
    """How far a request came: without a connection not a byte of it has left."""

    connected: bool = False


class Transport:
    """Open with `open_transport`. For one event loop."""

    def __init__(self, session: aiohttp.ClientSession, base: str, limits: HttpLimits) -> None:
        self._session = session
        self._base = base.rstrip("/")
        self._max_bytes = limits.max_bytes

    async def ask(self, request: Request) -> Answer | Failure:
        """One try. (A GET that meets a connection which the server has just closed is sent again on a new one.)"""
        way = _Way()
        content = None
        if request.body is not None:
            # Raw UTF-8: WeChat counts and refuses \\uXXXX (40033, 47002).
            content = json.dumps(request.body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            async with self._session.request(
                "GET" if content is None else "POST",
                self._base + request.path,
                params=request.query,
                data=content,
                headers={"Content-Type": "application/json"} if content is not None else None,
                allow_redirects=False,
                trace_request_ctx=way,
            ) as response:
                body = await self._read(response)
                return _judge(request, response.status, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _broken(request, way, error)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, cut past the bound: what is cut cannot be read and is judged as that."""
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._max_bytes:
                return b""
        return bytes(body)


@asynccontextmanager
async def open_transport(base: str = API, limits: HttpLimits | None = None) -> AsyncIterator[Transport]:
    """A pool of connections to `base`. Proxies and netrc of the environment are not used, cookies not kept."""
    bounds = limits or HttpLimits()
    timeout = aiohttp.ClientTimeout(
        total=bounds.total.total_seconds(),
        sock_connect=bounds.connect.total_seconds(),
        sock_read=bounds.read.total_seconds(),
    )
    connector = aiohttp.TCPConnector(
        limit=bounds.connections, keepalive_timeout=bounds.keep_alive.total_seconds()
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[_trace()],
        headers={"User-Agent": "notification-hub"},
    ) as session:
        yield Transport(session, base, bounds)


def _trace() -> aiohttp.TraceConfig:
    """The exceptions do not say whether a request had left; these events do."""
    trace = aiohttp.TraceConfig()

    async def connected(_session: object, context: object, _params: object) -> None:
        way = getattr(context, "trace_request_ctx", None)
        if isinstance(way, _Way):
            way.connected = True

    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace


def _broken(request: Request, way: _Way, error: Exception) -> Failure:
    """The text of the exception is left out: it names the URL, and with it the token or the secret."""
    name = type(error).__name__
    if not way.connected:
        return _busy(f"not sent, no connection: {name}")
    reason = Reason.TIMED_OUT if isinstance(error, TimeoutError) else Reason.PROVIDER_DOWN
    return _unclear(request, reason, f"no answer: {name}")


def _judge(request: Request, status: int, body: bytes) -> Answer | Failure:
    """WeChat answers 200 with an errcode; gateways on the way answer pages of their own, with any status."""
    answer = _decode(body)
    if answer is not None:
        code = _errcode(answer)
        if code:
            words = scrub(str(answer.get("errmsg", "")), request.secrets)
            return failure_of(code, words, at_token_endpoint=request.token_endpoint)
        if status == _OK and code is not None:
            return answer
    if status != _OK and status < _SERVER_ERRORS:
        return _busy(f"not carried out: HTTP {status}")  # redirected or refused at the door
    return _unclear(request, Reason.PROVIDER_DOWN, f"HTTP {status}, {len(body)} bytes that are no answer")


def _decode(body: bytes) -> Answer | None:
    try:
        # Not strict: titles of templates have been seen with raw control characters in them.
        value = json.loads(body.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _errcode(answer: Answer) -> int | None:
    """0 where it is missing: answers with a result often have none. None where it is no number."""
    value = answer.get("errcode", 0)
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None


def scrub(words: str, secrets: Collection[str]) -> str:
    """The provider's words, cut, without what must stay secret."""
    for secret in filter(None, secrets):
        words = words.replace(secret, _SCRUBBED)
    return words[:_MAX_WORDS]


def _busy(words: str) -> Failure:
    return Failure(Kind.BUSY, Reason.PROVIDER_DOWN, words=words)


def _unclear(request: Request, reason: Reason, words: str) -> Failure:
    return Failure(Kind.AMBIGUOUS if request.once else Kind.BUSY, reason, words=words)
