"""Which large conversations this node hears of: those of the users who are here, and from when on it is certain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from hub.channels.ws import bus
from hub.core.errors import QueueUnavailable
from hub.core.message import ConversationId
from hub.redis_link import Subscription

log = logging.getLogger("hub.broker")

_AT_ONCE: Final = 500
"""Channels in one command: their confirmations do not hold up what else is heard."""
_TIDY_EVERY: Final = 30.0
"""Seconds between two looks at what nobody here wants any more. It goes at the second: people reconnect."""


class Growth:
    """Keeps a subscription's growth channels to what `wanted` says.

    Nothing is lost by one rule: first a conversation is wanted, then it is heard of, then its newest number is read.
    While there is no subscription nothing can be heard; when the next one begins, all that is wanted is added to it
    before the sessions are told to catch up.
    """

    def __init__(self, wanted: Callable[[], Collection[ConversationId]]) -> None:
        self._wanted = wanted
        self._subscription: Subscription | None = None
        self._heard: set[str] = set()
        self._asked: set[str] = set()
        self._stale: set[str] = set()
        self._wake = asyncio.Event()
        self._round = asyncio.Event()
        """Set, and replaced, whenever something has been added or the subscription has ended."""

    def __len__(self) -> int:
        return len(self._heard)

    async def hear(self, rooms: Collection[ConversationId]) -> None:
        """Call it when these are wanted. On return they are heard of, or there is no subscription."""
        channels = {bus.growth_of(room) for room in rooms}
        while self._subscription is not None and not channels <= self._heard:
            self._asked |= channels - self._heard
            self._wake.set()
            await self._round.wait()

    def begin(self, subscription: Subscription) -> None:
        """There is one, which hears none of them yet."""
        self._heard, self._stale = set(), set()
        self._asked = self._channels()
        self._subscription = subscription

    def end(self) -> None:
        """It has ended. Nobody waits for it any longer."""
        self._subscription = None
        self._heard, self._asked = set(), set()
        self._next_round()

    async def keep(self, subscription: Subscription, begun: Callable[[], None]) -> None:
        """Adds what is wanted, then calls `begun`, and from then on keeps to what is. Never returns, but with a
        subscription that does not obey: that is aborted."""
        try:
            await self._add(subscription)
            begun()
            tidy_at = time.monotonic() + _TIDY_EVERY
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, tidy_at - time.monotonic())):
                        await self._wake.wait()
                self._wake.clear()
                await self._add(subscription)
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + _TIDY_EVERY
                    await self._tidy(subscription)
        except QueueUnavailable as error:
            log.info("subscription_not_tuned", extra={"error": str(error)[:200]})
            await subscription.abort()
        except Exception:
            log.exception("subscription_not_tuned")
            await subscription.abort()

    async def _add(self, subscription: Subscription) -> None:
        while self._asked:
            some = sorted(self._asked)[:_AT_ONCE]
            await subscription.add(*some)
            self._heard.update(some)
            self._asked.difference_update(some)
            self._next_round()

    async def _tidy(self, subscription: Subscription) -> None:
        stale = self._heard - self._channels()
        gone = sorted(stale & self._stale)
        self._stale = stale.difference(gone)
        # Whoever wants one of these from here on asks for it, and it is added after this.
        self._heard.difference_update(gone)
        for start in range(0, len(gone), _AT_ONCE):
            await subscription.remove(*gone[start : start + _AT_ONCE])

    def _channels(self) -> set[str]:
        return {bus.growth_of(room) for room in self._wanted()}

    def _next_round(self) -> None:
        over, self._round = self._round, asyncio.Event()
        over.set()
