"""A link that asks Sentinels finds the master, and the next one when that is gone, and believes none of its past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection

from hub.core.errors import QueueUnavailable
from hub.core.message import UserKey
from hub.redis_link import LinkLimits, RedisLink, open_redis
from hub.settings import Settings
from hub.store.queue_redis import RedisTail
from tasks.config import configuration
from tests.integration.nodes_of_test import NodeOfTest, seat, until
from tests.integration.queue_of_test import ANN, TTL, entries
from tests.integration.test_broker import published
from tests.services import RedisSentinels, start_redis_sentinels
from tests.services.redis_node import wait_until

LIMITS = LinkLimits(pause=timedelta(milliseconds=50))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[RedisSentinels]:
    """One whose servers may be killed."""
    with start_redis_sentinels(tmp_path) as group:
        yield group


@pytest.fixture
async def link(group: RedisSentinels) -> AsyncIterator[RedisLink]:
    async with open_redis(group.url, LIMITS) as link:
        yield link


async def head_again(tail: RedisTail) -> int | None:
    async with asyncio.timeout(15):
        while True:
            try:
                return (await tail.heads([ANN]))[0]
            except QueueUnavailable:
                await asyncio.sleep(0.05)


async def test_a_promoted_replica_is_found_and_not_believed(group: RedisSentinels, link: RedisLink) -> None:
    changes: list[tuple[str, str]] = []
    link.on_epoch(lambda old, new: changes.append((old, new)))
    tail = RedisTail(link, size=127, ttl=TTL)
    await tail.rebuild(ANN, entries(1, 5), head=5)
    old = group.master
    await asyncio.to_thread(wait_until, lambda: group.other(old).command("DBSIZE") == b":1\r\n")
    old.kill()
    assert await head_again(tail) is None
    assert [new for _, new in changes] == [link.epoch]
    await tail.rebuild(ANN, entries(1, 5), head=5)
    old.start()  # with nothing, and a master until the Sentinels make a replica of it
    assert await head_again(tail) == 5
    assert len(changes) == 1


async def test_a_new_master_is_heard_of_by_who_asks_nothing(group: RedisSentinels, link: RedisLink) -> None:
    changes: list[tuple[str, str]] = []
    link.on_epoch(lambda old, new: changes.append((old, new)))
    await link.ask("PING")
    await asyncio.sleep(0.5)  # it listens
    assert group.sentinels[0].command("SENTINEL", "FAILOVER", "hub") == b"+OK\r\n"
    await until(lambda: bool(changes), within=15)
    assert link.failures <= 1
    assert await link.ask("SET", "k", "v") == b"OK"


async def test_a_sentinel_that_is_dead_or_knows_less_is_passed_over(group: RedisSentinels) -> None:
    group.sentinels[0].kill()
    # One that was never told of this master comes first, then a dead one.
    stranger = f"127.0.0.1:{group.servers[0].port}"
    url = group.url.replace("://", f"://{stranger},")
    async with open_redis(url, LIMITS) as link:
        assert await link.ask("SET", "k", "v") == b"OK"
    for sentinel in group.sentinels[1:]:
        sentinel.kill()
    async with open_redis(url, LIMITS) as link:
        with pytest.raises(QueueUnavailable, match="no Sentinel names the master"):
            await link.ask("PING")


async def test_a_wrong_name_is_told(group: RedisSentinels) -> None:
    async with open_redis(group.url.replace("/hub/", "/nobody/"), LIMITS) as link:
        with pytest.raises(QueueUnavailable, match="no Sentinel names the master"):
            await link.ask("PING")


async def test_nodes_hear_each_other_again(group: RedisSentinels) -> None:
    a, b = NodeOfTest("a", group.url), NodeOfTest("b", group.url)
    async with a.stack, b.stack:
        for node in (a, b):
            await (await node.start()).ready()
        await b.presence.register(seat("s2", UserKey(2)))
        b.caught_up = 0
        group.master.kill()
        await until(lambda: b.caught_up > 0 and b.receiver.healthy, within=15)

        async def reached() -> bool:
            try:
                await a.broker.publish([published(1, [UserKey(2)])])
            except QueueUnavailable:
                return False
            await asyncio.sleep(0.1)
            return bool(b.pushed)

        await until(reached, within=15)


def test_celery_finds_the_same_master(group: RedisSentinels) -> None:
    made: dict[str, Any] = configuration(Settings(redis_url=group.url, broker_url=""))
    opened: Any = Connection
    connection = opened(made["broker_url"], transport_options=made["broker_transport_options"])
    with connection, connection.SimpleQueue("hub.test") as queue:
        queue.put({"hello": "world"})
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == {"hello": "world"}
    assert b"hub-celery" in group.command("KEYS", "*")
