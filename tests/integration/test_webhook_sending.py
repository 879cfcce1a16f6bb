"""Events posted to a real endpoint over HTTP: once where all goes well, again where not, and held up by nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from hub.core.webhooks import (
    BACKOFF_SECONDS,
    HookAnswer,
    HookState,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    new_webhook_secret,
)
from hub.webhooks.runner import HookRunner, RunnerLimits
from hub.webhooks.sender import SendLimits, body_of, retry_after
from tests.integration.webhooks_of_test import APP, LIMITS, NOW, Post, checked, opened
from tests.support.hook_receiver import HookReceiver, Reply, open_hook_receiver


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    with open_hook_receiver() as opened_one:
        yield opened_one


@pytest.fixture
async def post(receiver: HookReceiver) -> AsyncIterator[Post]:
    async with opened(receiver) as made:
        yield made


async def test_an_event_arrives_once_signed_and_in_the_standards_form(post: Post) -> None:
    endpoint, secret = post.endpoint()
    (event,) = await post.put("delivery.failed")
    assert await post.run() == 1
    assert await post.run() == 0
    (heard,) = post.receiver.heard
    assert checked(secret, heard, NOW) == event == heard.headers["webhook-id"]
    assert json.loads(heard.body) == {
        "type": "delivery.failed",
        "timestamp": "2026-03-01T09:12:30Z",
        "data": {"题": "差旅"},
    }
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"].startswith("notification-hub/")
    assert "cookie" not in heard.headers
    (way,) = await post.ways(endpoint)
    assert (way.state, way.status, way.attempts, way.due_at) == (HookState.DELIVERED, 200, 1, None)


async def test_a_server_that_fails_twice_gets_the_same_event_a_third_time(post: Post) -> None:
    endpoint, secret = post.endpoint()
    post.receiver.replies = [Reply(500, "系统\n错误".encode()), Reply(drop=True)]
    (event,) = await post.put("delivery.failed")
    for pause in (5, 300, None):
        assert await post.run() == 1
        (way,) = await post.ways(endpoint)
        assert way.due_at == (None if pause is None else post.clock.now + timedelta(seconds=pause))
        if way.due_at is not None:
            assert way.state is HookState.PENDING
            post.clock.now = way.due_at - timedelta(seconds=1)
            assert await post.run() == 0, "not before its time"
            post.clock.now = way.due_at
    (way,) = await post.ways(endpoint)
    assert (way.state, way.attempts) == (HookState.DELIVERED, 3)
    assert {one.headers["webhook-id"] for one in post.receiver.heard} == {event}
    assert len({one.body for one in post.receiver.heard}) == 1
    stamps = [int(one.headers["webhook-timestamp"]) for one in post.receiver.heard]
    assert stamps == [int(NOW.timestamp()) + late for late in (0, 5, 305)], "each try is signed anew"
    assert checked(secret, post.receiver.heard[2], post.clock.now) == event


async def test_after_the_last_try_it_has_failed_and_a_replay_begins_anew(receiver: HookReceiver) -> None:
    receiver.usual = Reply(500, "系统\n错误".encode())
    async with opened(receiver, limits=RunnerLimits(backoff={1: 0, 2: 1, 3: 1})) as post:
        endpoint, _ = post.endpoint()
        (event,) = await post.put("delivery.failed")
        for _ in range(5):
            await post.run()
            post.clock.now += timedelta(seconds=2)
        assert len(receiver.heard) == 3
        (way,) = await post.ways(endpoint)
        assert (way.state, way.status, way.error) == (HookState.FAILED, 500, "HTTP 500: 系统 错误")
        receiver.usual = Reply()
        assert await post.book.replay(APP, failed_since=NOW, now=post.clock()) == 1
        await post.run()
        assert receiver.heard[3].headers["webhook-id"] == event
        assert (await post.ways(endpoint))[0].state is HookState.DELIVERED


def test_tries_go_on_for_three_days() -> None:
    assert len(BACKOFF_SECONDS) == 10
    assert timedelta(days=3) < timedelta(seconds=sum(BACKOFF_SECONDS.values())) < timedelta(days=4)


async def test_during_a_rotation_there_are_two_signatures(post: Post) -> None:
    endpoint, old = post.endpoint()
    new = new_webhook_secret()
    known = await post.book.endpoint(APP, endpoint)
    assert known is not None
    until = NOW + timedelta(hours=24)
    post.book.put_endpoint(known, WebhookSecret(new), WebhookSecret(old, until))
    await post.put("delivery.read")
    await post.run()
    post.clock.now = until
    await post.put("delivery.read")
    await post.run()
    first, second = post.receiver.heard
    assert checked(old, first, NOW) == checked(new, first, NOW)
    assert len(second.headers["webhook-signature"].split()) == 1
    assert checked(new, second, until) == second.headers["webhook-id"]


async def test_an_endpoint_that_is_gone_is_left_alone(post: Post) -> None:
    endpoint, _ = post.endpoint()
    post.receiver.replies = [Reply(410)]
    await post.put("delivery.read")
    await post.run()
    known = await post.book.endpoint(APP, endpoint)
    assert known is not None
    assert (known.disabled_at, known.disabled_reason) == (NOW, "the endpoint answered 410 Gone")
    await post.put("delivery.read")
    post.clock.now += timedelta(days=4)
    assert await post.run() == 0
    assert len(post.receiver.heard) == 1


async def test_a_slow_endpoint_times_out_and_holds_up_nobody(receiver: HookReceiver) -> None:
    limits = RunnerLimits(each=3, patience=timedelta(milliseconds=50))
    async with opened(receiver, send=SendLimits(total=timedelta(seconds=2)), limits=limits) as post:
        slow, _ = post.endpoint("/slow", "slow")
        fast, _ = post.endpoint("/fast", "fast")
        await post.put(*["slow"] * 9, *["fast"] * 9)
        begun = 0
        async with asyncio.timeout(1.5):
            while len(receiver.at("/fast")) < 9:
                begun += await post.runner.deliver_due()
        assert len(receiver.at("/slow")) == 3, "no more of it at once, whoever else has room"
        assert {way.state for way in await post.ways(fast)} == {HookState.DELIVERED}
        await post.runner.idle()
        tried = [way for way in await post.ways(slow) if way.error]
        assert [way.error for way in tried] == ["no answer within 2 s"] * 3
        assert begun == 12


async def test_a_worker_that_dies_before_it_noted_the_answer_sends_the_same_again(post: Post) -> None:
    endpoint, _ = post.endpoint()
    (event,) = await post.put("delivery.failed")
    (held,) = await post.book.claim(now=NOW, lease_until=NOW + LIMITS.lease, limit=1)
    assert (await post.sender.post(held, now=NOW)).ok, "sent, and then it dies"
    assert await post.run() == 0, "somebody has it"
    post.clock.now = NOW + LIMITS.lease
    assert await post.run() == 1
    assert [one.headers["webhook-id"] for one in post.receiver.heard] == [event, event]
    (way,) = await post.ways(endpoint)
    assert (way.state, way.attempts) == (HookState.DELIVERED, 2)


async def test_retry_after_is_honoured_where_the_endpoint_is_busy_and_within_bounds(post: Post) -> None:
    for status, said, wanted in (
        (503, "60", timedelta(seconds=60)),
        (429, "Sun, 01 Mar 2026 10:12:30 GMT", timedelta(hours=1)),
        (429, "1", timedelta(seconds=5)),
        (503, "99999999999", timedelta(days=1)),
        (503, "soon", timedelta(seconds=5)),
        (500, "60", timedelta(seconds=5)),
    ):
        endpoint, _ = post.endpoint()
        post.receiver.replies = [Reply(status, headers={"Retry-After": said})]
        await post.put("delivery.read")
        await post.run()
        (way,) = await post.ways(endpoint)
        assert way.due_at == NOW + wanted, said
        await post.book.disable(endpoint, "next", now=NOW)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after(None, NOW) is None
    assert retry_after("Sun, 01 Mar 2026 09:12:00 GMT", NOW) == timedelta(0)
    assert retry_after("Sun, 99 Mar 2026", NOW) is None
    assert retry_after("-5", NOW) is None


async def test_an_endpoint_without_a_readable_secret_waits(post: Post) -> None:
    endpoint, _ = post.endpoint()
    known = await post.book.endpoint(APP, endpoint)
    assert known is not None
    post.book.put_endpoint(known)
    await post.put("delivery.read")
    await post.run()
    assert "HUB_SECRET_KEY" in (await post.ways(endpoint))[0].error
    assert post.receiver.heard == []


async def test_a_body_is_the_same_whenever_it_is_made() -> None:
    event = WebhookEvent(WebhookEventId("e"), APP, "x", NOW, '{"b":1, "a":"\\u597d"}')
    assert body_of(event) == b'{"type":"x","timestamp":"2026-03-01T09:12:30Z","data":{"b":1, "a":"\\u597d"}}'


class Stuck:
    """A sender that never comes back, or that is broken."""

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken

    async def post(self, *_: object, **__: object) -> HookAnswer:
        if not self._broken:
            await asyncio.Event().wait()
        raise ZeroDivisionError


async def test_closing_waits_a_little_and_leaves_the_rest_to_the_lease(post: Post) -> None:
    post.endpoint()
    await post.put("delivery.read")
    runner = HookRunner(post.book, Stuck(), clock=post.clock, limits=LIMITS)
    assert await runner.deliver_due() == 1
    await runner.aclose(patience=timedelta(milliseconds=10))
    await runner.idle()
    post.clock.now += LIMITS.lease
    assert await post.run() == 1


async def test_a_bug_in_the_sender_stops_nobody_and_is_logged(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.endpoint()
    await post.put("delivery.read", "delivery.read")
    runner = HookRunner(post.book, Stuck(broken=True), clock=post.clock, limits=LIMITS)
    assert await runner.deliver_due() == 2
    await runner.idle()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "webhook_broken"
    ] * 2
    post.clock.now += LIMITS.lease
    assert await post.run() == 2


async def test_what_a_bug_keeps_from_being_sent_comes_to_its_end(post: Post) -> None:
    endpoint, _ = post.endpoint()
    await post.put("delivery.read")
    runner = HookRunner(
        post.book, Stuck(broken=True), clock=post.clock, limits=RunnerLimits(backoff={1: 0, 2: 1, 3: 1})
    )
    for _ in range(5):
        await runner.deliver_due()
        await runner.idle()
        post.clock.now += LIMITS.lease
    (way,) = await post.ways(endpoint)
    assert (way.state, way.attempts) == (HookState.FAILED, 3)


async def test_one_look_at_a_time_is_enough(receiver: HookReceiver) -> None:
    async with opened(receiver, limits=RunnerLimits(patience=timedelta(seconds=20))) as post:
        post.endpoint("/slow")
        await post.put("delivery.read")
        first = asyncio.create_task(post.runner.deliver_due())
        assert await asyncio.to_thread(receiver.arrived.acquire, timeout=10)
        await post.put("delivery.read")
        assert await post.runner.deliver_due() == 0
        receiver.open.set()
        assert await first == 2, "what came meanwhile is found by its next round"
