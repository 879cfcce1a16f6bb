"""The counters and tails in Redis keep what the ports promise, on one server, behind Sentinels and on a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.core.ports import Sequencer, Tail
from hub.redis_link import RedisLink, open_redis
from hub.store.queue_redis import RedisSequencer, RedisTail
from tests.contract.sequencer_contract import SequencerContract
from tests.contract.tail_contract import SIZE, TailContract
from tests.services import AnyRedis

TTL = timedelta(hours=6)


@pytest.fixture
async def link(any_redis: AnyRedis) -> AsyncIterator[RedisLink]:
    async with open_redis(any_redis.url) as link:
        yield link


class TestRedisSequencer(SequencerContract):
    @pytest.fixture
    def sequencer(self, link: RedisLink) -> Sequencer:
        return RedisSequencer(link, tail_ttl=TTL)


class TestRedisTail(TailContract):
    @pytest.fixture
    def tail(self, link: RedisLink) -> Tail:
        return RedisTail(link, size=SIZE, ttl=TTL)
