"""The way from Celery's threads into asyncio: one event loop with one open hub per worker process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Generic, TypeVar

ResourceT = TypeVar("ResourceT")
ResultT = TypeVar("ResultT")


class Portal(Generic[ResourceT]):
    """Opens a resource on a loop in a thread of its own, at the first call in this process.

    Prefork children inherit the object but no thread: the process id tells, and they open their own.
    """

    def __init__(self, opener: Callable[[], AbstractAsyncContextManager[ResourceT]]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resource: ResourceT | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def call(self, verb: Callable[[ResourceT], Awaitable[ResultT]], *, timeout: timedelta) -> ResultT:
        """Run `verb` with the resource on the loop; waits at most `timeout` and cancels it then."""
        loop, resource = self._open()

        async def run() -> ResultT:
            async with asyncio.timeout(timeout.total_seconds()):
                return await verb(resource)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    def close(self) -> None:
        """Close the resource and end the thread. Safe to call when nothing was opened."""
        with self._lock:
            if self._pid != os.getpid() or self._loop is None or self._stop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=15)
            self._pid = 0

    def _open(self) -> tuple[asyncio.AbstractEventLoop, ResourceT]:
        with self._lock:
            if self._pid != os.getpid() or self._thread is None or not self._thread.is_alive():
                ready: Future[None] = Future()
                self._thread = threading.Thread(target=self._serve, args=(ready,), name="portal", daemon=True)
                self._thread.start()
                ready.result()
                self._pid = os.getpid()
            assert self._loop is not None  # noqa: S101  (set before `ready`)
            assert self._resource is not None  # noqa: S101
            return self._loop, self._resource

    def _serve(self, ready: Future[None]) -> None:
        asyncio.run(self._hold(ready))

    async def _hold(self, ready: Future[None]) -> None:
        try:
            async with self._opener() as resource:
                self._loop = asyncio.get_running_loop()
                self._resource = resource
                self._stop = asyncio.Event()
                ready.set_result(None)
                await self._stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
