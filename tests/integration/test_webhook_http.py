"""One request to somebody's server: what is followed, trusted and read, and what is asked right now."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from hub.core.errors import NotFound, Refused
from hub.core.message import AppId
from hub.core.webhooks import HookState, WebhookEventId
from hub.store.ids import new_id
from hub.webhooks.caller import EndpointCaller
from tests.integration.webhooks_of_test import APP, NOW, Post, checked, opened
from tests.support.hook_receiver import HookReceiver, Reply, open_hook_receiver


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    with open_hook_receiver() as opened_one:
        yield opened_one


@pytest.fixture
async def post(receiver: HookReceiver) -> AsyncIterator[Post]:
    async with opened(receiver) as made:
        yield made


def caller(post: Post) -> EndpointCaller:
    return EndpointCaller(post.book, post.sender, post.guard, clock=post.clock, new_id=new_id)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_failures_and_not_followed(post: Post, status: int) -> None:
    endpoint, _ = post.endpoint()
    post.receiver.usual = Reply(status, headers={"Location": f"{post.receiver.url}/elsewhere"})
    await post.put("delivery.read")
    await post.run()
    assert [one.path for one in post.receiver.heard] == ["/hook"]
    (way,) = await post.ways(endpoint)
    assert (way.state, way.error) == (HookState.PENDING, f"HTTP {status}")


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
