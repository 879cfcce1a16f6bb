"""The one writer of a node's presence: everything reaches Redis in the order in which it happened, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.channels.ws.tidings import Change, Tidings
from hub.core.errors import QueueUnavailable
from hub.redis_link import RedisLink
from hub.redis_wire import Command

log = logging.getLogger("hub.presence")

_BATCH: Final = 256
_WAITING: Final = 20_000
"""Writes waiting. Past it all are dropped, counted, and the node begins a new life instead."""
_PAUSE: Final = 0.5

Meaning = Callable[[list[Any]], list[Change]]
"""What the answers to the commands say must be told."""


@dataclass(frozen=True, slots=True)
class _Write:
    commands: Sequence[Command]
    meaning: Meaning
    waiter: asyncio.Future[None]


class Scribe:
    """While it is `broken` nothing is written and nobody waits: `mend` brings everything to Redis anew."""

    def __init__(self, link: RedisLink, tidings: Tidings, *, mend: Callable[[], Awaitable[None]]) -> None:
        self._link = link
        self._tidings = tidings
        self._mend = mend
        self._writes: deque[_Write] = deque()
        self._wake = asyncio.Event()
        self.broken = True
        self.dropped = 0

    async def write(self, commands: Sequence[Command], meaning: Meaning = lambda _: []) -> None:
        """Returns when it is written, or cannot be for now. The commands are taken up in this very call."""
        if not commands or self.broken:
            return
        if len(self._writes) >= _WAITING:
            self.give_up()
            return
        write = _Write(commands, meaning, asyncio.get_running_loop().create_future())
        self._writes.append(write)
        self._wake.set()
        await write.waiter

    def give_up(self) -> None:
        """Redis does not hold what it should: begin anew."""
        self.broken = True
        while self._writes:
            self.dropped += 1
            _done(self._writes.popleft())
        self._wake.set()

    async def run(self) -> None:
        """Writes. Never returns."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self.broken:
                    await self._mend()
                while self._writes:
                    await self._write_some()
            except QueueUnavailable:
                self.give_up()
                await asyncio.sleep(_PAUSE)
            except Exception:
                log.exception("presence_write_failed")
                self.give_up()
                await asyncio.sleep(_PAUSE)

    async def _write_some(self) -> None:
        some = [self._writes.popleft() for _ in range(min(_BATCH, len(self._writes)))]
        try:
            answers = await self._link.run([command for write in some for command in write.commands])
            changes: list[Change] = []
            for write in some:
                count = len(write.commands)
                changes += write.meaning(answers[:count])
                del answers[:count]
        finally:
            for write in some:
                _done(write)
        await self._tidings.tell(changes)


def _done(write: _Write) -> None:
    if not write.waiter.done():
        write.waiter.set_result(None)
