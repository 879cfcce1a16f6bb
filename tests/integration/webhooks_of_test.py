"""A sender, a runner and a book of webhooks around one real receiver, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hub.core.message import AppId
from hub.core.records import PageRequest
from hub.core.webhooks import (
    Endpoint,
    EndpointId,
    HookDelivery,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    new_webhook_secret,
)
from hub.store.ids import new_id
from hub.store.memory_webhooks import MemoryWebhooks
from hub.webhooks.guard import Guard
from hub.webhooks.runner import HookRunner, RunnerLimits
from hub.webhooks.sender import HttpSender, SendLimits, open_sender
from hub.webhooks.signing import verify
from tests.support.hook_receiver import Heard, HookReceiver

APP = AppId("app_1")
NOW = datetime(2026, 3, 1, 9, 12, 30, tzinfo=UTC)
LIMITS = RunnerLimits(patience=timedelta(milliseconds=300))


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Post:
    """A sender, a runner and a book around one receiver."""

    receiver: HookReceiver
    book: MemoryWebhooks
    sender: HttpSender
    runner: HookRunner
    guard: Guard
    clock: Clock

    def endpoint(self, path: str = "/hook", *events: str, url: str = "") -> tuple[EndpointId, str]:
        """A new endpoint at the receiver, and its secret."""
        secret, id_ = new_webhook_secret(), EndpointId(new_id("whe"))
        made = Endpoint(id_, APP, url or self.receiver.url + path, events or ("*",), "", NOW)
        self.book.put_endpoint(made, WebhookSecret(secret))
        return id_, secret

    async def put(self, *types: str) -> list[WebhookEventId]:
        """Events of these types, now."""
        events = [
            WebhookEvent(WebhookEventId(new_id("evt")), APP, type_, self.clock(), '{"题":"差旅"}')
            for type_ in types
        ]
        await self.book.put_events(events)
        return [event.id for event in events]

    async def run(self) -> int:
        """One task's work, and what it left in the background."""
        begun = await self.runner.deliver_due()
        await self.runner.idle()
        return begun

    async def ways(self, endpoint: EndpointId) -> list[HookDelivery]:
        """What became of the endpoint's events, oldest first."""
        return list((await self.book.deliveries(endpoint, PageRequest(200))).items)[::-1]


@asynccontextmanager
async def opened(
    receiver: HookReceiver,
    *,
    allow: Sequence[str] = ("127.0.0.1/32",),
    send: SendLimits | None = None,
    limits: RunnerLimits = LIMITS,
    answers: Sequence[Sequence[str]] | None = None,
) -> AsyncIterator[Post]:
    """`answers`: what a name server says, one after the other."""
    asked = iter(answers or ())

    async def lookup(host: str, port: int) -> Sequence[str]:
        return next(asked)

    guard, clock = Guard(allow), Clock()
    book = MemoryWebhooks(clock=clock)
    async with open_sender(guard, send, lookup=lookup if answers else None) as sender:
        runner = HookRunner(book, sender, clock=clock, limits=limits, jitter=lambda: 0.0)
        try:
            yield Post(receiver, book, sender, runner, guard, clock)
        finally:
            receiver.open.set()
            await runner.aclose()


def checked(secret: str, heard: Heard, now: datetime) -> str:
    return verify([secret], heard.headers, heard.body, now=now)
