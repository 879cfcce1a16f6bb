"""What WeChat reports of a send, and what deliveries, bindings and the ledger make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.core.accounts import BindingState, Reservation
from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.outcome import Reason
from hub.store.tables import metadata
from tests.integration.wechat_of_test import ALICE, BOB, World, open_world, send_notice
from tests.sandbox.rig import MEETING, MP_TODO, Lab, open_lab
from tests.services import RedisServer

S = DeliveryState


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    with open_lab() as lab:
        yield lab


@pytest.fixture
async def world(running_lab: Lab, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    """Alice and Bob follow, and the hub is called."""
    running_lab.reset()
    redis_server.flush()
    async with open_world(running_lab, tmp_path, redis_server) as opened:
        await opened.hear()
        await opened.acquaint()
        yield opened


async def allow(world: World, times: int = 1, person: str = "alice") -> None:
    for _ in range(times):
        await world.do(world.lab.accept, MP_TODO, person=person)
        await asyncio.to_thread(world.lab.advance, 1)  # two clicks in one second would look like a repeat


# --- template messages


async def test_success_is_delivered(world: World) -> None:
    await world.notify("wechat_mp", ALICE, BOB)
    await world.settled()
    rows = await world.rows(world.mp)
    assert [row.state for row in rows] == [S.DELIVERED, S.DELIVERED]
    assert {row.provider_id for row in rows} == {
        f"{world.official.external_id}:{msgid}" for msgid in world.mp.msgids
    }
    assert world.after.calls == []


async def test_a_user_who_blocks_is_remembered_and_the_next_hop_has_its_turn(world: World) -> None:
    appid = world.official.external_id
    await world.do(world.lab.control, "PATCH", f"/people/alice/ties/{appid}", {"blocks_messages": True})
    await world.notify("wechat_mp", ALICE, BOB)
    await world.settled()
    await world.work()
    alice, bob = sorted(await world.rows(world.mp), key=lambda row: row.user)
    assert (alice.state, alice.reason, bob.state) == (S.FAILED, Reason.USER_BLOCK, S.DELIVERED)
    assert (await world.binding(world.mp.openids[ALICE])).state is BindingState.BLOCKED
    assert (await world.binding(world.mp.openids[BOB])).state is BindingState.ACTIVE
    assert [e.delivery.user for call in world.after.calls for e in call] == [ALICE]


async def test_a_failure_of_wechats_system_gives_the_next_hop_its_turn(world: World) -> None:
    await asyncio.to_thread(world.lab.chaos, fail=1.0)
    await world.notify("wechat_mp")
    await world.settled()
    await world.work()
    [row] = await world.rows(world.mp)
    assert (row.state, row.reason) == (S.FAILED, Reason.PROVIDER_DOWN)
    assert (await world.binding(world.mp.openids[ALICE])).state is BindingState.ACTIVE
    assert len(world.after.calls) == 1


# --- before its time, twice, late


@pytest.mark.parametrize("channel", ["wechat_mp", "miniprogram"])
async def test_a_receipt_that_comes_before_the_answer_is_not_lost(world: World, channel: str) -> None:
    await allow(world)
    await asyncio.to_thread(world.lab.chaos, early=1.0)
    await world.notify(channel)
    await world.settled()
    sender = world.mp if channel == "wechat_mp" else world.mini
    assert await world.states(sender) == [S.DELIVERED]
    assert (await world.grants(world.mini))[1] == 0


async def test_a_receipt_between_wechats_answer_and_our_saving_it_is_not_lost(world: World) -> None:
    await allow(world)
    for sender in (world.mp, world.mini):
        sender.before_answer = world.settled
        await world.notify(sender.name)
        assert await world.states(sender) == [S.DELIVERED]


async def test_duplicates_and_stragglers_change_nothing(world: World) -> None:
    await allow(world, times=3)
    await asyncio.to_thread(world.lab.chaos, duplicate=1.0, late=0.5, late_ms=100)
    for _ in range(3):
        await world.notify("miniprogram")
        await world.notify("wechat_mp")
    await world.settled()
    assert await world.states(world.mini) == [S.DELIVERED] * 3
    assert await world.states(world.mp) == [S.DELIVERED] * 3
    assert await world.grants(world.mini) == (0, 0, False)
    assert world.after.calls == []


async def test_a_receipt_of_a_send_that_was_not_ours_is_kept_for_a_while_and_harms_nobody(
    world: World,
) -> None:
    await world.do(world.lab.send, world.mp.openids[ALICE])
    await allow(world)
    await world.do(world.lab.subscribe_send, world.mini.openids[ALICE])
    assert world.counts["TemplateJobFinished", "done"] == 1
    assert world.counts["SubscribeSent", "done"] == 1
    assert await world.states(world.mini) == []


# --- subscribe messages whose answer was lost


async def test_a_send_whose_answer_was_lost_is_found_through_the_ledger(world: World) -> None:
    await allow(world, times=2)
    world.mini.lose = True
    await world.notify("miniprogram")
    assert await world.grants(world.mini) == (1, 1, False)
    await world.settled()
    [row] = await world.rows(world.mini)
    assert row.state is S.DELIVERED
    assert row.provider_id == f"{world.program.external_id}:{world.mini.msgids[0]}"
    assert await world.grants(world.mini) == (1, 0, False)
    again = await world.books.grants.reserve(world.mini.key(), row.id, now=world.rig.clock())
    assert again is Reservation.SPENT


async def test_the_same_for_a_notice_of_an_official_account(world: World) -> None:
    world.mp.send, world.mp.template, world.mp.ledger = send_notice, MEETING, True
    await world.do(world.lab.accept, MEETING, appid=world.official.external_id)
    world.mp.lose = True
    await world.notify("wechat_mp")
    await world.settled()
    assert await world.states(world.mp) == [S.DELIVERED]
    assert await world.grants(world.mp) == (0, 0, False)


async def test_where_two_sends_could_be_meant_neither_is_guessed(world: World) -> None:
    await allow(world, times=2)
    await asyncio.to_thread(world.lab.chaos, drop=1.0)
    world.mini.lose = True
    await world.notify("miniprogram")
    await asyncio.to_thread(world.lab.chaos)
    await world.notify("miniprogram")
    await world.settled()
    assert await world.states(world.mini) == [S.UNKNOWN, S.UNKNOWN]
    assert await world.grants(world.mini) == (0, 2, False)


async def test_a_lost_send_is_not_taken_for_one_that_is_just_being_saved(world: World) -> None:
    """The second has spent its grant, so only the first holds one when the second's receipt comes."""
    await allow(world, times=2)
    await asyncio.to_thread(world.lab.chaos, drop=1.0)
    world.mini.lose = True
    await world.notify("miniprogram")
    await asyncio.to_thread(world.lab.chaos)
    world.mini.lose, world.mini.before_answer = False, world.settled
    await world.notify("miniprogram")
    assert await world.states(world.mini) == [S.UNKNOWN, S.DELIVERED]
    assert await world.grants(world.mini) == (0, 1, False)


