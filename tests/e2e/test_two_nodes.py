"""Two real nodes and a worker: isolation on the socket, presence over a node's death, a policy's way, a drain."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster

pytestmark = [pytest.mark.timeout(120), pytest.mark.worker]
Frame = dict[str, Any]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("two-nodes")
    with cluster(
        directory,
        f"sqlite+aiosqlite:///{directory / 'hub.db'}",
        HUB_NODE_LEASE="2",
        HUB_GRACE_APP="0.2",
        HUB_GRACE_WEB="0.2",
        HUB_DRAIN_TIMEOUT="2",
    ) as running:
        running.start_node("a")
        running.start_node("b")
        running.start_worker()
        yield running


_names = itertools.count(1)


def fresh(name: str) -> str:
    return f"{name}{next(_names)}"


def token(hub: Cluster, user: str, key: str | None = None) -> str:
    return str(hub.request("POST", f"{hub.url('a')}/v1/tokens", {"user": user}, token=key)["token"])


def online(hub: Cluster, *users: str, node: str = "a") -> list[bool]:
    query = "&".join(f"user={user}" for user in users)
    answer = hub.request("GET", f"{hub.url(node)}/v1/presence?{query}")
    by_user = {row["user_id"]: row for row in answer["data"]}
    return [by_user[user]["online"] for user in users]


@asynccontextmanager
async def device(
    hub: Cluster, user: str, node: str = "a", key: str | None = None
) -> AsyncIterator[HubClient]:
    bearer = await asyncio.to_thread(token, hub, user, key)
    client = HubClient([hub.socket_url(node)], lambda: bearer, device=f"d-{next(_names)}")
    async with client:
        await asyncio.wait_for(client.live(), 10)
        yield client


async def until(condition: Any, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def test_a_message_crosses_nodes_and_reaches_all_devices(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with (
        device(hub, alice, "a") as sender,
        device(hub, alice, "b") as twin,
        device(hub, bob, "b") as peer,
    ):
        await sender.send({"user": bob}, "c-1", {"text": "你好"})
        await until(lambda: len(sender.applied) == len(twin.applied) == len(peer.applied) == 1)
        assert peer.applied[0]["body"] == {"text": "你好"}
        assert peer.applied[0]["sender"] == alice


async def test_reading_is_heard_by_the_sender_and_by_ones_other_devices(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with (
        device(hub, alice, "a") as sender,
        device(hub, bob, "b") as peer,
        device(hub, bob, "a") as twin,
    ):
        ok = await sender.send({"user": bob}, "c-1", {"text": "hi"})
        await until(lambda: len(peer.applied) == 1)
        await peer.say({"type": "read", "conversation": ok["conversation"], "seq": 1})
        await until(lambda: any(e["type"] == "read" and e["user"] == bob for e in sender.events))
        await until(lambda: any(e["type"] == "read" and e["user"] == bob for e in twin.events))


async def test_typing_reaches_the_other_side_only(hub: Cluster) -> None:
    alice, bob, eve = fresh("alice"), fresh("bob"), fresh("eve")
    async with device(hub, alice) as sender, device(hub, bob, "b") as peer, device(hub, eve) as stranger:
        ok = await sender.send({"user": bob}, "c-1", {"text": "hi"})
        await sender.say({"type": "typing", "conversation": ok["conversation"]})
        await until(lambda: any(e["type"] == "typing" and e["user"] == alice for e in peer.events))
        assert [e for e in stranger.events if e["type"] == "typing"] == []


async def test_no_frame_opens_what_is_anothers(hub: Cluster) -> None:
    """Every frame that names something, with the ids of two other users, of the same app and of another."""
    alice, bob, eve = fresh("alice"), fresh("bob"), fresh("eve")
    other = hub.request("POST", f"{hub.url('a')}/v1/apps", {"id": fresh("other-app-"), "name": "Other"})
    other_key = other["key"]["secret"]
    async with (
        device(hub, alice) as sender,
        device(hub, bob),
        device(hub, eve) as insider,
        device(hub, alice, key=other_key) as outsider,
    ):
        ok = await sender.send({"user": bob}, "secret-1", {"text": "geheim"})
        conversation = ok["conversation"]
        for thief in (insider, outsider):
            for frame in (
                {
                    "type": "send",
                    "to": {"conversation": conversation},
                    "client_msg_id": "x",
                    "kind": "text",
                    "body": {},
                },
                {"type": "history", "conversation": conversation, "limit": 10},
            ):
                answer = await thief.request(frame)
                assert answer is not None
                assert (answer["type"], answer["code"]) == ("error", "conversation_not_found")
            await thief.say({"type": "read", "conversation": conversation, "seq": 1})
            await thief.say({"type": "typing", "conversation": conversation})
            watched = await thief.request({"type": "watch", "users": [bob]})
            assert watched is not None
            assert (watched["presence"], watched["refused"]) == ({}, [bob])
            synced = await thief.request({"type": "sync", "after": 0, "limit": 10})
            assert synced is None or synced.get("entries") in ([], None)
            assert thief.applied == []
        answer = await outsider.request(
            {"type": "send", "to": {"user": bob}, "client_msg_id": "y", "kind": "text", "body": {"text": "x"}}
        )
        assert answer is not None
        assert answer["code"] == "user_not_found"
        await asyncio.sleep(0.3)
        assert [e for e in sender.events if e["type"] in ("read", "typing")] == []


async def test_the_same_user_id_in_another_app_is_another_person(hub: Cluster) -> None:
    alice = fresh("alice")
    other = hub.request("POST", f"{hub.url('a')}/v1/apps", {"id": fresh("other-app-"), "name": "Other"})
    async with device(hub, alice) as mine, device(hub, alice, key=other["key"]["secret"]) as theirs:
        body = {"to": [{"user_id": alice}], "content": {"title": "only mine"}}
        await asyncio.to_thread(hub.request, "POST", f"{hub.url('b')}/v1/notifications", body)
        await until(lambda: len(mine.applied) == 1)
        assert theirs.applied == []


async def test_watchers_hear_of_coming_and_going(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with device(hub, alice, "a") as watcher:
        async with device(hub, bob, "b") as watched:
            await watched.send({"user": alice}, "c-1", {"text": "hi"})
            answer = await watcher.request({"type": "watch", "users": [bob]})
            assert answer is not None
            assert {user: p["online"] for user, p in answer["presence"].items()} == {bob: True}
        await until(lambda: [e["online"] for e in watcher.events if e["type"] == "presence"] == [False])
        async with device(hub, bob, "b"):
            await until(
                lambda: [e["online"] for e in watcher.events if e["type"] == "presence"] == [False, True]
            )


async def test_wechat_channels_are_always_unknown(hub: Cluster) -> None:
    alice = fresh("alice")
    await asyncio.to_thread(token, hub, alice)
    (row,) = hub.request("GET", f"{hub.url('a')}/v1/presence?user={alice}")["data"]
    assert (row["platforms"]["wechat_mp"], row["platforms"]["miniprogram"]) == ("unknown", "unknown")


async def test_an_offline_user_falls_to_the_next_hop_and_an_online_one_does_not(hub: Cluster) -> None:
    """`ws` is the only channel of this hub: the second hop of the story is `ws` again, which is enough to see it."""
    alice, bob = fresh("alice"), fresh("bob")
    route = {
        "mode": "cascade",
        "steps": [
            {"channel": "ws", "success": "delivered", "wait": "PT60S"},
            {"channel": "ws", "success": "delivered"},
        ],
    }
    async with device(hub, alice) as client:
        body = {"to": [{"user_id": alice}, {"user_id": bob}], "content": {"title": "审批"}, "route": route}
        made = await asyncio.to_thread(hub.request, "POST", f"{hub.url('a')}/v1/notifications", body)
        await until(lambda: len(client.applied) == 1)
        url = f"{hub.url('b')}/v1/deliveries?notification={made['id']}"

        def states() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for row in sorted(hub.request("GET", url)["data"], key=lambda row: row["hop"]):
                found.setdefault(row["user_id"], []).append(row["state"])
            return found

        await until(lambda: states() == {alice: ["delivered"], bob: ["failed", "failed"]})


async def test_a_killed_nodes_sessions_are_offline_within_its_lease(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with device(hub, alice, "a") as watcher:
        bearer = await asyncio.to_thread(token, hub, bob)
        doomed = HubClient([hub.socket_url("b")], lambda: bearer, device="doomed")
        async with doomed:
            await doomed.live()
            await doomed.send({"user": alice}, "c-1", {"text": "hi"})
            await watcher.request({"type": "watch", "users": [bob]})
            assert await asyncio.to_thread(online, hub, bob) == [True]
            await asyncio.to_thread(hub.kill, "b")
            killed = time.monotonic()
            await until(lambda: online(hub, bob) == [False], within=5)
            assert time.monotonic() - killed < 4
            await until(
                lambda: any(e["type"] == "presence" and not e["online"] for e in watcher.events), within=6
            )
            hub.start_node("b")  # from the main thread: Linux ends a child with the thread that made it
            await until(lambda: online(hub, bob) == [True], within=15)


async def test_a_node_that_stops_says_bye_and_loses_nobody(hub: Cluster) -> None:
    alice = fresh("alice")
    bearer = await asyncio.to_thread(token, hub, alice)
    async with connect(hub.socket_url("b"), subprotocols=[Subprotocol("hub.v1")], compression=None) as socket:
        await greet(socket, bearer)
        stopping = asyncio.create_task(asyncio.to_thread(hub.stop_node, "b"))
        frames = await until_closed(socket)
        assert (frames[-1]["type"], frames[-1]["reconnect"]) == ("bye", True)
        assert frames[-1]["retry_after_s"] >= 0
        assert socket.close_code == 1012
    started = time.monotonic()
    await asyncio.wait_for(stopping, 10)
    assert time.monotonic() - started < 8
    hub.start_node("b")  # from the main thread: Linux ends a child with the thread that made it


async def until_closed(socket: ClientConnection) -> list[Frame]:
    frames: list[Frame] = []
    try:
        async for text in socket:
            frames.append(json.loads(text))  # noqa: PERF401  (what came before the close counts)
    except ConnectionClosed:
        pass
    return frames


async def greet(socket: ClientConnection, bearer: str) -> None:
    hello = {"type": "hello", "id": 1, "token": bearer, "device": {"id": "d", "platform": "web", "name": ""}}
    await socket.send(json.dumps(hello))
    assert json.loads(await socket.recv())["type"] == "welcome"


async def test_signing_out_closes_the_sockets_everywhere(hub: Cluster) -> None:
    alice = fresh("alice")
    bearer = await asyncio.to_thread(token, hub, alice)
    reasons: list[str] = []
    for node in ("a", "b"):
        async with connect(
            hub.socket_url(node), subprotocols=[Subprotocol("hub.v1")], compression=None
        ) as socket:
            await greet(socket, bearer)
            url = f"{hub.url('a')}/v1/users/{alice}/sign-out"
            await asyncio.to_thread(hub.request, "POST", url)
            reasons += [frame["reason"] for frame in await until_closed(socket) if frame["type"] == "bye"]
            await asyncio.sleep(1.1)  # tokens carry whole seconds
        bearer = await asyncio.to_thread(token, hub, alice)
    assert reasons == ["rights_changed", "rights_changed"]


async def test_a_token_that_may_only_read_cannot_write(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    await asyncio.to_thread(token, hub, bob)
    body = {"user": alice, "scopes": ["read"]}
    bearer = (await asyncio.to_thread(hub.request, "POST", f"{hub.url('a')}/v1/tokens", body))["token"]
    async with HubClient([hub.socket_url("a")], lambda: str(bearer), device="reader") as reader:
        answer = await reader.request(
            {"type": "send", "to": {"user": bob}, "client_msg_id": "c", "kind": "text", "body": {}}
        )
        assert answer is not None
        assert (answer["type"], answer["code"]) == ("error", "scope_missing")
