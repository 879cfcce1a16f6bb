"""Counts of tries, from every process to the one that is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hub.core.policy import Hop, Policy, Success
from hub.redis_link import open_redis
from hub.tally import Tally, open_tally
from tests.fakes.channel import ScriptedChannel, busy, refuse
from tests.services import RedisServer
from tests.support.engine import open_rig, test_settings

ONE = Policy((Hop("out", Success.ACCEPTED),))


async def test_what_workers_count_is_known_to_everybody_once(redis_server: RedisServer) -> None:
    redis_server.flush()
    mine: Counter[tuple[str, str]] = Counter({("wechat_mp", "accepted"): 2})
    async with open_redis(redis_server.url) as link:
        worker, web = Tally(link, mine), Tally(link, Counter())
        await worker.exchange()
        await worker.exchange()
        mine["wechat_mp", "accepted"] += 1
        mine["miniprogram", "unknown"] += 1
        await worker.exchange()
        await web.exchange()
        assert web.totals == {("wechat_mp", "accepted"): 3, ("miniprogram", "unknown"): 1}


async def test_a_process_that_ends_tells_what_it_has_not_told(redis_server: RedisServer) -> None:
    redis_server.flush()
    mine: Counter[tuple[str, str]] = Counter()
    async with open_redis(redis_server.url) as link:
        async with open_tally(link, mine):
            mine["ws", "rejected"] += 1
        web = Tally(link, Counter())
        await web.exchange()
        assert web.totals == {("ws", "rejected"): 1}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_try_is_counted_by_its_outcome(
    tmp_path: Path, database_url: str, redis_server: RedisServer
) -> None:
    redis_server.flush()
    out = ScriptedChannel("out")
    async with open_rig(test_settings(tmp_path, database_url, redis_server.url), out) as rig:
        for behaviour in (refuse, busy):
            out.behaviour = behaviour
            await rig.engine.submit(rig.notice(1, policy=ONE))
            await rig.engine.drain()
            await rig.engine.dispatcher.run(rig.executor.take())
        assert rig.engine.dispatcher.tries == {("out", "rejected"): 1, ("out", "retry"): 1}
