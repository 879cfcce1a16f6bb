"""How many hellos are looked at, how many wait for that, and who is told to come back later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from hub.channels.ws.turnstile import Turnstile

_PER_TURN: Final = 16
"""Hellos that begin in one turn of the event loop: answers come for many at once, and free as many places."""
_RATE: Final = 500
"""Hellos a second that a node can count on: what the time to come back is guessed from."""
_LONGEST: Final = 30.0


class Crowded(Exception):
    """There is no turn for this one; `retry_after_s` is when it may try again, for each another time."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"come back in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class Admission:
    """First come, first served. What waits here costs a task and no query: healthy sessions go on meanwhile.

    Who has waited has as much time for the answers as one who has not: what has cost something is not thrown away
    because of what others took before.
    """

    def __init__(
        self, *, at_once: int, backlog: int, patience: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._pace = Turnstile(_PER_TURN)
        self._backlog = backlog
        self._patience = patience
        self._jitter = jitter
        self.waiting = 0
        self.refused = 0

    @property
    def crowded(self) -> bool:
        """Whether so many wait that nobody else need be asked in for now."""
        return self.waiting >= self._at_once

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, which ends in a TimeoutError when it takes too long. Raises Crowded where none is to be had, and
        TimeoutError where none comes in time."""
        if self._turns.locked() and self.waiting >= self._backlog:
            raise self._crowded()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            self.refused += 1
            raise
        finally:
            self.waiting -= 1
        try:
            async with asyncio.timeout(self._patience):
                await self._begin()
                yield
        finally:
            self._turns.release()

    async def _begin(self) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not begun.done():
                begun.set_result(None)

        if not self._pace.enter(begin):
            await begun

    def later(self) -> float:
        """When one who was sent away may come back, in seconds: spread, so that not all come at once again."""
        spread = min(_LONGEST, 1.0 + self.waiting / _RATE)
        return round(0.5 + self._jitter() * spread, 2)

    def _crowded(self) -> Crowded:
        self.refused += 1
        return Crowded(self.later())
