"""Short-lived tasks that nobody awaits: kept alive, counted, logged when they fail, and ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("hub.ws")


class Background:
    """The tasks of one gateway."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run this; tasks start in the order in which they were given."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", exc_info=error, extra={"task": task.get_name()})

    async def settle(self, *, within: float) -> None:
        """Wait for what runs now, for a while."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within)

    async def finish(self, *, within: float) -> None:
        """Wait for what runs, for a while; then cancel it."""
        await self.settle(within=within)
        left = set(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
