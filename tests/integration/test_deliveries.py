"""Deliveries through a channel that accepts, refuses, times out and crashes: every one ends, and none is doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.core.channel import Envelope
from hub.core.delivery import Canceled, Delivery, DeliveryState
from hub.core.identity import EndUser
from hub.core.message import UserKey
from hub.core.outcome import Accepted, Delivered, Outcome, Reason, Rejected
from hub.core.policy import Hop, OnUnknown, Policy, Success
from hub.core.receipts import encode
from hub.core.retry import RetryPolicy
from tests.fakes.channel import (
    ScriptedChannel,
    accept,
    busy,
    refuse,
    time_out_after_sending,
)
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

S = DeliveryState
ALICE = UserKey(1)
MINUTE = timedelta(minutes=1)
FALL_BACK = Policy(
    (Hop("first", Success.DELIVERED, wait=MINUTE), Hop("second", Success.ACCEPTED)),
    on_unknown=OnUnknown.NEXT,
)


class Scene:
    """An engine with two scripted channels, and shortcuts."""

    def __init__(self, rig: Rig, first: ScriptedChannel, second: ScriptedChannel) -> None:
        self.rig = rig
        self.first = first
        self.second = second

    async def notify(
        self, *users: int, policy: Policy = FALL_BACK, expires_in: timedelta | None = None
    ) -> None:
        await self.rig.engine.submit(self.rig.notice(*(users or (1,)), policy=policy, expires_in=expires_in))
        await self.rig.engine.drain()

    async def work(self) -> None:
        """Run what the executor was asked for, as a worker would."""
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def later(self, by: timedelta) -> None:
        """Time passes, the sweep comes by, a worker works."""
        self.rig.clock.advance(by)
        await self.rig.engine.dispatcher.sweep(limit=1_000)
        await self.work()

    async def rows(self) -> list[Delivery]:
        """All deliveries, by user and hop."""
        everyone = [UserKey(n) for n in range(1, 21)]
        found: dict[str, Delivery] = {d.id: d for d in await self.rig.store.open_of_users(everyone)}
        table = await self.rig.store.due(
            now=self.rig.clock() + timedelta(days=999), channels=None, limit=10_000
        )
        found.update({d.id: d for d in table})
        known = {e.delivery.id for c in (self.first, self.second) for call in c.calls for e in call}
        found.update({d.id: d for d in await self.rig.store.deliveries(known)})
        return sorted(found.values(), key=lambda d: (d.user, d.hop))

    async def states(self) -> list[tuple[str, DeliveryState]]:
        return [(d.channel, d.state) for d in await self.rows()]


async def called(channel: ScriptedChannel) -> None:
    """Wait until the channel has been asked for something."""
    async with asyncio.timeout(10):
        while not channel.calls:
            await asyncio.sleep(0.01)


@pytest.fixture
async def scene(
    tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer
) -> AsyncIterator[Scene]:
    redis_server.flush()
    first, second = ScriptedChannel("first", repeatable=False), ScriptedChannel("second")
    settings = test_settings(tmp_path, storage[0], redis_server.url).model_copy(update=storage[1])
    retry = RetryPolicy(attempts=3, base=timedelta(seconds=2), cap=timedelta(seconds=10))
    async with open_rig(settings, first, second, retry=retry) as rig:
        yield Scene(rig, first, second)


async def test_an_accepted_send_is_delivered_by_its_receipt(scene: Scene) -> None:
    await scene.notify()
    await scene.work()
    (row,) = await scene.rows()
    assert (row.state, row.attempts, row.provider_id) == (S.ACCEPTED, 1, f"p-{row.id}")
    found = await scene.rig.store.by_provider_id("first", f"p-{row.id}")
    assert found is not None
    await scene.rig.engine.dispatcher.settle(found.id, Delivered())
    await scene.later(10 * MINUTE)
    assert await scene.states() == [("first", S.DELIVERED)]


async def test_a_receipt_that_overtakes_its_id_is_not_lost(scene: Scene) -> None:
    await scene.notify()
    (delivery,) = (ids := scene.rig.executor.take())
    await scene.rig.engine.dispatcher.receive("first", f"p-{delivery}", Delivered(detail="早到 early"))
    assert await scene.states() == [("first", S.QUEUED)]
    await scene.rig.engine.dispatcher.run(ids)
    assert await scene.states() == [("first", S.DELIVERED)]
    await scene.rig.engine.dispatcher.receive("first", f"p-{delivery}", Rejected(Reason.USER_BLOCK))
    assert await scene.states() == [("first", S.DELIVERED)]


async def test_a_receipt_whose_settler_died_is_settled_by_the_sweep(scene: Scene) -> None:
    """Killed between saving the provider's id and settling what had been parked for it."""
    await scene.notify()
    await scene.work()
    (row,) = await scene.rows()
    receipt = encode(Delivered(detail="早到 early"))
    await scene.rig.store.park_receipt("first", f"p-{row.id}", receipt, scene.rig.clock())
    await scene.rig.engine.dispatcher.sweep(limit=100)
    assert await scene.states() == [("first", S.DELIVERED)]
    assert await scene.rig.engine.dispatcher.settle_overtaken(limit=100) == 0


