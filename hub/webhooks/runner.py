"""What is due, sent: claimed under a lease, posted side by side, and tried again over days."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hub.core.errors import Unavailable
from hub.core.ports import Clock
from hub.core.webhooks import (
    BACKOFF_SECONDS,
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookSender,
    Outgoing,
    WebhookBook,
)

log = logging.getLogger("hub.webhooks")

_GONE: Final = 410
_BUSY: Final = frozenset({429, 503})
_LONGEST_PAUSE: Final = timedelta(days=1)
_JITTER: Final = 0.1
_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """`together` posts at once, `each` of them to one endpoint; a round waits `patience` for its posts, and slower ones
    go on beside the next. `lease` must be longer than a post may take: who dies in it has it sent again when it ends.
    """

    together: int = 100
    each: int = 10
    lease: timedelta = timedelta(seconds=60)
    patience: timedelta = timedelta(seconds=1)
    backoff: Mapping[int, int] = field(default_factory=lambda: BACKOFF_SECONDS)


class HookRunner:
    """Sends what is due, when it is told to look. For one event loop; several processes may each have one."""

    def __init__(
        self,
        book: WebhookBook,
        sender: HookSender,
        *,
        clock: Clock,
        limits: RunnerLimits | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._book = book
        self._sender = sender
        self._clock = clock
        self._limits = limits or RunnerLimits()
        self._jitter = jitter
        self._running: set[asyncio.Task[None]] = set()
        self._busy: Counter[EndpointId] = Counter()
        self._looking = False

    async def deliver_due(self) -> int:
        """Send what is due, and return when nothing more is, or nothing more fits: posts to slow endpoints go on in the
        background, so that they hold up nobody else. Returns how many were begun: none where somebody else of this
        process is at it. Raises Unavailable."""
        if self._looking:
            # Under load the next task comes while this one is at work: one is enough, the others are for deliveries.
            return 0
        begun, self._looking = 0, True
        try:
            for _ in range(_ROUNDS):
                fresh = await self._begin()
                if not fresh:
                    break
                begun += len(fresh)
                await asyncio.wait(fresh, timeout=self._limits.patience.total_seconds())
        finally:
            self._looking = False
        return begun

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def aclose(self, *, patience: timedelta = timedelta(seconds=5)) -> None:
        """Let what is under way end, for so long; the rest is sent again when its lease ends."""
        if self._running:
            await asyncio.wait(self._running, timeout=patience.total_seconds())
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self) -> set[asyncio.Task[None]]:
        limits, now = self._limits, self._clock()
        room = limits.together - len(self._running)
        if room <= 0:
            return set()
        claimed = await self._book.claim(
            now=now,
            lease_until=now + limits.lease,
            limit=room,
            each=limits.each,
            busy=dict(self._busy),
        )
        return {self._start(outgoing) for outgoing in claimed}

    def _start(self, outgoing: Outgoing) -> asyncio.Task[None]:
        endpoint = outgoing.delivery.endpoint
        task = asyncio.create_task(self._try(outgoing))
        self._running.add(task)
        self._busy[endpoint] += 1

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            self._busy[endpoint] -= 1
            if self._busy[endpoint] <= 0:
                del self._busy[endpoint]
            if not task.cancelled() and (error := task.exception()) is not None:
                # The lease ends, and it is sent again.
                log.error("webhook_broken", extra={"endpoint": endpoint, "error": type(error).__name__})

        task.add_done_callback(ended)
        return task

    async def _try(self, outgoing: Outgoing) -> None:
        delivery = outgoing.delivery
        try:
            answer = await self._sender.post(outgoing, now=self._clock())
        except Exception as error:
            # A bug is no reason to try for ever: it counts as an answer, and the tries come to their end.
            log.exception(
                "webhook_broken", extra={"endpoint": delivery.endpoint, "error": type(error).__name__}
            )
            answer = HookAnswer(None, error=f"it could not be sent: {type(error).__name__}")
        now = self._clock()
        gone = answer.status == _GONE
        due = None if gone else self._next_due(delivery, answer, now)
        if not answer.ok:
            log.warning(
                "webhook_failed",
                extra={
                    "endpoint": delivery.endpoint,
                    "event": delivery.event,
                    "attempt": delivery.attempts,
                    "status": answer.status,
                    "again": due is not None,
                },
            )
        try:
            await self._book.settle(delivery, answer, next_due=due, now=now)
            if gone:
                await self._book.disable(delivery.endpoint, "the endpoint answered 410 Gone", now=now)
        except Unavailable:
            # Sent, and not noted: it is sent again under the same id when the lease ends.
            log.warning("webhook_not_noted", extra={"endpoint": delivery.endpoint, "event": delivery.event})

    def _next_due(self, delivery: HookDelivery, answer: HookAnswer, now: datetime) -> datetime | None:
        """When to try again; None where it has arrived, or was tried often enough."""
        seconds = self._limits.backoff.get(delivery.attempts + 1)
        if answer.ok or seconds is None:
            return None
        pause = timedelta(seconds=seconds * (1 + _JITTER * self._jitter()))
        if answer.status in _BUSY and answer.retry_after is not None:
            pause = max(pause, min(answer.retry_after, _LONGEST_PAUSE))
        return now + pause
