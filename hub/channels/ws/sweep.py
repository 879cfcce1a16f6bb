"""One timer for all connections: who has not said hello, not answered a close, fallen silent, expired, or is stuck."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

from hub.channels.ws import codes
from hub.channels.ws.codes import Parting
from hub.channels.ws.connection import Connection
from hub.settings import Settings

log = logging.getLogger("hub.ws.sweep")

_TICK: Final = 0.25
_ROUNDS: Final = 4
"""Rounds over all connections in one heartbeat."""
_SLICE: Final = 1_000

End = Callable[[Connection, Parting], None]


class Sweep:
    """Costs per node, not per connection: two short ordered dicts a tick, and all connections a few times a
    heartbeat, in slices.
    """

    def __init__(self, *, links: Collection[Connection], settings: Settings, end: End) -> None:
        self._links = links
        self._end = end
        self._hello_timeout = settings.hello_timeout.total_seconds()
        self._heartbeat = settings.heartbeat.total_seconds()
        self._silent: dict[Connection, float] = {}
        self._closing: dict[Connection, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ws-sweep")

    async def aclose(self) -> None:
        """No more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def unknown(self) -> int:
        """Connections that have not said hello."""
        return len(self._silent)

    def await_hello(self, link: Connection) -> None:
        """The connection is new."""
        self._silent[link] = link.opened + self._hello_timeout

    def said_hello(self, link: Connection) -> None:
        """It has said hello."""
        self._silent.pop(link, None)

    def await_close(self, link: Connection, seconds: float) -> None:
        """It was told to close."""
        self._silent.pop(link, None)
        self._closing.setdefault(link, asyncio.get_running_loop().time() + seconds)

    def forget(self, link: Connection) -> None:
        """It is gone."""
        self._silent.pop(link, None)
        self._closing.pop(link, None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._heartbeat / _ROUNDS
        next_round = loop.time() + pause
        while True:
            await asyncio.sleep(min(_TICK, pause))
            try:
                self._tick(loop.time())
                if loop.time() >= next_round:
                    await self._round()
                    next_round = loop.time() + pause
            except Exception:
                log.exception("sweep_failed")

    def _tick(self, now: float) -> None:
        for link in _overdue(self._silent, now):
            self._end(link, codes.HELLO_TIMEOUT)
        for link in _overdue(self._closing, now):
            del self._closing[link]
            link.abort()

    async def _round(self) -> None:
        everybody = list(self._links)
        for start in range(0, len(everybody), _SLICE):
            now = asyncio.get_running_loop().time()
            for link in islice(everybody, start, start + _SLICE):
                self._look_at(link, now)
            await asyncio.sleep(0)

    def _look_at(self, link: Connection, now: float) -> None:
        if link.closed:
            return
        link.silence += 1
        if link.full_since and now - link.full_since > self._heartbeat:
            self._end(link, codes.SLOW_CONSUMER)
        elif link.silence > 2 * _ROUNDS:
            self._end(link, codes.SILENT)
        elif link.expires and now >= link.expires:
            self._end(link, codes.TOKEN_EXPIRED)


def _overdue(deadlines: dict[Connection, float], now: float) -> list[Connection]:
    """Those past their time; all deadlines of one dict are equally long, so it is in order."""
    overdue = []
    for link, deadline in deadlines.items():
        if deadline > now:
            break
        overdue.append(link)
    return overdue
