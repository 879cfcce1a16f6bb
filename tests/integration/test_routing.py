"""The routing rules end to end: who is told where, when and why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.core.control import EventScope
from hub.core.message import AppId
from hub.core.outcome import Delivered
from hub.core.policy import Hop, Policy, QuietHours, Success, TimerClock
from hub.core.worktime import DEFAULT_CALENDAR, WorkCalendar, calendar_json
from tests.integration.routing_of_test import (
    ALICE,
    BOTH,
    HOUR,
    MINUTE,
    ONE,
    PROTOCOL,
    S,
    Scene,
    channels,
    no_grant,
    not_a_follower,
    offline,
    open_scene,
)
from tests.services import RedisServer
from tests.support.engine import APP, open_rig


@pytest.fixture
async def scene(
    tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer
) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path, storage, redis_server) as opened:
        yield opened


async def test_online_and_read_tells_nobody_else(scene: Scene) -> None:
    told = await scene.tell()
    await scene.read()
    await scene.later(HOUR)
    assert await scene.story(told) == [("ws", "accepted", None)]


async def test_online_and_unread_falls_to_wechat_when_the_wait_is_over(scene: Scene) -> None:
    told = await scene.tell()
    await scene.later(59 * timedelta(seconds=1))
    assert [row[0] for row in await scene.story(told)] == ["ws"]
    await scene.later(MINUTE)
    assert await scene.story(told) == [("ws", "accepted", None), ("wechat_mp", "accepted", None)]


async def test_offline_falls_at_once_and_a_receipt_ends_it(scene: Scene) -> None:
    scene.ws.behaviour = offline
    told = await scene.tell()
    await scene.work()
    (_, mp) = await scene.rows(told)
    await scene.rig.engine.dispatcher.receive("wechat_mp", f"p-{mp.id}", Delivered())
    await scene.later(2 * HOUR)
    assert await scene.story(told) == [("ws", "failed", "offline"), ("wechat_mp", "delivered", None)]


async def test_not_a_follower_falls_to_the_mini_program(scene: Scene) -> None:
    scene.ws.behaviour, scene.mp.behaviour = offline, not_a_follower
    told = await scene.tell()
    await scene.work()
    assert await scene.story(told) == [
        ("ws", "failed", "offline"),
        ("wechat_mp", "failed", "unsubscribed"),
        ("miniprogram", "accepted", None),
    ]


async def test_no_grant_left_ends_the_cascade_with_its_reason(scene: Scene) -> None:
    scene.ws.behaviour, scene.mp.behaviour, scene.mini.behaviour = offline, not_a_follower, no_grant
    told = await scene.tell()
    await scene.work()
    assert (await scene.story(told))[-1] == ("miniprogram", "failed", "quota_exhausted")
    assert all(row.settled for row in await scene.rows(told))


async def test_quiet_hours_defer_until_they_end_by_the_persons_clock(scene: Scene) -> None:
    await scene.prefer(quiet_hours={"start": "22:00", "end": "08:00"})
    await scene.prefer(2, "Europe/Berlin", quiet_hours={"start": "22:00", "end": "08:00"})
    await scene.at("23:00")
    told = await scene.tell(1, 2, policy=ONE)
    await scene.work()
    assert await scene.story(told) == [
        ("wechat_mp", "waiting", "quiet_hours"),
        ("wechat_mp", "accepted", None),
    ]
    await scene.later(8 * HOUR)
    assert len(scene.mp.calls) == 1
    await scene.later(HOUR + MINUTE)
    assert [row[1] for row in await scene.story(told)] == ["accepted", "accepted"]
    first = (await scene.rows(told))[0]
    assert ("waiting", "quiet_hours") in await scene.events(first)


async def test_quiet_hours_may_skip_or_be_ignored_and_never_hold_what_is_critical(scene: Scene) -> None:
    await scene.prefer(quiet_hours={"start": "22:00", "end": "08:00"})
    scene.mini.capabilities = replace(scene.mini.capabilities, disturbs=False)
    await scene.at("23:00")
    hops = (Hop("wechat_mp", Success.ACCEPTED), Hop("miniprogram", Success.ACCEPTED))
    skipped = await scene.tell(policy=Policy(hops, quiet_hours=QuietHours.SKIP))
    ignored = await scene.tell(policy=replace(ONE, quiet_hours=QuietHours.IGNORE))
    critical = await scene.tell(policy=ONE, priority="critical")
    await scene.work()
    assert await scene.story(skipped) == [
        ("wechat_mp", "skipped", "quiet_hours"),
        ("miniprogram", "accepted", None),
    ]
    assert await scene.story(ignored) == await scene.story(critical) == [("wechat_mp", "accepted", None)]


async def test_a_wait_in_working_hours_does_not_end_on_a_holiday(scene: Scene) -> None:
    await scene.at("17:30")
    today = (scene.rig.clock() + 8 * HOUR).date()
    week = (DEFAULT_CALENDAR.week[0],) * 7
    off = frozenset(today + timedelta(days=n) for n in (1, 2))
    await scene.set_app(calendar=json_calendar(WorkCalendar(week=week, holidays=off)))
    hops = (Hop("ws", Success.READ, HOUR), Hop("wechat_mp", Success.ACCEPTED))
    told = await scene.tell(policy=Policy(hops, clock=TimerClock.WORKING_HOURS))
    (ws,) = await scene.rows(told)
    morning = datetime.combine(today + timedelta(days=3), datetime.min.time(), UTC) + HOUR
    assert ws.due_at is not None
    assert abs(ws.due_at - morning - 30 * MINUTE) < MINUTE
    await scene.later(2 * timedelta(days=1))
    assert len(await scene.story(told)) == 1
    await scene.later(17 * HOUR)
    assert (await scene.story(told))[-1] == ("wechat_mp", "accepted", None)


def json_calendar(calendar: WorkCalendar) -> Any:
    """As the app's settings hold it."""
    import msgspec

    assert calendar_json(calendar)
    return msgspec.json.decode(msgspec.json.encode(calendar))


