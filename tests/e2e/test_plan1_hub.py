"""Two real nodes with messages in Redis: sockets, REST, the list of conversations, a notification's story, recall."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_two_nodes import device, fresh, token, until
from tests.services import KIND
from tests.support.cluster import Cluster, cluster

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.worker,
    pytest.mark.skipif(KIND == "cluster", reason="plan 1 is refused on a Cluster (docs/decisions/0019)"),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("plan1")
    url = f"sqlite+aiosqlite:///{directory / 'hub.db'}"
    with cluster(directory, url, HUB_STORE="redis", HUB_DRAIN_TIMEOUT="2") as running:
        running.start_node("a")
        running.start_node("b")
        running.start_worker()
        yield running


async def ask(hub: Cluster, method: str, path: str, body: object = None, *, user: str | None = None) -> Any:
    bearer = None if user is None else await asyncio.to_thread(token, hub, user)
    return await asyncio.to_thread(hub.request, method, f"{hub.url('b')}{path}", body, bearer)


async def test_a_chat_is_on_sockets_in_history_and_in_the_list(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with device(hub, alice, "a") as sender, device(hub, bob, "b") as peer:
        texts = [f"第 {n} 条" for n in range(5)]
        ok = await sender.send({"user": bob}, "c-0", {"text": texts[0]})
        for n, text in enumerate(texts[1:], 1):
            await sender.send({"user": bob}, f"c-{n}", {"text": text})
        await until(lambda: len(peer.applied) == 5)
        assert [frame["body"]["text"] for frame in peer.applied] == texts
        room = ok["conversation"]
        (listed,) = (await ask(hub, "GET", "/v1/conversations", user=bob))["data"]
        assert (listed["id"], listed["last_message"]["body"]["text"]) == (room, "第 4 条")
        assert listed["mine"]["unread"] == 5
        page = await ask(hub, "GET", f"/v1/conversations/{room}/messages", user=bob)
        assert [message["seq"] for message in page["data"]] == [1, 2, 3, 4, 5]
        await peer.say({"type": "read", "conversation": room, "seq": 3})
        await until(lambda: any(e["type"] == "read" and e["user"] == bob for e in sender.events))
        shown = await ask(hub, "GET", f"/v1/conversations/{room}", user=bob)
        assert shown["mine"]["unread"] == 2
        group = {"title": "群", "members": [{"user_id": alice}, {"user_id": bob}]}
        made = await ask(hub, "POST", "/v1/conversations", group)
        await sender.send({"conversation": made["id"]}, "g-1", {"text": "hi"})
        await until(lambda: peer.applied[-1]["body"].get("text") == "hi")


async def test_a_notification_is_told_followed_and_taken_back(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with device(hub, alice, "a") as client:
        await ask(hub, "POST", "/v1/tokens", {"user": bob})
        body = {"to": [{"user_id": alice}, {"user_id": bob}], "content": {"title": "审批"}}
        made = await ask(hub, "POST", "/v1/notifications", body)
        await until(lambda: len(client.applied) == 1)
        path = f"/v1/notifications/{made['id']}"

        def told() -> bool:
            shown = hub.request("GET", f"{hub.url('a')}{path}")
            people = {person["user_id"]: person for person in shown["recipients"]}
            return (people[alice]["state"], people[bob]["state"]) == ("delivered", "accepted")

        await until(told)
        assert (await ask(hub, "GET", f"{path}/timeline"))["data"]
        (inbox,) = (await ask(hub, "GET", "/v1/conversations", user=bob))["data"]
        assert (inbox["kind"], inbox["mine"]["unread"]) == ("inbox", 1)
        await ask(hub, "POST", f"{path}/recall")
        await until(lambda: any(frame["kind"] == "recall" for frame in client.applied))
        shown = await ask(hub, "GET", path)
        assert "审批" not in str(shown.get("message") or shown.get("content") or "")


async def test_search_is_refused_with_a_reason(hub: Cluster) -> None:
    alice = fresh("alice")
    bearer = await asyncio.to_thread(token, hub, alice)
    request = urllib.request.Request(f"{hub.url('a')}/v1/search/messages?q=hello")
    request.add_header("Authorization", f"Bearer {bearer}")

    def search() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    status, problem = await asyncio.to_thread(search)
    assert 400 <= status < 500
    assert "not_searchable" in problem