async def test_a_receipt_of_refusal_falls_to_the_next_hop(scene: Scene) -> None:
    await scene.notify()
    await scene.work()
    (row,) = await scene.rows()
    await scene.rig.engine.dispatcher.receive("first", f"p-{row.id}", Rejected(Reason.USER_BLOCK))
    await scene.work()
    assert await scene.states() == [("first", S.FAILED), ("second", S.ACCEPTED)]


async def test_a_refusal_falls_to_the_next_hop_at_once(scene: Scene) -> None:
    scene.first.behaviour = refuse
    await scene.notify()
    await scene.work()
    assert await scene.states() == [("first", S.FAILED), ("second", S.ACCEPTED)]


async def test_no_receipt_in_time_falls_to_the_next_hop_once(scene: Scene) -> None:
    await scene.notify()
    await scene.work()
    await scene.later(timedelta(seconds=59))
    assert await scene.states() == [("first", S.ACCEPTED)]
    await scene.later(timedelta(seconds=2))
    await scene.later(MINUTE)
    assert await scene.states() == [("first", S.ACCEPTED), ("second", S.ACCEPTED)]
    assert len(scene.second.calls) == 1


async def test_busy_is_tried_again_and_then_given_up(scene: Scene) -> None:
    scene.first.behaviour = busy
    await scene.notify()
    await scene.work()
    for _ in range(6):
        await scene.later(timedelta(seconds=20))
    rows = await scene.rows()
    assert [(r.channel, r.state, r.attempts) for r in rows] == [
        ("first", S.FAILED, 3),
        ("second", S.ACCEPTED, 1),
    ]
    assert rows[0].reason is Reason.ATTEMPTS_EXHAUSTED


async def test_a_near_retry_is_asked_for_by_countdown(scene: Scene) -> None:
    scene.first.behaviour = busy
    await scene.notify()
    await scene.rig.engine.dispatcher.run(scene.rig.executor.take())
    ((channel, ids, delay),) = scene.rig.executor.asked
    assert (channel, len(ids), delay) == ("first", 1, timedelta(seconds=1))


async def test_a_lost_request_is_found_by_the_sweep(scene: Scene) -> None:
    scene.rig.executor.lose = True
    await scene.notify()
    scene.rig.executor.lose = False
    await scene.work()
    assert await scene.states() == [("first", S.QUEUED)]
    await scene.later(timedelta(seconds=1))
    assert await scene.states() == [("first", S.ACCEPTED)]


async def test_a_time_out_after_sending_is_not_repeated_where_the_provider_would_double_it(
    scene: Scene,
) -> None:
    scene.first.behaviour = time_out_after_sending
    await scene.notify()
    await scene.work()
    for _ in range(3):
        await scene.later(timedelta(seconds=15))
    assert await scene.states() == [("first", S.UNKNOWN)]
    assert set(scene.first.sent.values()) == {1}
    await scene.later(MINUTE)
    assert await scene.states() == [("first", S.UNKNOWN), ("second", S.ACCEPTED)]


async def test_a_hanging_and_a_crashing_channel_count_as_may_have_happened(scene: Scene) -> None:
    scene.first.hang = True
    await scene.notify()
    await scene.work()
    assert [(r.state, r.reason) for r in await scene.rows()] == [(S.UNKNOWN, Reason.TIMED_OUT)]
    scene.first.hang, scene.first.crash = False, ValueError("bug")
    await scene.notify(2)
    await scene.work()
    assert [(r.state, r.reason) for r in await scene.rows()][1] == (S.UNKNOWN, Reason.ADAPTER_BUG)


async def test_a_dead_worker_loses_its_lease_and_nothing_else(scene: Scene) -> None:
    """Where a repeat is harmless the delivery is tried again, where it is not it is held as unknown."""
    scene.second.hang = True
    await scene.notify(policy=Policy((Hop("second", Success.ACCEPTED),)))
    dying = asyncio.create_task(scene.rig.engine.dispatcher.run(scene.rig.executor.take()))
    await called(scene.second)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    scene.second.hang = False
    assert await scene.states() == [("second", S.ATTEMPTING)]
    await scene.later(scene.rig.settings.delivery_lease + timedelta(seconds=1))
    await scene.later(timedelta(seconds=20))
    assert await scene.states() == [("second", S.ACCEPTED)]


async def test_a_lease_is_taken_a_call_at_a_time(scene: Scene) -> None:
    scene.first.hang = True
    await scene.notify(*range(1, 21))
    dying = asyncio.create_task(scene.rig.engine.dispatcher.run(scene.rig.executor.take()))
    await called(scene.first)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    states = [state for _, state in await scene.states()]
    assert (states.count(S.ATTEMPTING), states.count(S.QUEUED)) == (10, 10)


