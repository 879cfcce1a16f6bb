"""Events posted to a real endpoint over HTTP: once where all goes well, again where not, never to a neighbour."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from hub.core.errors import NotFound, Refused
from hub.core.message import AppId
from hub.core.records import PageRequest
from hub.core.webhooks import (
    BACKOFF_SECONDS,
    Endpoint,
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookState,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    new_webhook_secret,
)
from hub.store.ids import new_id
from hub.store.memory_webhooks import MemoryWebhooks
from hub.webhooks.caller import EndpointCaller
from hub.webhooks.guard import Guard
from hub.webhooks.runner import HookRunner, RunnerLimits
from hub.webhooks.sender import HttpSender, SendLimits, body_of, open_sender, retry_after
from hub.webhooks.signing import verify
from tests.support.hook_receiver import Heard, HookReceiver, Reply, open_hook_receiver

APP = AppId("app_1")
NOW = datetime(2026, 3, 1, 9, 12, 30, tzinfo=UTC)
LIMITS = RunnerLimits(patience=timedelta(milliseconds=300))


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Post:
    """A sender, a runner and a book around one receiver."""

    receiver: HookReceiver
    book: MemoryWebhooks
    sender: HttpSender
    runner: HookRunner
    guard: Guard
    clock: Clock

    def endpoint(self, path: str = "/hook", *events: str, url: str = "") -> tuple[EndpointId, str]:
        """A new endpoint at the receiver, and its secret."""
        secret, id_ = new_webhook_secret(), EndpointId(new_id("whe"))
        made = Endpoint(id_, APP, url or self.receiver.url + path, events or ("*",), "", NOW)
        self.book.put_endpoint(made, WebhookSecret(secret))
        return id_, secret

    async def put(self, *types: str) -> list[WebhookEventId]:
        """Events of these types, now."""
        events = [
            WebhookEvent(WebhookEventId(new_id("evt")), APP, type_, self.clock(), '{"题":"差旅"}')
            for type_ in types
        ]
        await self.book.put_events(events)
        return [event.id for event in events]

    async def run(self) -> int:
        """One task's work, and what it left in the background."""
        begun = await self.runner.deliver_due()
        await self.runner.idle()
        return begun

    async def ways(self, endpoint: EndpointId) -> list[HookDelivery]:
        """What became of the endpoint's events, oldest first."""
        return list((await self.book.deliveries(endpoint, PageRequest(200))).items)[::-1]


@asynccontextmanager
async def opened(
    receiver: HookReceiver,
    *,
    allow: Sequence[str] = ("127.0.0.1/32",),
    send: SendLimits | None = None,
    limits: RunnerLimits = LIMITS,
    answers: Sequence[Sequence[str]] | None = None,
) -> AsyncIterator[Post]:
    """`answers`: what a name server says, one after the other."""
    asked = iter(answers or ())

    async def lookup(host: str, port: int) -> Sequence[str]:
        return next(asked)

    guard, clock = Guard(allow), Clock()
    book = MemoryWebhooks(clock=clock)
    async with open_sender(guard, send, lookup=lookup if answers else None) as sender:
        runner = HookRunner(book, sender, clock=clock, limits=limits, jitter=lambda: 0.0)
        try:
            yield Post(receiver, book, sender, runner, guard, clock)
        finally:
            receiver.open.set()
            await runner.aclose()


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    with open_hook_receiver() as opened_one:
        yield opened_one


@pytest.fixture
async def post(receiver: HookReceiver) -> AsyncIterator[Post]:
    async with opened(receiver) as made:
        yield made


def checked(secret: str, heard: Heard, now: datetime) -> str:
    return verify([secret], heard.headers, heard.body, now=now)


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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_failures_and_not_followed(post: Post, status: int) -> None:
    endpoint, _ = post.endpoint()
    post.receiver.usual = Reply(status, headers={"Location": f"{post.receiver.url}/elsewhere"})
    await post.put("delivery.read")
    await post.run()
    assert [one.path for one in post.receiver.heard] == ["/hook"]
    (way,) = await post.ways(endpoint)
    assert (way.state, way.error) == (HookState.PENDING, f"HTTP {status}")


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


async def test_a_large_answer_is_not_read_to_its_end(post: Post) -> None:
    endpoint, _ = post.endpoint()
    post.receiver.usual = Reply(200, b"x" * 1_048_576, chunks=64)
    await post.put("delivery.read")
    await post.run()
    assert (await post.ways(endpoint))[0].state is HookState.DELIVERED
    assert post.receiver.sent_bytes < 32 * 1_048_576
    answer = await caller(post).ask(APP, endpoint, "task.ask", "{}")
    assert answer.body == b"x" * 65_536


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_is_not_unpacked(post: Post, encoding: str) -> None:
    endpoint, _ = post.endpoint()
    post.receiver.usual = Reply(200, b"not packed at all", {"Content-Encoding": encoding})
    assert (await caller(post).ask(APP, endpoint, "task.ask", "{}")).body == b"not packed at all"


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


