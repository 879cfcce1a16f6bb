"""Tells open pages that something changed. What changed they ask for themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Final

_BOUND: Final = 64
_BEAT_S: Final = 15.0


class Feed:
    """Subscribers with bounded queues: a page that does not read loses notices and catches up with the next."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str | None]] = set()
        self._closed = False

    def tell(self, what: str, person_id: str = "") -> None:
        """Something changed for a person; for everybody without one."""
        notice = json.dumps({"what": what, "person_id": person_id})
        for queue in self._queues:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(notice)

    def close(self) -> None:
        """Ends all streams, so that the server can stop."""
        self._closed = True
        for queue in self._queues:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events for one page, with a comment now and then to notice that it has gone."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(_BOUND)
        self._queues.add(queue)
        try:
            yield "retry: 1000\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(_BEAT_S):
                        notice = await queue.get()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if notice is None:
                    return
                yield f"data: {notice}\n\n"
        finally:
            self._queues.discard(queue)
