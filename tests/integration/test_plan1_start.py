"""What a start refuses, because messages would be lost or hidden."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.bootstrap import open_worker_hub
from hub.bootstrap_store import StoreRefused, open_chosen_store
from hub.redis_link import open_redis
from hub.settings import Settings
from tests.services import RedisCluster, RedisServer
from tests.support.engine import HeldExecutor, open_rig, test_settings
from tests.unit.api.harness import SECRET


async def opened(settings: Settings) -> None:
    async with open_redis(settings.redis) as link, open_chosen_store(settings, link):
        pass


async def test_plan_1_is_refused_on_a_cluster(tmp_path: Path, redis_cluster: RedisCluster) -> None:
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", redis_cluster.url)
    with pytest.raises(StoreRefused, match="Redis Cluster cannot"):
        await opened(settings.model_copy(update={"store": "redis"}))


async def test_plan_1_is_refused_where_redis_throws_keys_away(
    tmp_path: Path, plan1_redis: RedisServer
) -> None:
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", plan1_redis.url)
    settings = settings.model_copy(update={"store": "redis"})
    plan1_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreRefused, match="noeviction"):
            await opened(settings)
    finally:
        plan1_redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await opened(settings)


async def test_plan_2_is_refused_on_a_database_of_plan_1(tmp_path: Path, plan1_redis: RedisServer) -> None:
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", plan1_redis.url)
    async with open_rig(settings.model_copy(update={"store": "redis"})) as rig:
        await asyncio.gather(*(rig.engine.submit(rig.chat(1, 2)) for _ in range(2)))
    with pytest.raises(StoreRefused, match="HUB_STORE=sql"):
        await opened(settings)


async def test_a_hub_whose_messages_are_in_redis_is_not_ready_without_its_database(
    tmp_path: Path, plan1_redis: RedisServer
) -> None:
    settings = test_settings(tmp_path, "postgresql+asyncpg://hub@127.0.0.1:1/hub", plan1_redis.url)
    settings = settings.model_copy(update={"store": "redis", "secret_key": SECRET})
    async with open_worker_hub(settings, executor=HeldExecutor()) as hub:
        found = {one.name: one.ok for one in await hub.ready()}
    assert (found["database"], found["redis"]) == (False, True)
