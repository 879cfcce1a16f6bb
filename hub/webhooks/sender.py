"""One event posted to one endpoint: signed, guarded, bounded in time and size."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp
import msgspec

import hub
from hub.core.errors import Refused
from hub.core.webhooks import HookAnswer, Outgoing, WebhookEvent
from hub.webhooks.guard import CheckedResolver, Forbidden, Guard, Lookup
from hub.webhooks.signing import headers_of

_NO_SECRET: Final = "the signing secret cannot be opened with HUB_SECRET_KEY"  # noqa: S105
_CHUNK: Final = 8_192
_WORDS: Final = 200


@dataclass(frozen=True, slots=True)
class SendLimits:
    """`total` bounds a whole try, waiting for one of the `connections` and the look-up of the name included. `body` is
    how much of an answer is read."""

    total: timedelta = timedelta(seconds=15)
    connections: int = 200
    body: int = 65_536


class HttpSender:
    """`HookSender`. Open with `open_sender`; for one event loop."""

    def __init__(self, session: aiohttp.ClientSession, guard: Guard, limits: SendLimits) -> None:
        self._session = session
        self._guard = guard
        self._limits = limits

    async def post(
        self, outgoing: Outgoing, *, now: datetime, timeout: timedelta | None = None
    ) -> HookAnswer:
        """See the port. Redirects are answers as any other: nobody has checked where they lead."""
        if not outgoing.secrets:
            return HookAnswer(None, error=_NO_SECRET)
        body = body_of(outgoing.event)
        headers = headers_of([one.secret for one in outgoing.secrets], outgoing.event.id, now, body)
        total = timeout or self._limits.total
        try:
            # A literal address never passes the resolver, and rules may have changed since it was registered.
            self._guard.check_url(outgoing.url)
            async with asyncio.timeout(total.total_seconds()):
                return await self._ask(outgoing.url, body, headers, now)
        except Refused as refused:
            return HookAnswer(None, error=refused.detail)
        except TimeoutError:
            return HookAnswer(None, error=f"no answer within {total.total_seconds():g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return HookAnswer(None, error=_words(error))

    async def _ask(self, url: str, body: bytes, headers: dict[str, str], now: datetime) -> HookAnswer:
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False, proxy=None
        ) as answer:
            words = await self._beginning(answer)
            pause = retry_after(answer.headers.get("Retry-After"), now)
            taken = HookAnswer(answer.status, words, retry_after=pause)
            return taken if taken.ok else replace(taken, error=_said(answer.status, words))

    async def _beginning(self, answer: aiohttp.ClientResponse) -> bytes:
        """As much of the body as is wanted. Past it the connection is closed, not drained."""
        read = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            read += chunk
            if len(read) >= self._limits.body:
                answer.close()
                break
        return bytes(read[: self._limits.body])


def body_of(event: WebhookEvent) -> bytes:
    """What is signed and sent: the same bytes at every try."""
    return msgspec.json.encode(
        {"type": event.type, "timestamp": event.at, "data": msgspec.Raw(event.data.encode())}
    )


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """How long an endpoint asks to be left alone: seconds or a date; None for none or nonsense."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return timedelta(seconds=min(int(text.strip()[:9]), 100_000_000))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta(0))


def _said(status: int, body: bytes) -> str:
    """A status with the beginning of what came with it, on one line."""
    text = " ".join(body[: 4 * _WORDS].decode("utf-8", "replace").split())
    shown = "".join(c for c in text if c.isprintable())[:_WORDS]
    return f"HTTP {status}: {shown}" if shown else f"HTTP {status}"


def _words(error: Exception) -> str:
    """What went wrong, without the URL: it may hold a token."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            inner = error.os_error
            return str(inner) if isinstance(inner, Forbidden) else "the name is not known"
        case aiohttp.ClientConnectorCertificateError():
            return "the certificate is not valid"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case _:
            return f"no usable answer: {type(error).__name__}"


@asynccontextmanager
async def open_sender(
    guard: Guard, limits: SendLimits | None = None, *, lookup: Lookup | None = None
) -> AsyncIterator[HttpSender]:
    """A sender with one pool of connections. No cookies are kept, and no proxy of the environment is used: it would
    connect where nobody has looked."""
    bounds = limits or SendLimits()
    resolver = CheckedResolver(guard, lookup=lookup)
    connector = aiohttp.TCPConnector(
        limit=bounds.connections,
        resolver=resolver,
        use_dns_cache=False,
        keepalive_timeout=15,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # A small answer may unpack to a large one.
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        headers={
            "User-Agent": f"notification-hub/{hub.__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        },
    ) as session:
        try:
            yield HttpSender(session, guard, bounds)
        finally:
            await resolver.close()
