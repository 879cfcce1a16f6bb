"""Telling all nodes that a membership, or what a user may do, has changed: until it has been told, and once more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final, TypeAlias

from hub.channels.ws import bus
from hub.core.errors import QueueUnavailable
from hub.core.message import ConversationId, UserKey
from hub.redis_link import RedisLink

log = logging.getLogger("hub.broker")

Drop: TypeAlias = tuple[UserKey, ConversationId | None]

_AGAIN: Final = 1.0
_ONCE_MORE: Final = 5.0
"""Seconds after Redis is back in which a node has surely made its own subscription again."""
_OWED: Final = 100_000
_AT_ONCE: Final = 1_000


class Drops:
    """What could not be told because Redis was away is told when it is back, and a second time after every node has
    come back too. It is forgotten with the process: memberships are read again by who was cut off."""

    def __init__(self, link: RedisLink, node: str) -> None:
        self._link = link
        self._node = node
        self._owed: dict[Drop, int] = {}
        """How often each is still to be told."""
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._owed)

    async def tell(self, users: Collection[UserKey], conversation: ConversationId | None) -> None:
        """To every node. Raises QueueUnavailable where that will be later."""
        drops = [(user, conversation) for user in users]
        try:
            await self._send(drops)
        except QueueUnavailable:
            self._owe(drops)
            raise

    def close(self) -> None:
        """What is owed stays so."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _send(self, drops: Collection[Drop]) -> None:
        commands = [
            ("PUBLISH", bus.EVERYBODY, bus.encode(bus.Dropped(self._node, user, conversation)))
            for user, conversation in drops
        ]
        for start in range(0, len(commands), _AT_ONCE):
            await self._link.run(commands[start : start + _AT_ONCE])

    def _owe(self, drops: Collection[Drop]) -> None:
        for drop in drops:
            self._owed.pop(drop, None)
            self._owed[drop] = 2
        surplus = len(self._owed) - _OWED
        if surplus > 0:
            log.warning("drops_forgotten", extra={"drops": surplus})
            for drop in list(self._owed)[:surplus]:
                del self._owed[drop]
        self._soon(_AGAIN)

    def _soon(self, seconds: float) -> None:
        if self._timer is None and self._task is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._pay(), name="broker-drops")
        self._task.add_done_callback(self._paid)

    def _paid(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None and not isinstance(error, QueueUnavailable):
            log.error("drops_not_told", exc_info=error)
        if self._owed:
            self._soon(_AGAIN if error is not None else _ONCE_MORE)

    async def _pay(self) -> None:
        owed = dict(self._owed)
        await self._send(owed)
        for drop, times in owed.items():
            # What was owed anew meanwhile stays as it is.
            if self._owed.get(drop) != times:
                continue
            if times > 1:
                self._owed[drop] = times - 1
            else:
                del self._owed[drop]