async def test_two_workers_race_and_one_sends(scene: Scene) -> None:
    await scene.notify(*range(1, 21))
    ids = scene.rig.executor.take()
    await asyncio.gather(*(scene.rig.engine.dispatcher.run(ids) for _ in range(4)))
    assert sorted(scene.first.sent.values()) == [1] * 20
    assert {state for _, state in await scene.states()} == {S.ACCEPTED}


async def test_reading_stops_what_is_still_planned(scene: Scene) -> None:
    await scene.notify()
    await scene.work()
    history = await scene.rig.engine.sync(ALICE, after=0, limit=1)
    message = history.entries[0][1]
    assert message is not None
    reader = EndUser(APP, ALICE, "u1", scene.rig.clock())
    await scene.rig.engine.read(reader, message.conversation, message.seq)
    await scene.later(10 * MINUTE)
    (row,) = await scene.rows()
    assert (row.state, row.read) == (S.ACCEPTED, True)
    assert scene.second.calls == []


async def test_a_policy_that_does_not_stop_on_reading_goes_on(scene: Scene) -> None:
    await scene.notify(policy=replace(FALL_BACK, stop_on=()))
    await scene.work()
    page = await scene.rig.engine.sync(ALICE, after=0, limit=1)
    message = page.entries[0][1]
    assert message is not None
    reader = EndUser(APP, ALICE, "u1", scene.rig.clock())
    await scene.rig.engine.read(reader, message.conversation, message.seq)
    await scene.later(2 * MINUTE)
    assert await scene.states() == [("first", S.ACCEPTED), ("second", S.ACCEPTED)]


async def test_reading_is_the_success_that_a_hop_waited_for_even_where_it_stops_nothing_else(
    scene: Scene,
) -> None:
    hops = (Hop("first", Success.READ, wait=MINUTE), Hop("second", Success.ACCEPTED))
    await scene.notify(policy=Policy(hops, stop_on=()))
    await scene.work()
    page = await scene.rig.engine.sync(ALICE, after=0, limit=1)
    message = page.entries[0][1]
    assert message is not None
    reader = EndUser(APP, ALICE, "u1", scene.rig.clock())
    await scene.rig.engine.read(reader, message.conversation, message.seq)
    await scene.later(2 * MINUTE)
    assert [channel for channel, _ in await scene.states()] == ["first"]


async def test_what_has_expired_is_not_sent(scene: Scene) -> None:
    await scene.notify(expires_in=timedelta(seconds=5))
    scene.rig.clock.advance(timedelta(seconds=6))
    await scene.rig.engine.dispatcher.run(scene.rig.executor.take())
    assert scene.first.calls == []
    assert await scene.states() == []


async def test_a_canceled_delivery_is_not_sent(scene: Scene) -> None:
    await scene.notify()
    ids = scene.rig.executor.take()
    await scene.rig.engine.dispatcher.settle(ids[0], Canceled(Reason.RECALLED))
    await scene.rig.engine.dispatcher.run(ids)
    assert scene.first.calls == []


async def test_an_unknown_channel_is_a_refusal_not_a_loop(scene: Scene) -> None:
    await scene.notify(policy=Policy((Hop("pigeon"), Hop("second", Success.ACCEPTED))))
    await scene.work()
    assert ("second", S.ACCEPTED) in await scene.states()


async def test_every_delivery_ends_under_a_wild_provider(scene: Scene) -> None:
    dice = random.Random(7)

    def wild(envelope: Envelope) -> Outcome:
        return dice.choice([accept, busy, refuse, time_out_after_sending])(envelope)

    scene.first.behaviour = scene.second.behaviour = wild
    for _ in range(5):
        await scene.notify(*range(1, 21))
    for _ in range(40):
        await scene.later(timedelta(seconds=20))
        for row in await scene.rows():
            if row.state is S.ACCEPTED and dice.random() < 0.3:
                await scene.rig.engine.dispatcher.settle(row.id, Delivered())
    at_rest = {S.DELIVERED, S.FAILED, S.ACCEPTED, S.UNKNOWN, S.SKIPPED}
    rows = await scene.rows()
    assert {row.state for row in rows} <= at_rest
    assert [row for row in rows if row.due_at is not None] == []
    assert all(count == 1 for count in scene.first.sent.values())


async def test_a_late_answer_does_not_undo_an_early_receipt(scene: Scene) -> None:
    def receipt_first(envelope: Envelope) -> Outcome:
        return Accepted("p-early")

    scene.first.behaviour = receipt_first
    await scene.notify()
    ids = scene.rig.executor.take()
    await scene.rig.engine.dispatcher.run(ids)
    await scene.rig.engine.dispatcher.settle(ids[0], Delivered())
    await scene.rig.engine.dispatcher.settle(ids[0], Accepted("p-early"))
    assert await scene.states() == [("first", S.DELIVERED)]
