"""Routing over several notifications: caps, digests, newer ones, appointments, and what is taken back or replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.core.control import RecallResult, ReplayFilter, ScheduledState
from hub.core.errors import Conflict, NotFound
from hub.core.message import AppId, IdempotencyClaim
from hub.core.outcome import Reason, Retry
from hub.core.policy import Hop, Policy, Success
from tests.fakes.channel import accept, busy, refuse
from tests.integration.routing_of_test import (
    ALICE,
    BOTH,
    HOUR,
    MINUTE,
    ONE,
    S,
    Scene,
    open_scene,
    told,
)
from tests.services import RedisServer
from tests.support.engine import APP


@pytest.fixture
async def scene(
    tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer
) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path, storage, redis_server) as opened:
        yield opened


async def test_a_cap_holds_across_everything_that_an_app_sends(scene: Scene) -> None:
    await scene.set_app(caps=[{"count": 2, "per": "PT24H", "channel": "wechat_mp"}])
    await scene.at("12:00")
    told = [await scene.tell(1, 2, policy=ONE, category=f"c{n}") for n in range(4)]
    critical = await scene.tell(policy=ONE, priority="critical")
    ids = scene.rig.executor.take()
    await asyncio.gather(*(scene.rig.engine.dispatcher.run([*ids, *ids]) for _ in range(3)))
    states = [state for one in told for _, state, _ in await scene.story(one)]
    assert (states.count("accepted"), states.count("skipped")) == (4, 4)
    assert await scene.story(critical) == [("wechat_mp", "accepted", None)]
    scene.rig.clock.advance(timedelta(days=1))
    tomorrow = await scene.tell(policy=ONE)
    await scene.work()
    assert await scene.story(tomorrow) == [("wechat_mp", "accepted", None)]


async def test_a_cap_may_defer_to_its_next_window_and_counts_a_delivery_once(scene: Scene) -> None:
    await scene.set_app(caps=[{"count": 1, "per": "PT1H", "then": "defer"}])
    await scene.at("12:00")
    scene.mp.behaviour = lambda _: Retry(Reason.PROVIDER_RATE_LIMITED, MINUTE, tried=False)
    first = await scene.tell(policy=ONE)
    await scene.work()
    scene.mp.behaviour = accept
    second = await scene.tell(policy=ONE)
    await scene.work()
    assert (await scene.story(second))[0][1:] == ("waiting", "frequency_cap")
    await scene.later(2 * MINUTE)
    assert (await scene.story(first))[0][1] == "accepted"
    await scene.later(HOUR)
    assert (await scene.story(second))[0][1] == "accepted"


async def test_a_digest_sends_once_for_all_that_came_in_its_window(scene: Scene) -> None:
    policy = replace(ONE, digest=10 * MINUTE)
    told = [await scene.tell(1, 2, policy=policy, digest_key="weekly") for _ in range(5)]
    ids = scene.rig.executor.take()
    await asyncio.gather(*(scene.rig.engine.dispatcher.run(ids) for _ in range(3)))
    assert {state for one in told for _, state, _ in await scene.story(one)} == {"waiting"}
    await scene.later(10 * MINUTE + timedelta(seconds=1))
    for _ in range(3):
        await scene.later(timedelta(seconds=10))
    sent = [envelope for call in scene.mp.calls for envelope in call]
    assert sorted(e.recipient.user_id for e in sent) == ["u1", "u2"]
    assert [e.digest_of for e in sent] == [5, 5]
    reasons = [(state, reason) for one in told for _, state, reason in await scene.story(one)]
    assert reasons.count(("skipped", "digested")) == 8
    later = await scene.tell(policy=policy, digest_key="weekly")
    await scene.work()
    assert (await scene.story(later))[0][1] == "waiting"


async def test_what_is_read_meanwhile_is_not_in_the_digest_and_the_others_are_told(scene: Scene) -> None:
    policy = replace(ONE, digest=10 * MINUTE)
    first = await scene.tell(policy=policy)
    await scene.work()
    await scene.read()
    second, third = await scene.tell(policy=policy), await scene.tell(policy=policy)
    await scene.work()
    await scene.later(10 * MINUTE + timedelta(seconds=1))
    await scene.later(timedelta(seconds=10))
    assert await scene.story(first) == [("wechat_mp", "canceled", "read")]
    states = [(await scene.story(one))[0][1:] for one in (second, third)]
    assert sorted(states, key=str) == [("accepted", None), ("skipped", "digested")]
    assert [e.digest_of for call in scene.mp.calls for e in call] == [2]


async def test_a_newer_one_of_the_same_key_supersedes_what_has_not_left(scene: Scene) -> None:
    scene.mp.behaviour = busy
    old = await scene.tell(1, 2, policy=ONE, collapse_key="task:2")
    await scene.work()
    new = await scene.tell(1, policy=ONE, collapse_key="task:2")
    scene.mp.behaviour = accept
    await scene.later(MINUTE)
    assert await scene.story(old) == [
        ("wechat_mp", "canceled", "superseded"),
        ("wechat_mp", "accepted", None),
    ]
    assert await scene.story(new) == [("wechat_mp", "accepted", None)]


async def test_what_was_superseded_unnoticed_is_found_when_it_is_claimed(scene: Scene) -> None:
    await scene.prefer(quiet_hours={"start": "22:00", "end": "08:00"})
    old = await scene.tell(policy=ONE, collapse_key="k")
    ids = scene.rig.executor.take()
    draft = scene.draft(policy=replace(ONE, hops=(Hop("ws"),)), collapse_key="k")
    scene.rig.engine.dispatcher.supersede = _nothing  # type: ignore[method-assign,assignment]  # the process died
    await scene.rig.engine.submit(draft)
    await scene.rig.engine.drain()
    await scene.rig.engine.dispatcher.run(ids)
    assert await scene.story(old) == [("wechat_mp", "canceled", "superseded")]


async def _nothing(_: object) -> int:
    return 0


async def test_a_scheduled_notification_is_submitted_once_at_its_time(scene: Scene) -> None:
    engine, at = scene.rig.engine, scene.rig.clock() + HOUR
    draft = scene.draft(policy=ONE, dedupe_key="d1", thread="t", data='{"a":"申请"}')
    kept = await engine.schedule(draft, at)
    assert (kept.seq, kept.at, kept.notification, kept.duplicate) == (0, at, told(draft).id, False)
    again = await engine.schedule(scene.draft(policy=ONE, dedupe_key="d1"), at + HOUR)
    assert (again.notification, again.duplicate) == (told(draft).id, True)
    await scene.later(59 * MINUTE)
    assert await scene.rows(told(draft).id) == []
    scene.rig.clock.advance(2 * MINUTE)
    await asyncio.gather(*(engine.appointments.submit_due(limit=10) for _ in range(4)))
    await engine.drain()
    await scene.work()
    assert await scene.story(told(draft).id) == [("wechat_mp", "accepted", None)]
    (envelope,) = scene.mp.calls[0]
    assert envelope.notification is not None
    assert (envelope.notification.data, envelope.notification.thread) == ('{"a":"申请"}', "t")
    row = await engine.scheduled(APP, told(draft).id)
    assert row is not None
    assert row.state is ScheduledState.SENT
    after = await engine.schedule(scene.draft(policy=ONE, dedupe_key="d1"), at + HOUR)
    assert (after.notification, after.duplicate) == (told(draft).id, True)


async def test_a_submission_that_died_in_the_middle_is_repeated_and_not_doubled(scene: Scene) -> None:
    engine = scene.rig.engine
    draft = scene.draft(policy=ONE)
    await engine.schedule(draft, scene.rig.clock())
    now = scene.rig.clock()
    (row,) = await scene.rig.store.take_scheduled(now=now, lease_until=now + MINUTE, limit=5)
    await engine.submit(row.draft)
    assert await engine.appointments.submit_due(limit=5) == 0
    await scene.later(2 * MINUTE)
    assert (await engine.scheduled(APP, told(draft).id) or row).state is ScheduledState.SENT
    assert await engine.head(ALICE) == 1


async def test_a_scheduled_one_is_canceled_before_and_may_be_made_again(scene: Scene) -> None:
    engine, at = scene.rig.engine, scene.rig.clock() + HOUR
    claim = IdempotencyClaim("k" * 10, "f1")
    draft = replace(scene.draft(policy=ONE, dedupe_key="d2"), idempotency=claim)
    await engine.schedule(draft, at)
    other = replace(scene.draft(policy=ONE), idempotency=replace(claim, fingerprint="f2"))
    with pytest.raises(Conflict):
        await engine.schedule(other, at)
    report = await engine.cancel(APP, told(draft).id)
    assert (report.scheduled, report.canceled) == (True, 0)
    with pytest.raises(NotFound):
        await engine.cancel(APP, told(draft).id)
    await scene.later(2 * HOUR)
    assert await engine.head(ALICE) == 0
    fresh = await engine.schedule(scene.draft(policy=ONE, dedupe_key="d2"), at + 5 * HOUR)
    assert not fresh.duplicate


async def test_cancelling_stops_what_has_not_left_and_counts_what_has(scene: Scene) -> None:
    told = await scene.tell(1, 2, policy=BOTH)
    ids = scene.rig.executor.take()
    await scene.rig.engine.dispatcher.run(ids[:1])
    report = await scene.rig.engine.cancel(APP, told)
    assert (report.scheduled, report.canceled, report.under_way, report.sent) == (False, 3, 0, 1)
    with pytest.raises(NotFound):
        await scene.rig.engine.cancel(AppId("app_other"), told)


async def test_recalling_takes_it_out_of_the_app_and_tells_the_truth_about_wechat(scene: Scene) -> None:
    engine = scene.rig.engine
    told = await scene.tell(1, 2, policy=BOTH)
    ids = {row.channel: row.id for row in await scene.rows(told) if row.user == ALICE}
    await engine.dispatcher.run([ids["wechat_mp"]])
    for _ in range(2):
        report = await engine.recall(APP, told)
        truth = {(line.user, line.channel): line.result for line in report.lines}
        assert truth == {
            (1, "inbox"): RecallResult.RECALLED,
            (2, "inbox"): RecallResult.RECALLED,
            (1, "wechat_mp"): RecallResult.NOT_RECALLABLE,
            (1, "miniprogram"): RecallResult.CANCELED,
            (2, "wechat_mp"): RecallResult.CANCELED,
            (2, "miniprogram"): RecallResult.CANCELED,
        }
    await scene.rig.published()
    page = await engine.sync(ALICE, after=0, limit=10)
    (entry, message), (note, control) = page.entries
    assert message is not None
    assert control is not None
    assert (message.kind, message.body) == ("recalled", "{}")
    assert (control.kind, json.loads(control.body)) == (
        "recall",
        {"message": message.id, "notification": told},
    )
    assert (entry.inbox_seq, note.inbox_seq) == (message.seq, None)
    await scene.later(3 * HOUR)
    assert len(scene.mp.calls) == 1


async def test_dead_letters_are_replayed_one_or_by_filter(scene: Scene) -> None:
    scene.mp.behaviour = refuse
    told = await scene.tell(1, 2, 3, policy=ONE)
    await scene.work()
    rows = await scene.rows(told)
    assert {row.state for row in rows} == {S.FAILED}
    scene.mp.behaviour = accept
    replay = scene.rig.engine.replay
    assert await replay(AppId("app_other"), ReplayFilter()) == 0
    assert await replay(APP, ReplayFilter(reason=Reason.EXPIRED)) == 0
    assert await replay(APP, ReplayFilter(ids=(rows[0].id,))) == 1
    assert await replay(APP, ReplayFilter(ids=(rows[0].id,))) == 0
    assert await replay(APP, ReplayFilter(notification=told, channel="wechat_mp")) == 2
    await scene.work()
    assert {row[1] for row in await scene.story(told)} == {"accepted"}
    assert ("queued", None) in await scene.events(rows[1])


async def test_requests_name_the_priority_and_a_flood_of_one_channel_leaves_room_for_the_other(
    scene: Scene,
) -> None:
    await scene.tell(policy=ONE, priority="high")
    assert scene.rig.executor.priorities == ["high"]
    scene.rig.executor.lose = True
    await scene.tell(*range(1, 21), policy=ONE)
    await scene.tell(policy=Policy((Hop("miniprogram", Success.ACCEPTED),)))
    scene.rig.executor.lose = False
    scene.rig.executor.take()
    scene.rig.clock.advance(MINUTE)
    await scene.rig.engine.dispatcher.sweep(limit=9)
    assert {channel for channel, _, _ in scene.rig.executor.asked} == {"wechat_mp", "miniprogram"}


async def test_a_digest_whose_sender_is_taken_back_is_sent_by_another(scene: Scene) -> None:
    """Its sender was tried in vain and recalled before it was tried again: the others had not been told yet."""
    policy = replace(ONE, digest=10 * MINUTE)
    told = [await scene.tell(policy=policy) for _ in range(3)]
    await scene.work()
    scene.mp.behaviour = lambda _: Retry(Reason.PROVIDER_DOWN, MINUTE)
    await scene.later(10 * MINUTE + timedelta(seconds=1))
    await scene.later(timedelta(seconds=6))
    (sender,) = {e.delivery.notification for call in scene.mp.calls for e in call}
    assert sender is not None
    scene.mp.behaviour = accept
    await scene.rig.engine.recall(APP, sender)
    for _ in range(6):
        await scene.later(10 * MINUTE)
    states = [(await scene.story(one))[0][1:] for one in told if one != sender]
    assert sorted(states, key=str) == [("accepted", None), ("skipped", "digested")]


async def test_a_digest_is_not_told_again_by_the_next_hop_and_fails_as_one(scene: Scene) -> None:
    hops = (Hop("wechat_mp", Success.ACCEPTED), Hop("miniprogram", Success.ACCEPTED))
    policy = Policy(hops, digest=10 * MINUTE, stop_on=("read",))
    told = [await scene.tell(1, 2, policy=policy) for _ in range(3)]
    await scene.work()
    scene.mp.behaviour = lambda e: refuse(e) if e.recipient.user_id == "u2" else accept(e)
    for _ in range(12):
        await scene.later(5 * MINUTE)
    rows = [row for one in told for row in await scene.rows(one)]
    rows.sort(key=lambda row: row.hop)
    of = {user: [(r.channel, r.state.value, r.reason) for r in rows if r.user == user] for user in (1, 2)}
    assert sorted(of[1], key=str) == [
        ("wechat_mp", "accepted", None),
        *[("wechat_mp", "skipped", Reason.DIGESTED)] * 2,
    ]
    assert [channel for channel, _, _ in of[2]] == ["wechat_mp"] * 3 + ["miniprogram"] * 3
    assert [e.digest_of for call in scene.mini.calls for e in call] == [3]
