"""Two nodes under load while Redis changes: masters of a Cluster are killed and a slot moves, or Sentinels fail over.

Every acknowledged message reaches every recipient, in order, once after the client's own de-duplication.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path

import pytest

from hub.partitions import tag
from hub.redis_slots import slot_of
from tests.chaos.test_node_death_and_redis_loss import Story, check, make_groups, mint, settled, talk
from tests.services import RedisCluster, start_redis, start_redis_cluster, start_redis_sentinels
from tests.support.client import HubClient
from tests.support.cluster import Cluster, answers, cluster

USERS = 40
MESSAGES = int(os.environ.get("HUB_CHAOS_FAILOVER_MESSAGES", "6000"))
COUNTERS = f"hub:count:{tag('n:counters')}:"
REGISTER = f"hub:nodes:{tag('n:nodes')}"
"""Of the nodes, with their leases: on another shard than the counters."""
HEALED_WITHIN = 15.0
"""Seconds: a second until the dead are known, a vote, a new epoch, sessions entered again."""

Trouble = Callable[[Callable[[float], Awaitable[None]]], Coroutine[None, None, None]]
"""Makes trouble when a share of the messages is accepted, which it can wait for."""


@pytest.mark.chaos
@pytest.mark.timeout(400)
async def test_a_cluster_loses_masters_and_a_slot_moves(tmp_path: Path) -> None:
    with start_redis_cluster(tmp_path / "cluster", replicas=3) as redis, start_redis(tmp_path) as broker:

        async def trouble(reached: Callable[[float], Awaitable[None]]) -> None:
            await reached(0.2)
            await asyncio.to_thread(redis.owner(COUNTERS).kill)
            await reached(0.5)
            await asyncio.to_thread(move_the_counters, redis)
            await reached(0.7)
            await asyncio.to_thread(redis.owner(REGISTER).kill)

        await under_load(tmp_path, redis.url, broker.url, trouble)


@pytest.mark.chaos
@pytest.mark.timeout(400)
async def test_a_sentinel_master_is_killed(tmp_path: Path) -> None:
    with start_redis_sentinels(tmp_path / "sentinels") as redis, start_redis(tmp_path) as broker:

        async def trouble(reached: Callable[[float], Awaitable[None]]) -> None:
            await reached(0.3)
            await asyncio.to_thread(redis.master.kill)

        await under_load(tmp_path, redis.url, broker.url, trouble)


def move_the_counters(redis: RedisCluster) -> None:
    """Under load: some of them are here and some there for a while."""
    source = redis.owner(COUNTERS)
    target = next(node for node in redis.masters() if node is not source)
    redis.begin_move(COUNTERS, target)
    while keys := source.words("CLUSTER", "GETKEYSINSLOT", slot_of(COUNTERS), 3):
        redis.migrate(source, target, *keys)
        time.sleep(0.01)
    redis.settle(COUNTERS, target)


async def under_load(tmp_path: Path, redis_url: str, broker_url: str, trouble: Trouble) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    where = {
        "HUB_REDIS_URL": redis_url,
        "HUB_BROKER_URL": broker_url.replace("unix://", "redis+socket://"),
    }
    (tmp_path / "hub").mkdir()
    with cluster(tmp_path / "hub", database, HUB_HEARTBEAT="5", HUB_FRAMES_PER_SECOND="2000", **where) as hub:
        for node in ("a", "b"):
            await asyncio.to_thread(hub.start_node, node)
        users = [f"用户{number}" for number in range(USERS)]
        tokens = await asyncio.to_thread(mint, hub, users)
        groups = await asyncio.to_thread(make_groups, hub, users)
        addresses = [hub.socket_url("a"), hub.socket_url("b")]
        clients = {
            user: HubClient(addresses, partial(tokens.__getitem__, user), device=f"phone-{number}")
            for number, user in enumerate(users)
        }
        story, count = Story(), MESSAGES // USERS

        async def reached(share: float) -> None:
            while story.acknowledged < MESSAGES * share:
                await asyncio.sleep(0.02)

        async with contextlib.AsyncExitStack() as stack:
            for client in clients.values():
                await stack.enter_async_context(client)
            await asyncio.wait_for(asyncio.gather(*(c.live() for c in clients.values())), 60)
            making = asyncio.create_task(trouble(reached))
            await asyncio.gather(*(talk(user, users, groups, clients[user], story, count) for user in users))
            await making
            await asyncio.to_thread(healed, hub)
            await settled(clients, story)
        check(clients, story, count)
        for node in ("a", "b"):
            assert "redis_epoch_changed" in hub.log(node)
            assert "Traceback" not in hub.log(node)


def healed(hub: Cluster) -> None:
    deadline = time.monotonic() + HEALED_WITHIN
    while not all(answers(f"{hub.url(node)}/readyz") for node in ("a", "b")):
        assert time.monotonic() < deadline, "the nodes do not come back"
        time.sleep(0.1)
