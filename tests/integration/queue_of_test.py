"""Entries, tails on a real engine, and servers that go back, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from hub.core.errors import QueueUnavailable
from hub.core.message import Entry, MessageId, SeqKey, UserKey
from hub.partitions import user_tag
from hub.redis_link import RedisLink
from hub.store.queue_redis import RedisTail
from tests.services import AnyRedis

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


def another_life(server: AnyRedis) -> None:
    """As after a restart with its newest file, or a failover to a replica that had everything."""
    server.another_life()


async def copy_of(link: RedisLink) -> Mapping[bytes, bytes]:
    """All that is there now, as a replica or a file has it; when it would expire is left out."""
    await back(link)
    keys = await link.ask("KEYS", "*")
    return dict(zip(keys, await link.run([("DUMP", key) for key in keys]), strict=True))


async def fail_over(server: AnyRedis, link: RedisLink, copy: Mapping[bytes, bytes]) -> None:
    """Another server takes over, which has this copy and nothing of what came later."""
    await back(link)
    server.flush()
    await link.run([("RESTORE", key, 0, dump, "REPLACE") for key, dump in copy.items()])
    another_life(server)


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
