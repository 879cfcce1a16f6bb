"""The heads of queues, asked for together: thousands of heartbeats a second are some calls, not thousands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from hub.core.message import UserKey

_WINDOW: Final = 0.02
_AT_ONCE: Final = 500

ReadHeads: TypeAlias = Callable[[Sequence[UserKey]], Awaitable[Sequence[int]]]
Answer: TypeAlias = Callable[[int | Exception], None]
"""Takes the newest committed number of a queue, or why it cannot be known now."""


class Heads:
    """The first question is asked at once; what comes within a moment after it is the next call, without a task
    for each.
    """

    def __init__(self, read: ReadHeads) -> None:
        self._read = read
        self._asked: dict[UserKey, list[Answer]] = {}
        self._sent_at = -_WINDOW
        self._calls: set[asyncio.Task[None]] = set()

    def ask(self, user: UserKey, answer: Answer) -> None:
        """Call `answer` soon, with the head as of then."""
        if not self._asked:
            loop = asyncio.get_running_loop()
            loop.call_later(max(0.0, self._sent_at + _WINDOW - loop.time()), self._send)
        self._asked.setdefault(user, []).append(answer)

    async def of(self, user: UserKey) -> int:
        """The same for who can wait. May raise what the engine raises."""
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answer(head: int | Exception) -> None:
            if waiting.done():
                return
            if isinstance(head, Exception):
                waiting.set_exception(head)
            else:
                waiting.set_result(head)

        self.ask(user, answer)
        return await waiting

    def _send(self) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        asked, self._asked = self._asked, {}
        users = list(asked)
        for start in range(0, len(users), _AT_ONCE):
            some = {user: asked[user] for user in users[start : start + _AT_ONCE]}
            call = asyncio.get_running_loop().create_task(self._call(some), name="ws-heads")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, asked: dict[UserKey, list[Answer]]) -> None:
        heads: Sequence[int | Exception]
        try:
            heads = await self._read(list(asked))
        except Exception as error:  # noqa: BLE001  (whoever asked gets it)
            heads = [error] * len(asked)
        for answers, head in zip(asked.values(), heads, strict=True):
            for answer in answers:
                answer(head)
