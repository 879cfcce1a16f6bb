"""Things to be done once, a little later, by this process if it still lives: never what must not be lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from hub.core.errors import HubError, QueueUnavailable

log = logging.getLogger("hub.later")


class Later:
    """Holds what it started until it is done, or until `aclose`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, delay: timedelta, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` once after `delay`. That it fails is logged, and no more."""
        task = asyncio.create_task(self._run(delay, work), name="later")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Forget what has not been done."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, delay: timedelta, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(delay.total_seconds())
        try:
            await work()
        except (HubError, QueueUnavailable) as error:
            log.info("later_failed", extra={"error": str(error)})
        except Exception:
            log.exception("later_failed")