async def test_a_name_that_leads_inside_is_not_followed_there(receiver: HookReceiver) -> None:
    port = urlsplit(receiver.url).port
    for inside in (["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"]):
        async with opened(receiver, allow=(), answers=[inside]) as post:
            endpoint, _ = post.endpoint(url=f"https://rebound.example:{port}/hook")
            await post.put("delivery.read")
            await post.run()
            (way,) = await post.ways(endpoint)
            assert way.error == "the name leads to no public address"
    assert receiver.heard == []


async def test_a_name_is_connected_to_where_it_was_checked(receiver: HookReceiver) -> None:
    """First it leads to an address that may be used, then to one that may not: DNS rebinding."""
    port = urlsplit(receiver.url).port
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    async with opened(receiver, answers=answers) as post:
        endpoint, _ = post.endpoint(url=f"https://rebound.example:{port}/hook")
        await post.put("delivery.read")
        await post.run()
        (way,) = await post.ways(endpoint)
        assert way.error in {"TLS failed", "cannot connect: ClientConnectorSSLError"}, (
            "it got as far as to talk"
        )
        post.clock.now += timedelta(seconds=5)
        await post.run()
        assert (await post.ways(endpoint))[0].error == "the name leads to no public address"


async def test_a_literal_address_is_checked_at_every_post_too(receiver: HookReceiver) -> None:
    async with opened(receiver, allow=()) as post:
        port = urlsplit(receiver.url).port
        urls = [
            f"https://127.0.0.1:{port}/",
            f"https://[::ffff:127.0.0.1]:{port}/",
            receiver.url,
            "not a url",
        ]
        for url in urls:
            endpoint, _ = post.endpoint(url=url)
            await post.put("delivery.read")
            await post.run()
            (way,) = await post.ways(endpoint)
            assert (way.status, way.state) == (None, HookState.PENDING)
            assert way.error
            await post.book.disable(endpoint, "next", now=NOW)
    assert receiver.heard == []


async def test_no_proxy_of_the_environment_is_used(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    post.endpoint()
    await post.put("delivery.read")
    await post.run()
    assert len(post.receiver.heard) == 1


async def test_cookies_are_not_kept(post: Post) -> None:
    post.endpoint()
    post.receiver.replies = [Reply(200, headers={"Set-Cookie": "a=b; Path=/"})]
    for _ in range(2):
        await post.put("delivery.read")
        await post.run()
    assert [one.headers.get("cookie") for one in post.receiver.heard] == [None, None]


async def test_a_port_where_nobody_listens_is_an_answer_in_words_without_the_url(
    receiver: HookReceiver,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with opened(receiver) as post:
        endpoint, _ = post.endpoint(url=f"http://127.0.0.1:{port}/?token=geheim")
        await post.put("delivery.read")
        await post.run()
        (way,) = await post.ways(endpoint)
    assert way.error.startswith("cannot connect")
    assert "geheim" not in way.error


async def test_an_endpoint_without_a_readable_secret_waits(post: Post) -> None:
    endpoint, _ = post.endpoint()
    known = await post.book.endpoint(APP, endpoint)
    assert known is not None
    post.book.put_endpoint(known)
    await post.put("delivery.read")
    await post.run()
    assert "HUB_SECRET_KEY" in (await post.ways(endpoint))[0].error
    assert post.receiver.heard == []


def caller(post: Post) -> EndpointCaller:
    return EndpointCaller(post.book, post.sender, post.guard, clock=post.clock, new_id=new_id)


async def test_a_question_is_answered_right_now(post: Post) -> None:
    endpoint, secret = post.endpoint("/hook", "nothing.else")
    post.receiver.replies = [Reply(200, '{"result":"applied","说":"好"}'.encode()), Reply(409, b"{}")]
    ask = caller(post).ask
    answer = await ask(APP, endpoint, "task.decision", '{"task":"t1"}', id_=WebhookEventId("evt_t1_3"))
    assert (answer.ok, answer.status, json.loads(answer.body)["说"]) == (True, 200, "好")
    assert checked(secret, post.receiver.heard[0], NOW) == "evt_t1_3"
    assert json.loads(post.receiver.heard[0].body)["data"] == {"task": "t1"}
    assert (await ask(APP, endpoint, "task.decision", "{}")).status == 409
    assert post.receiver.heard[1].headers["webhook-id"].startswith("evt_")
    assert await post.ways(endpoint) == []
    with pytest.raises(NotFound, match="webhook_not_found"):
        await ask(AppId("other"), endpoint, "task.decision", "{}")
    await post.book.disable(endpoint, "gone", now=NOW)
    with pytest.raises(Refused, match="webhook_disabled"):
        await ask(APP, endpoint, "task.decision", "{}")


async def test_a_question_waits_no_longer_than_it_is_told_to(post: Post) -> None:
    endpoint, _ = post.endpoint("/slow")
    answer = await caller(post).ask(APP, endpoint, "task.ask", "{}", timeout=timedelta(milliseconds=200))
    assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


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