async def test_how_a_try_ended_is_noted_though_its_receipt_was_quicker(world: World) -> None:
    await allow(world)
    world.mini.before_answer = world.settled
    await world.notify("miniprogram")
    [row] = await world.rows(world.mini)
    attempt = metadata.tables["attempt"]
    query = select(attempt.c.outcome).where(attempt.c.delivery_id == row.id)
    assert row.state is S.DELIVERED
    assert [found.outcome for found in await world.rig.store.database.rows(query)] == ["accepted"]


async def test_another_persons_lost_send_is_not_meant(world: World) -> None:
    await allow(world)
    await allow(world, person="bob")
    await asyncio.to_thread(world.lab.chaos, drop=1.0)
    world.mini.lose = True
    await world.notify("miniprogram", ALICE)
    await asyncio.to_thread(world.lab.chaos)
    await world.do(world.lab.subscribe_send, world.mini.openids[BOB])
    assert await world.states(world.mini) == [S.UNKNOWN]


async def test_a_reservation_of_a_delivery_that_has_ended_is_not_meant(world: World) -> None:
    await allow(world, times=2)
    await world.notify("miniprogram")
    await world.settled()
    stray = DeliveryId("dlv_gone")
    await world.books.grants.reserve(world.mini.key(), stray, now=world.rig.clock())
    await world.do(world.lab.subscribe_send, world.mini.openids[ALICE])
    assert await world.grants(world.mini) == (0, 1, False)


async def test_a_subscribe_message_that_wechats_system_lost_has_spent_its_grant(world: World) -> None:
    await allow(world, times=2)
    await asyncio.to_thread(world.lab.chaos, fail=1.0)
    await world.notify("miniprogram")
    await world.settled()
    await world.work()
    [row] = await world.rows(world.mini)
    assert (row.state, row.reason) == (S.FAILED, Reason.PROVIDER_DOWN)
    assert await world.grants(world.mini) == (1, 0, False)
    assert len(world.after.calls) == 1
    world.mini.lose = True
    await world.notify("miniprogram")
    await world.settled()
    assert await world.states(world.mini) == [S.FAILED, S.FAILED]
    assert await world.grants(world.mini) == (0, 0, False)