async def test_what_has_expired_is_sent_nowhere(scene: Scene) -> None:
    told = await scene.tell(expires_in=30 * timedelta(seconds=1))
    await scene.later(MINUTE)
    await scene.later(HOUR)
    assert [row[1:] for row in await scene.story(told)] == [("accepted", None), ("skipped", "expired")]
    assert scene.mp.calls == []


async def test_acting_on_one_device_ends_what_was_planned_on_two_channels(scene: Scene) -> None:
    told = await scene.tell(1, 2, policy=BOTH)
    changed = await scene.rig.engine.acted(APP, told, ALICE)
    await scene.work()
    assert changed == 2
    assert await scene.story(told) == [
        ("wechat_mp", "canceled", "acted"),
        ("miniprogram", "canceled", "acted"),
        ("wechat_mp", "accepted", None),
        ("miniprogram", "accepted", None),
    ]
    assert await scene.rig.engine.acted(AppId("app_other"), told) == 0
    assert await scene.rig.engine.acted(APP, told) == 2
    assert all(row.settled for row in await scene.rows(told))


async def test_a_business_event_ends_what_waits_for_it_and_nothing_else(scene: Scene) -> None:
    waits = await scene.tell(thread="inst-7")
    other = await scene.tell(thread="inst-7", policy=replace(PROTOCOL, stop_on=("event:task.open",)))
    assert await scene.rig.engine.event(APP, EventScope(thread="inst-8"), "task.closed") == 0
    assert await scene.rig.engine.event(APP, EventScope(thread="inst-7"), "task.closed") == 1
    await scene.later(HOUR)
    assert [row[0] for row in await scene.story(waits)] == ["ws"]
    assert len(await scene.story(other)) == 2


async def test_a_read_meets_the_hop_that_another_process_plans_at_that_moment(
    scene: Scene, tmp_path: Path
) -> None:
    """Two processes: one lets the wait lapse and plans the next hop while the other is told of the read."""
    async with open_rig(scene.rig.settings, *channels(), fresh=False) as sibling:
        sibling.clock.shift = scene.rig.clock.shift + 2 * MINUTE
        for _ in range(8):
            told = await scene.tell()
            await asyncio.gather(scene.read(), sibling.engine.dispatcher.sweep(limit=100))
            await scene.work()
            rows = await scene.rows(told)
            assert all(row.read for row in rows if row.state is not S.ACCEPTED or row.channel == "ws")
        assert scene.mp.calls == []


async def test_preferences_and_mutes_pass_a_channel_over(scene: Scene) -> None:
    await scene.prefer(channels={"wechat_mp": False})
    hops = (Hop("wechat_mp", Success.ACCEPTED), Hop("miniprogram", Success.ACCEPTED))
    fallen = await scene.tell(policy=Policy(hops))
    await scene.prefer(2, mute=["thread:inst-1"], categories={"ads": False})
    muted = await scene.tell(2, policy=Policy(hops), thread="inst-1")
    unwanted = await scene.tell(2, policy=Policy(hops), category="ads")
    await scene.work()
    assert await scene.story(fallen) == [
        ("wechat_mp", "skipped", "preference_off"),
        ("miniprogram", "accepted", None),
    ]
    assert await scene.story(muted) == [
        ("wechat_mp", "skipped", "muted"),
        ("miniprogram", "skipped", "muted"),
    ]
    assert [row[2] for row in await scene.story(unwanted)] == ["preference_off", "preference_off"]


async def test_hops_that_are_not_for_this_one_are_in_the_story(scene: Scene) -> None:
    policy = Policy(
        (
            Hop("ws", only_priority=("low",)),
            Hop("wechat_mp", Success.ACCEPTED, only_locale=("en",)),
            Hop("miniprogram", Success.ACCEPTED, only_locale=("zh",)),
        )
    )
    told = await scene.tell(policy=policy)
    await scene.work()
    assert await scene.story(told) == [
        ("ws", "skipped", "not_applicable"),
        ("wechat_mp", "skipped", "not_applicable"),
        ("miniprogram", "accepted", None),
    ]
