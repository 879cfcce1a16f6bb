"""Whoever dies between a commit and what follows from it leaves nothing undone: each test ends a process at one chosen
place, and lets the sweep of another come by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from hub.core.channel import Envelope, Lane
from hub.core.delivery import Delivery, DeliveryId, DeliveryState, Step
from hub.core.errors import Unavailable
from hub.core.lifecycle import advance
from hub.core.message import DeviceKey, UserKey
from hub.core.outcome import Delivered, Outcome
from hub.core.policy import Hop, Policy, Success
from hub.core.receipts import encode
from hub.core.retry import RetryPolicy
from hub.store.tables import metadata
from tests.fakes.channel import ScriptedChannel, accept
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

S = DeliveryState
ALICE = UserKey(1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RECEIPT = Policy((Hop("out", Success.DELIVERED, 3 * HOUR), Hop("next", Success.ACCEPTED)))
DEVICE = Policy((Hop("ws", Success.DELIVERED, MINUTE), Hop("next", Success.ACCEPTED)), stop_on=())
READER = Policy((Hop("ws", Success.READ, MINUTE), Hop("next", Success.ACCEPTED)), stop_on=())


class Scene:
    """An engine with a socket channel and two outside ones, all scripted."""

    def __init__(self, rig: Rig, ws: ScriptedChannel, out: ScriptedChannel, after: ScriptedChannel) -> None:
        self.rig, self.ws, self.out, self.after = rig, ws, out, after

    async def tell(self, *users: int, policy: Policy = RECEIPT) -> list[Delivery]:
        draft = self.rig.notice(*(users or (1,)), policy=policy)
        await self.rig.engine.submit(draft)
        await self.rig.engine.drain()
        assert draft.notification is not None
        self.notification = draft.notification.id
        return await self.rows()

    async def phone(self) -> DeviceKey:
        """A device of Alice."""
        values = {
            "user_id": ALICE,
            "device_id": "phone",
            "platform": "app",
            "name": "",
            "cursor": 0,
            "created_at": self.rig.clock(),
            "last_seen_at": self.rig.clock(),
        }
        async with self.rig.store.database.writing() as connection:
            made = await connection.execute(insert(metadata.tables["device"]).values(values))
            assert made.inserted_primary_key is not None
        return DeviceKey(made.inserted_primary_key[0])

    async def rows(self) -> list[Delivery]:
        found = await self.rig.store.of_notifications(APP, [self.notification])
        return sorted(found, key=lambda row: (row.user, row.hop))

    async def states(self) -> list[tuple[str, str]]:
        return [(row.channel, row.state.value) for row in await self.rows()]

    async def work(self) -> None:
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def later(self, by: timedelta) -> None:
        self.rig.clock.advance(by)
        await self.rig.engine.dispatcher.sweep(limit=100)
        await self.work()


@pytest.fixture
async def scene(tmp_path: Path, database_url: str, redis_server: RedisServer) -> AsyncIterator[Scene]:
    redis_server.flush()
    ws, out, after = ScriptedChannel("ws"), ScriptedChannel("out", batch=2), ScriptedChannel("next")
    ws.capabilities = replace(
        ws.capabilities, lane=Lane.INLINE, receipt_within=None, knows_presence=True, batch=100
    )
    out.capabilities = replace(out.capabilities, receipt_within=2 * HOUR)
    settings = test_settings(tmp_path, database_url, redis_server.url)
    async with open_rig(settings, ws, out, after, retry=RetryPolicy(attempts=3)) as rig:
        yield Scene(rig, ws, out, after)


def away_for(rig: Rig, monkeypatch: pytest.MonkeyPatch, times: int, *, when: Any) -> list[int]:
    """The database does not save `times` times, once `when` holds."""
    left, save = [times], rig.store.save

    async def saving(changes: Sequence[Delivery], **more: Any) -> frozenset[DeliveryId]:
        if left[0] and when():
            left[0] -= 1
            raise Unavailable("store_unavailable", "away")
        return await save(changes, **more)

    monkeypatch.setattr(rig.store, "save", saving)
    return left


async def test_what_a_provider_answered_is_written_when_the_database_is_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.tell()
    left = away_for(scene.rig, monkeypatch, 2, when=lambda: scene.out.calls)
    await scene.work()
    assert left == [0]
    (row,) = await scene.rows()
    assert (row.state, row.provider_id, row.attempts) == (S.ACCEPTED, f"p-{row.id}", 1)


async def test_what_is_answered_after_the_lease_is_not_written_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(envelope: Envelope) -> Outcome:
        scene.rig.clock.advance(scene.rig.settings.delivery_lease)
        return accept(envelope)

    scene.out.behaviour = slow
    await scene.tell()
    away_for(scene.rig, monkeypatch, 99, when=lambda: scene.out.calls)
    with pytest.raises(Unavailable):
        await scene.work()


async def test_a_receipt_that_was_parked_before_a_long_outage_is_heard_before_the_send_lapses(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = await scene.tell()
    await scene.work()
    await scene.rig.store.park_receipt("out", f"p-{row.id}", encode(Delivered()), scene.rig.clock())
    await scene.later(4 * HOUR)
    assert await scene.states() == [("out", "delivered")]
    assert scene.after.calls == []


async def test_what_a_device_acknowledged_is_delivered_though_nobody_lived_to_settle_it(scene: Scene) -> None:
    (row,) = await scene.tell(policy=DEVICE)
    await scene.rig.store.move_cursors({await scene.phone(): row.user_seq})
    await scene.later(2 * MINUTE)
    assert await scene.states() == [("ws", "delivered")]


async def test_what_was_read_goes_no_further_though_nobody_lived_to_settle_it(scene: Scene) -> None:
    (row,) = await scene.tell(policy=READER)
    await scene.rig.store.move_read(ALICE, row.conversation, row.seq)
    await scene.later(2 * MINUTE)
    assert await scene.states() == [("ws", "accepted")]
    assert (await scene.rows())[0].read


async def test_an_unread_one_goes_further_as_before(scene: Scene) -> None:
    await scene.tell(policy=READER)
    await scene.later(2 * MINUTE)
    assert await scene.states() == [("ws", "accepted"), ("next", "accepted")]


async def test_a_receipt_that_loses_every_race_is_not_taken_for_settled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = await scene.tell()
    await scene.work()
    save = scene.rig.store.save

    async def overtaken(changes: Sequence[Delivery], **more: Any) -> frozenset[DeliveryId]:
        return frozenset()

    monkeypatch.setattr(scene.rig.store, "save", overtaken)
    with pytest.raises(Unavailable):  # so that WeChat is told to come again
        await scene.rig.engine.dispatcher.receive("out", f"p-{row.id}", Delivered())
    await scene.rig.store.park_receipt("out", f"p-{row.id}", encode(Delivered()), scene.rig.clock())
    with pytest.raises(Unavailable):
        await scene.rig.engine.dispatcher.settle_overtaken(limit=10)
    monkeypatch.setattr(scene.rig.store, "save", save)
    assert await scene.rig.engine.dispatcher.settle_overtaken(limit=10) == 1
    assert await scene.states() == [("out", "delivered")]


async def test_a_parked_receipt_that_cannot_be_read_holds_up_nobody(scene: Scene) -> None:
    await scene.tell(1, 2)
    await scene.work()
    one, other = await scene.rows()
    await scene.rig.store.park_receipt("out", f"p-{one.id}", '{"kind": "of 2031"}', scene.rig.clock())
    await scene.rig.store.park_receipt("out", f"p-{other.id}", encode(Delivered()), scene.rig.clock())
    await scene.later(MINUTE)
    assert await scene.states() == [("out", "accepted"), ("out", "delivered")]


async def test_a_task_begins_no_call_that_its_own_end_would_cut_off(scene: Scene) -> None:
    """Of many ids in one task, those that time does not suffice for stay queued: a call that is cut off would be in
    doubt, though it was answered."""

    def slow(envelope: Envelope) -> Outcome:
        scene.rig.clock.advance(scene.rig.settings.delivery_lease / 2)
        return accept(envelope)

    scene.out.behaviour = slow
    await scene.tell(*range(1, 7))
    await scene.rig.engine.dispatcher.run(scene.rig.executor.take())
    assert [state for _, state in await scene.states()].count("queued") == 4
    scene.out.behaviour = accept
    await scene.later(MINUTE)
    assert {state for _, state in await scene.states()} == {"accepted"}


async def test_acknowledgements_on_their_way_are_kept_when_a_node_closes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = await scene.tell(policy=DEVICE)
    phone = await scene.phone()
    begun, move = asyncio.Event(), scene.rig.store.move_cursors

    async def moving(devices: Any) -> None:
        begun.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(scene.rig.store, "move_cursors", moving)
    scene.rig.engine.ack(phone, ALICE, row.user_seq)
    await asyncio.wait_for(begun.wait(), 5)
    monkeypatch.setattr(scene.rig.store, "move_cursors", move)
    await scene.rig.engine.cursors.__aexit__()
    assert await scene.rig.store.acknowledged({ALICE}) == {ALICE: row.user_seq}


async def test_starts_that_pile_up_are_left_to_the_sweep(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that takes seconds to say no must not fill the memory of a node that goes on accepting."""
    monkeypatch.setattr("hub.core.engine._MOST_STARTS", 2)
    free, asked = asyncio.Event(), scene.rig.executor.schedule

    async def hanging(channel: str, deliveries: Collection[DeliveryId], **more: Any) -> None:
        await free.wait()
        await asked(channel, list(deliveries), **more)

    monkeypatch.setattr(scene.rig.executor, "schedule", hanging)
    for user in range(1, 6):
        await scene.rig.engine.submit(scene.rig.notice(user, policy=RECEIPT))
    assert scene.rig.engine.starts_left == 3
    free.set()
    await scene.rig.engine.drain()
    assert len(scene.rig.executor.take()) == 2
    await scene.rig.engine.dispatcher.sweep(limit=100)
    assert len(scene.rig.executor.take()) == 5


