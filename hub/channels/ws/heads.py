"""The heads of queues, asked for together: thousands of heartbeats a second are some calls, not thousands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hub.core.message import UserKey

_WINDOW: Final = 0.01
_AT_ONCE: Final = 500

ReadHeads = Callable[[Sequence[UserKey]], Awaitable[Sequence[int]]]


class Heads:
    """Gathers questions for a moment and asks them in one call."""

    def __init__(self, read: ReadHeads) -> None:
        self._read = read
        self._asked: dict[UserKey, asyncio.Future[int]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def of(self, user: UserKey) -> int:
        """The newest committed number of this queue, as of now or later. May raise errors.Unavailable."""
        asked = self._asked.get(user)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[user] = loop.create_future()
            if len(self._asked) == 1:
                loop.call_later(_WINDOW, self._ask)
        return await asyncio.shield(asked)

    def _ask(self) -> None:
        asked, self._asked = self._asked, {}
        users = list(asked)
        for start in range(0, len(users), _AT_ONCE):
            some = {user: asked[user] for user in users[start : start + _AT_ONCE]}
            call = asyncio.get_running_loop().create_task(self._call(some), name="ws-heads")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, asked: dict[UserKey, asyncio.Future[int]]) -> None:
        try:
            heads = await self._read(list(asked))
        except Exception as error:  # noqa: BLE001  (whoever asked gets it)
            for answer in asked.values():
                if not answer.done():
                    answer.set_exception(error)
                    # Whoever asked may be gone: an exception that nobody fetches is not worth a log entry.
                    answer.exception()
            return
        for answer, head in zip(asked.values(), heads, strict=True):
            if not answer.done():
                answer.set_result(head)
