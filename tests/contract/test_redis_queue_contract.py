"""The counters and tails in Redis keep what the ports promise, on one server and laid out for a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.core.ports import Sequencer, Tail
from hub.partitions import Grouping, by_partition, single
from hub.redis_link import RedisLink, open_redis
from hub.store.queue_redis import RedisSequencer, RedisTail
from tests.contract.sequencer_contract import SequencerContract
from tests.contract.tail_contract import SIZE, TailContract
from tests.services import RedisServer

TTL = timedelta(hours=6)


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    redis_server.flush()
    async with open_redis(redis_server.url) as link:
        yield link


class TestRedisSequencer(SequencerContract):
    @pytest.fixture
    def sequencer(self, link: RedisLink) -> Sequencer:
        return RedisSequencer(link, tail_ttl=TTL)


class TestRedisTail(TailContract):
    @pytest.fixture(params=[single, by_partition])
    def tail(self, link: RedisLink, request: pytest.FixtureRequest) -> Tail:
        grouping: Grouping = request.param
        return RedisTail(link, size=SIZE, ttl=TTL, grouping=grouping)