async def test_a_row_that_cannot_be_decided_about_holds_up_none_of_the_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those in one task with it, nor those in one page of the sweep."""
    rows = await scene.tell(1, 2, 3)
    bad = rows[1].id

    def deciding(delivery: Delivery, *event: Any, **more: Any) -> Step:
        if delivery.id == bad:
            raise OverflowError
        return advance(delivery, *event, **more)

    monkeypatch.setattr("hub.core.advancing.advance", deciding)
    await scene.work()
    assert [state for _, state in await scene.states()] == ["accepted", "queued", "accepted"]
    claimed = replace(rows[1], state=S.ATTEMPTING, due_at=scene.rig.clock())
    assert await scene.rig.store.save([claimed])
    await scene.later(4 * HOUR)
    assert [state for _, state in await scene.states()].count("attempting") == 1
    assert len(scene.after.calls) == 1
    assert {e.delivery.user for call in scene.after.calls for e in call} == {1, 3}


class Witnessing(ScriptedChannel):
    """Writes down what it sends before it does."""

    def __init__(self) -> None:
        super().__init__("out", repeatable=False)
        self.capabilities = replace(self.capabilities, receipt_within=2 * HOUR)
        self.noted: set[DeliveryId] = set()

    async def unsent(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        return [delivery for delivery in deliveries if delivery not in self.noted]


async def test_a_worker_lost_before_it_sent_anything_costs_no_waiting(scene: Scene) -> None:
    """Of two that were claimed, one had been written down as being sent."""
    channel = Witnessing()
    scene.rig.engine.channels._channels = {**scene.rig.engine.channels._channels, "out": channel}
    one, other = await scene.tell(1, 2)
    channel.hang = True
    lost = asyncio.create_task(scene.work())
    while not channel.calls:
        await asyncio.sleep(0.01)
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    channel.hang = False
    channel.noted.add(one.id)
    await scene.later(scene.rig.settings.delivery_lease + MINUTE)
    await scene.later(MINUTE)
    states = {row.id: row.state for row in await scene.rows()}
    assert states == {one.id: S.UNKNOWN, other.id: S.ACCEPTED}
