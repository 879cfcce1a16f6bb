"""So much of a kind of work at each turn of the event loop, and no more: the rest is done in the next ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

Work = Callable[[], None]

_LOOK_AGAIN: Final = 0.005


def _never() -> bool:
    return False


class Turnstile:
    """First come, first served. Where nobody waits the work is done at once, and costs one callback a turn."""

    def __init__(self, per_turn: int, *, held: Callable[[], bool] = _never) -> None:
        """While it is `held` nothing is done."""
        self._per_turn = per_turn
        self._held = held
        self._left = 0
        self._waiting: deque[Work] = deque()
        self._turning = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, work: Work) -> bool:
        """Do it now, or in one of the next turns. True where it is done already."""
        if not self._turning:
            self._turning = True
            self._left = self._per_turn
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left <= 0 or self._waiting or self._held():
            self._waiting.append(work)
            return False
        self._left -= 1
        work()
        return True

    def _turn(self) -> None:
        """A new turn has begun: those who wait come before those who come in it."""
        loop = asyncio.get_running_loop()
        if self._waiting and self._held():
            self._left = 0
            loop.call_later(_LOOK_AGAIN, self._turn)
            return
        some = [self._waiting.popleft() for _ in range(min(self._per_turn, len(self._waiting)))]
        self._left = self._per_turn - len(some)
        self._turning = bool(some)
        if some:
            loop.call_soon(self._turn)
        for work in some:
            work()
