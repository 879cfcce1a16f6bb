"""Gates and turns on a real Redis: decided by one at a time, by Redis's clock, and kept when a process dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from hub.channels._wechat.backpressure import BreakerLimits, Pace
from hub.channels._wechat.errcodes import failure_of
from hub.channels._wechat.gates import GateKey, Gates
from hub.channels._wechat.turns import Turns
from hub.core.accounts import AccountId
from hub.redis_link import LinkLimits, RedisLink, open_redis
from tests.services import RedisServer

KEY = GateKey(AccountId("acc_1"), "template_send")
ANN, BOB = ("wx1", "oAnn"), ("wx1", "oBob")
SECOND = timedelta(seconds=1)
SLOW = Pace(per_second=0.001, burst=100)
LIMITS = BreakerLimits(failures=3, first=SECOND / 4, longest=SECOND, probe=SECOND / 4)


class Room:
    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url, self._stack = url, stack

    async def link(self) -> RedisLink:
        limits = LinkLimits(pause=timedelta(milliseconds=20))
        return await self._stack.enter_async_context(open_redis(self.url, limits))

    async def gates(self, *, skew: timedelta = timedelta(0)) -> Gates:
        return Gates(await self.link(), limits=LIMITS, clock=lambda: datetime.now(UTC) + skew)


@pytest.fixture
async def room(redis_server: RedisServer) -> AsyncIterator[Room]:
    redis_server.flush()
    async with AsyncExitStack() as stack:
        yield Room(redis_server.url, stack)


async def test_what_many_take_at_once_is_never_more_than_there_is(room: Room) -> None:
    processes = [await room.gates() for _ in range(8)]
    passages = await asyncio.gather(*(gates.enter(KEY, 7, SLOW) for gates in processes for _ in range(4)))
    assert sum(passage.admitted for passage in passages) == 100
    assert all(len(passage.waits) == 7 - passage.admitted for passage in passages)


async def test_what_was_not_used_is_given_back(room: Room) -> None:
    gates = await room.gates()
    assert (await gates.enter(KEY, 100, SLOW)).admitted == 100
    await gates.leave(KEY, [None] * 60, SLOW, unused=40)
    assert (await (await room.gates()).enter(KEY, 100, SLOW)).admitted == 40


async def test_a_machine_with_a_wrong_clock_neither_gains_nor_costs(room: Room) -> None:
    ahead, behind = await room.gates(skew=timedelta(hours=1)), await room.gates(skew=-timedelta(hours=1))
    assert (await ahead.enter(KEY, 100, SLOW)).admitted == 100
    assert (await behind.enter(KEY, 10, SLOW)).admitted == 0
    assert (await ahead.enter(KEY, 10, SLOW)).admitted == 0


async def test_a_probe_that_was_not_sent_leaves_the_next_one_free(room: Room) -> None:
    gates, pace = await room.gates(), Pace()
    await gates.enter(KEY, 3, pace)
    await gates.leave(KEY, [failure_of(-1, "")] * 3, pace, unused=0)
    assert (await gates.enter(KEY, 5, pace)).admitted == 0
    await asyncio.sleep(0.3)
    assert (await gates.enter(KEY, 5, pace)).admitted == 1
    assert (await gates.enter(KEY, 5, pace)).admitted == 0
    await gates.leave(KEY, [], pace, unused=1)
    assert (await gates.enter(KEY, 5, pace)).admitted == 1


async def test_what_another_release_wrote_counts_as_nothing(room: Room) -> None:
    link = await room.link()
    gates = await room.gates()
    await gates.enter(KEY, 1, SLOW)
    (name,) = await link.ask("KEYS", "hub:wx:gate:*")
    for text in ("{}", "[]", "nonsense", '{"t":[1],"p":null}'):
        await link.ask("SET", name, text)
        assert (await gates.enter(KEY, 100, SLOW)).admitted == 100


async def test_one_person_is_sent_to_by_one_process(room: Room) -> None:
    first, second = Turns(await room.link()), Turns(await room.link())
    async with first.taken([ANN]) as hand:
        assert ANN in hand
        async with second.taken([ANN, BOB]) as other:
            assert ANN not in other
            assert BOB in other
        async with first.taken([ANN]) as same:
            assert ANN not in same
        await hand.done(ANN)
        async with second.taken([ANN]) as other:
            assert ANN in other
    async with second.taken([ANN, BOB]) as other:
        assert ANN in other
        assert BOB in other


async def test_a_turn_lasts_as_long_as_it_is_needed(room: Room) -> None:
    first, second = Turns(await room.link(), hold=SECOND / 5), Turns(await room.link(), hold=SECOND / 5)
    async with first.taken([ANN]):
        await asyncio.sleep(0.5)
        async with second.taken([ANN]) as other:
            assert ANN not in other


async def test_the_turn_of_a_process_that_died_ends(room: Room) -> None:
    first, second = Turns(await room.link(), hold=SECOND / 5), Turns(await room.link(), hold=SECOND / 5)
    dying = first.taken([ANN])
    await dying.__aenter__()
    for task in asyncio.all_tasks():
        if "_keep" in repr(task.get_coro()):
            task.cancel()
    async with second.taken([ANN]) as other:
        assert ANN not in other
    await asyncio.sleep(0.3)
    async with second.taken([ANN]) as other:
        assert ANN in other
    await dying.__aexit__(None, None, None)


async def test_only_one_of_many_has_a_turn_at_any_time(room: Room) -> None:
    processes = [Turns(await room.link()) for _ in range(5)]
    inside, most, had = 0, 0, 0

    async def send(turns: Turns) -> None:
        nonlocal inside, most, had
        while True:
            async with turns.taken([ANN]) as hand:
                if ANN in hand:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0.005)
                    inside -= 1
                    had += 1
                    return
            await asyncio.sleep(0.005)

    async with asyncio.timeout(20):
        await asyncio.gather(*(send(turns) for turns in processes for _ in range(6)))
    assert (most, had) == (1, 30)


async def test_without_redis_turns_hold_within_the_process() -> None:
    async with open_redis("unix:///nowhere.sock") as link:
        turns = Turns(link)
        async with turns.taken([ANN]) as hand, turns.taken([ANN, BOB]) as other:
            assert ANN in hand
            assert ANN not in other
            assert BOB in other
        async with turns.taken([ANN]) as hand:
            assert ANN in hand
