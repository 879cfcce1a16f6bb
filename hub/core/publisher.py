"""After the commit: references to the tails, frames to the live sessions, in commit order, several batches at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.marks import Marks
from hub.core.message import Entry, Published
from hub.core.ports import Batch, Broker, Clock, MessageStore, Tail

log = logging.getLogger("hub.publisher")

_MERGE = 8
_PAGE = 40
"""Batches read at a time for publishing again: their bodies are in memory meanwhile."""
_WAITING = 512
"""Batches kept for publishing. Past it the oldest are left to the sweep, which reads them from the store."""


class Publisher:
    """One stream per node. What fails stays unmarked in the store and is published again by the sweep."""

    def __init__(
        self, *, store: MessageStore, tail: Tail, broker: Broker, clock: Clock, marks: Marks
    ) -> None:
        self._store = store
        self._tail = tail
        self._broker = broker
        self._clock = clock
        self._waiting: deque[tuple[str, Sequence[Published]]] = deque()
        self._marks = marks
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.left_to_sweep = 0
        self.failed = 0

    async def __aenter__(self) -> Publisher:
        self._task = asyncio.create_task(self._run(), name="publisher")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Publish what waits (briefly), note what is done, then stop."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(2):
                await self.idle()
                await self.flush_marks()
        except (TimeoutError, Unavailable):
            log.warning("publisher_stopped_early", extra={"batches": len(self._waiting)})
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until nothing waits for publishing in this process."""
        await self._idle.wait()

    def enqueue(self, batch: Batch) -> None:
        """Publish this soon."""
        self._waiting.append((batch.id, batch.published))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self.left_to_sweep += 1
        self._idle.clear()
        self._wake.set()

    async def flush_marks(self) -> None:
        """Mark what no commit came along to mark."""
        done = self._marks.take()
        if not done:
            return
        try:
            await self._store.mark_published(done)
        except Unavailable:
            self._marks.put_back(done)
            raise

    async def republish(self, *, before: datetime, limit: int = 50) -> int:
        """Publish what was committed before a time and never marked. Returns how many batches."""
        return await self._again(await self._store.unpublished(before=before, limit=limit))

    async def republish_since(self, margin: timedelta, *, limit: int = 5_000) -> int:
        """Publish everything of the last `margin` again: after a failover, what Redis held may be lost."""
        since, done = self._clock() - margin, 0
        while done < limit:
            page = await self._store.committed_since(since, limit=_PAGE, skip=done)
            done += await self._again(page)
            if len(page) < _PAGE:
                break
        return done

    async def _again(self, batches: Sequence[tuple[str, Sequence[Published]]]) -> int:
        for start in range(0, len(batches), _MERGE):
            some = batches[start : start + _MERGE]
            if not await self._publish([p for _, published in some for p in published]):
                return start
            await self._store.mark_published([batch for batch, _ in some])
        return len(batches)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._idle.set()
                self._wake.clear()
            await self._wake.wait()
            some = [self._waiting.popleft() for _ in range(min(_MERGE, len(self._waiting)))]
            if await self._publish([p for _, published in some for p in published]):
                self._marks.add(batch for batch, _ in some)

    async def _publish(self, published: Sequence[Published]) -> bool:
        entries: list[Entry] = [entry for item in published for entry in item.entries]
        results = await asyncio.gather(
            self._broker.publish(published), self._append(entries), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            self.failed += 1
            if not isinstance(failure, QueueUnavailable):
                log.error("publish_failed", exc_info=failure)
        return not failures

    async def _append(self, entries: Sequence[Entry]) -> None:
        if entries:
            await self._tail.append(entries)
