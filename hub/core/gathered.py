"""Questions that many ask at once, asked together: what comes while one call is under way is the next call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K")
V = TypeVar("V")

Load: TypeAlias = Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]
"""Answers for some keys at once; those that have none are missing."""


class Gathered(Generic[K, V]):
    """A lone question is asked in the next turn of the loop; the busier it is, the more share a call. Nothing is
    remembered: whoever asks while a call is under way gets an answer of a later one.
    """

    def __init__(self, load: Load[K, V], *, most: int = 200) -> None:
        """`most` keys go into one call."""
        self._load = load
        self._most = most
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.calls = 0

    async def get(self, key: K) -> V | None:
        """The answer, or None where there is none. Raises what the call raises."""
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="gathered")
        # Shielded: one who gives up must not take the answer from the others.
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            while self._asked:
                some = list(islice(self._asked, self._most))
                await self._answer({key: self._asked.pop(key) for key in some})
        finally:
            self._task = None

    async def _answer(self, asked: Mapping[K, asyncio.Future[V | None]]) -> None:
        self.calls += 1
        try:
            found = await self._load(list(asked))
        except BaseException as error:
            for answer in asked.values():
                _fail(answer, error)
            if not isinstance(error, Exception):
                raise
            return
        for key, answer in asked.items():
            if not answer.done():
                answer.set_result(found.get(key))


def _fail(answer: asyncio.Future[V | None], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, Exception):
        answer.set_exception(error)
        answer.exception()  # retrieved here too: all askers may have given up
    else:
        answer.cancel()
