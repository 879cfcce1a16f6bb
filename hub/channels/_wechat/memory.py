"""Which callbacks have been seen: WeChat sends each up to three times, and others may send them again."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from hub.channels._wechat.callback import REMEMBER, WINDOW, Callback
from hub.core.errors import QueueUnavailable
from hub.partitions import tag
from hub.redis_link import RedisLink
from hub.redis_wire import Script, load_script

CLAIM: Final = timedelta(seconds=4)
"""WeChat sends again after five."""
_LOCAL_SIZE: Final = 20_000


class Sight(StrEnum):
    """How a callback is met."""

    NEW = "new"
    SEEN = "seen"
    FORGED = "forged"
    """Another body under a signature that was used before."""


class Memory(Protocol):
    """Remembers a value under a key for a while."""

    async def remember(self, key: str, value: str, ttl: timedelta) -> str | None:
        """Atomically: another value that was remembered before, and stays; None where `value` is there now."""
        ...

    async def recall(self, key: str) -> str | None:
        """What is remembered."""
        ...

    async def keep(self, key: str, value: str, ttl: timedelta) -> None:
        """Remembers it, whatever was there."""
        ...

    async def forget(self, key: str) -> None:
        """As if it had never been remembered."""
        ...


class CallbackMemory:
    """`sight` before acting, then `done`, or `forget` where acting failed: WeChat will send it again.

    Whoever dies while acting holds an event for less than WeChat waits before it sends it again, so nothing is lost;
    acting twice can happen, and must be harmless.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def sight(self, callback: Callback) -> Sight:
        """NEW for whoever should act on it."""
        if callback.signature_key:
            # Outlives the window on both sides of our clock: after that the time alone refuses it.
            key = f"sig:{callback.signature_key}"
            if await self._memory.remember(key, callback.body_digest, 3 * WINDOW) is not None:
                return Sight.FORGED
        claim = secrets.token_hex(8)  # its own: a command that Redis ran twice must not look like two callers
        return (
            Sight.NEW if await self._memory.remember(_event(callback), claim, CLAIM) is None else Sight.SEEN
        )

    async def done(self, callback: Callback) -> None:
        """It has been acted on: SEEN for a day."""
        await self._memory.keep(_event(callback), "done", REMEMBER)

    async def forget(self, callback: Callback) -> None:
        """The next try of the same event will be NEW."""
        await self._memory.forget(_event(callback))


class LocalMemory:
    """For one process. Past `size` keys the oldest are forgotten."""

    def __init__(self, *, size: int = _LOCAL_SIZE, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._values: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def remember(self, key: str, value: str, ttl: timedelta) -> str | None:
        """Another value that was remembered before."""
        before = self._values.get(key)
        if before is not None and before[1] > self._clock():
            return None if before[0] == value else before[0]
        await self.keep(key, value, ttl)
        return None

    async def recall(self, key: str) -> str | None:
        """What is remembered."""
        found = self._values.get(key)
        return found[0] if found is not None and found[1] > self._clock() else None

    async def keep(self, key: str, value: str, ttl: timedelta) -> None:
        """Remembers it."""
        self._values[key] = (value, self._clock() + ttl.total_seconds())
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    async def forget(self, key: str) -> None:
        """As if it had never been."""
        self._values.pop(key, None)


class RedisMemory:
    """For all processes. While Redis is away each remembers for itself: a repeat on another node may be NEW there."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local = LocalMemory()
        self._remember: Script = load_script(__package__, "remember")

    async def remember(self, key: str, value: str, ttl: timedelta) -> str | None:
        """Another value that was remembered before, by anybody."""
        try:
            before = await self._link.ask(self._remember, 1, _key(key), value, _milliseconds(ttl))
        except QueueUnavailable:
            return await self._local.remember(key, value, ttl)
        return None if before is None else str(before.decode())

    async def recall(self, key: str) -> str | None:
        """What anybody remembers."""
        try:
            found = await self._link.ask("GET", _key(key))
        except QueueUnavailable:
            return await self._local.recall(key)
        return None if found is None else str(found.decode())

    async def keep(self, key: str, value: str, ttl: timedelta) -> None:
        """Remembers it."""
        try:
            await self._link.ask("SET", _key(key), value, "PX", _milliseconds(ttl))
        except QueueUnavailable:
            await self._local.keep(key, value, ttl)

    async def forget(self, key: str) -> None:
        """As if it had never been."""
        await self._local.forget(key)
        try:
            await self._link.ask("DEL", _key(key))
        except QueueUnavailable:
            return


def _event(callback: Callback) -> str:
    return f"event:{callback.event.origin.key}"


def _key(key: str) -> str:
    return f"hub:wx:seen:{tag(key)}:{key}"


def _milliseconds(ttl: timedelta) -> int:
    return int(ttl.total_seconds() * 1000)
