"""Entries, and tails on a real engine, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from hub.core.errors import QueueUnavailable
from hub.core.message import Entry, MessageId, SeqKey, UserKey
from hub.partitions import user_tag
from hub.redis_link import RedisLink
from hub.store.queue_redis import RedisTail

ANN = UserKey(1)
KEY = SeqKey.of_user(ANN)
TTL = timedelta(hours=6)
TAIL = f"hub:tail:{user_tag(ANN)}:{ANN}"


def entry(seq: int, user: UserKey = ANN) -> Entry:
    inbox = seq * 10 if seq % 2 else None
    return Entry(user, seq, MessageId(f"msg_{seq:032x}") if seq % 5 else None, inbox)


def entries(first: int, last: int, user: UserKey = ANN) -> list[Entry]:
    return [entry(seq, user) for seq in range(first, last + 1)]


def tail_of(link: RedisLink, size: int = 128) -> RedisTail:
    return RedisTail(link, size=size, ttl=TTL)


async def trusted(tail: RedisTail, last: int) -> None:
    """A tail that has been told everything up to `last`."""
    await tail.rebuild(ANN, entries(1, last), head=last)
    assert list(await tail.heads([ANN])) == [last]


async def back(link: RedisLink) -> None:
    """Waits until the link has found Redis again."""
    async with asyncio.timeout(5):
        while True:
            try:
                await link.ask("PING")
                return
            except QueueUnavailable:
                await asyncio.sleep(0.02)


async def until(true: Callable[[], bool]) -> None:
    """Waits for it; a time-out is the failure."""
    async with asyncio.timeout(8):
        while not true():
            await asyncio.sleep(0.02)
