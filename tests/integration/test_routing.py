"""The routing rules end to end, on a real database with a clock that the test moves: who is told where, when and why
not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from hub.core.channel import Envelope, Lane
from hub.core.control import EventScope, RecallResult, ReplayFilter, ScheduledState
from hub.core.delivery import Delivery, DeliveryState
from hub.core.errors import Conflict, NotFound
from hub.core.identity import EndUser
from hub.core.message import AppId, Draft, IdempotencyClaim, NotificationDraft, NotificationId, UserKey
from hub.core.outcome import Delivered, Outcome, Reason, Rejected, Retry
from hub.core.policy import Hop, Mode, Policy, QuietHours, Success, TimerClock
from hub.core.retry import RetryPolicy
from hub.core.worktime import DEFAULT_CALENDAR, WorkCalendar, calendar_json
from hub.store.tables import metadata
from tests.fakes.channel import ScriptedChannel, accept, busy, refuse
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

S = DeliveryState
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ALICE = UserKey(1)
PROTOCOL = Policy(
    (
        Hop("ws", Success.READ, MINUTE),
        Hop("wechat_mp", Success.DELIVERED, 30 * MINUTE),
        Hop("miniprogram", Success.ACCEPTED),
    ),
    stop_on=("read", "acted", "event:task.closed"),
)
ONE = Policy((Hop("wechat_mp", Success.ACCEPTED),), stop_on=("read", "acted"))
BOTH = Policy(
    (Hop("wechat_mp", Success.ACTED, HOUR), Hop("miniprogram", Success.ACTED, HOUR)),
    mode=Mode.ALL,
    stop_on=("read", "acted"),
)


@dataclass
class Scene:
    """An engine with a socket channel and the two of WeChat, all scripted."""

    rig: Rig
    ws: ScriptedChannel
    mp: ScriptedChannel
    mini: ScriptedChannel

    async def tell(
        self, *users: int, policy: Policy = PROTOCOL, expires_in: timedelta | None = None, **own: Any
    ) -> NotificationId:
        """A notification to these users (or the first), started."""
        draft = self.draft(*users, policy=policy, expires_in=expires_in, **own)
        await self.rig.engine.submit(draft)
        await self.rig.engine.drain()
        return told(draft).id

    def draft(
        self, *users: int, policy: Policy = PROTOCOL, expires_in: timedelta | None = None, **own: Any
    ) -> Draft:
        draft = self.rig.notice(*(users or (1,)), policy=policy, expires_in=expires_in)
        return replace(draft, notification=replace(told(draft), **own))

    async def work(self) -> None:
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def later(self, by: timedelta = timedelta(0)) -> None:
        self.rig.clock.advance(by)
        await self.rig.engine.appointments.submit_due(limit=100)
        await self.rig.engine.drain()
        await self.rig.engine.dispatcher.sweep(limit=1_000)
        await self.work()

    async def at(self, moment: str) -> None:
        """Move the clock to the next such time in Shanghai, `HH:MM`."""
        now = self.rig.clock() + 8 * HOUR
        hour, minute = map(int, moment.split(":"))
        wanted = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        self.rig.clock.advance(wanted - now if wanted > now else wanted - now + timedelta(days=1))

    async def rows(self, notification: NotificationId) -> list[Delivery]:
        found = await self.rig.store.of_notifications(APP, [notification])
        return sorted(found, key=lambda row: (row.user, row.hop))

    async def story(self, notification: NotificationId) -> list[tuple[str, str, str | None]]:
        """(channel, state, reason) of each delivery."""
        rows = await self.rows(notification)
        return [(row.channel, row.state.value, row.reason.value if row.reason else None) for row in rows]

    async def read(self, user: UserKey = ALICE) -> None:
        """The user reads all there is."""
        page = await self.rig.engine.sync(user, after=0, limit=100)
        messages = [message for _, message in page.entries if message is not None]
        reader = EndUser(APP, user, f"u{user}", self.rig.clock())
        await self.rig.engine.read(reader, messages[-1].conversation, messages[-1].seq)

    async def prefer(self, user: int = 1, timezone: str = "Asia/Shanghai", **preferences: Any) -> None:
        table = metadata.tables["user"]
        async with self.rig.store.database.writing() as connection:
            await connection.execute(
                update(table)
                .where(table.c.id == user)
                .values(preferences=json.dumps(preferences), timezone=timezone)
            )

    async def set_app(self, **settings: Any) -> None:
        table = metadata.tables["app"]
        async with self.rig.store.database.writing() as connection:
            await connection.execute(
                update(table).where(table.c.id == APP).values(settings=json.dumps(settings))
            )

    async def events(self, row: Delivery) -> list[tuple[str, str | None]]:
        table = metadata.tables["delivery_event"]
        query = (
            select(table.c.state, table.c.reason)
            .where(table.c.delivery_id == row.id)
            .order_by(table.c.version)
        )
        return [(found.state, found.reason) for found in await self.rig.store.database.rows(query)]


def told(draft: Draft) -> NotificationDraft:
    assert draft.notification is not None
    return draft.notification


def offline(envelope: Envelope) -> Outcome:
    return Rejected(Reason.OFFLINE)


def not_a_follower(envelope: Envelope) -> Outcome:
    return Rejected(Reason.UNSUBSCRIBED)


def no_grant(envelope: Envelope) -> Outcome:
    return Rejected(Reason.QUOTA_EXHAUSTED)


def channels() -> tuple[ScriptedChannel, ScriptedChannel, ScriptedChannel]:
    ws, mp, mini = ScriptedChannel("ws"), ScriptedChannel("wechat_mp"), ScriptedChannel("miniprogram")
    ws.capabilities = replace(ws.capabilities, lane=Lane.INLINE, receipt_within=None, batch=100)
    mp.capabilities = replace(mp.capabilities, disturbs=True, receipt_within=None)
    mini.capabilities = replace(mini.capabilities, disturbs=True, receipt_within=None, repeatable=False)
    return ws, mp, mini


@pytest.fixture
async def scene(tmp_path: Path, database_url: str, redis_server: RedisServer) -> AsyncIterator[Scene]:
    redis_server.flush()
    parts = channels()
    settings = test_settings(tmp_path, database_url, redis_server.url)
    async with open_rig(settings, *parts, retry=RetryPolicy(attempts=3)) as rig:
        yield Scene(rig, *parts)


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
