"""Two API processes and two gateways: chat across them, three ways of one user's devices to read, devices shown out."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster
from tests.support.puller import Puller

pytestmark = [pytest.mark.timeout(240), pytest.mark.worker]
MESSAGES = int(os.environ.get("HUB_MODES_MESSAGES", "2000"))
_names = itertools.count(1)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("roles")
    with cluster(
        directory,
        f"sqlite+aiosqlite:///{directory / 'hub.db'}",
        HUB_NODE_LEASE="2",
        HUB_GRACE_APP="0.2",
        HUB_GRACE_WEB="0.2",
        HUB_DRAIN_TIMEOUT="2",
        HUB_FRAMES_PER_SECOND="2000",
        HUB_RATE_USER="0",
    ) as running:
        for name in ("gateway-1", "gateway-2"):
            running.start_node(name, "--role", "gateway")
        for name in ("api-1", "api-2"):
            running.start_node(name, "--role", "api")
        yield running


def fresh(name: str) -> str:
    return f"{name}{next(_names)}"


def token(hub: Cluster, user: str) -> str:
    return str(hub.request("POST", f"{hub.url('api-1')}/v1/tokens", {"user": user})["token"])


@asynccontextmanager
async def device(
    hub: Cluster, user: str, *gateways: str, name: str | None = None, **more: Any
) -> AsyncIterator[HubClient]:
    bearer = await asyncio.to_thread(token, hub, user)
    addresses = [hub.socket_url(gateway) for gateway in gateways]
    client = HubClient(addresses, lambda: bearer, device=name or fresh("d-"), **more)
    async with client:
        await asyncio.wait_for(client.live(), 20)
        yield client


async def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


def problem(method: str, url: str, bearer: str) -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {bearer}"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    return refused.value.code, json.loads(refused.value.read())["code"]


async def test_chat_crosses_gateways_and_api_processes(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with device(hub, alice, "gateway-1") as sender, device(hub, bob, "gateway-2") as peer:
        ok = await sender.send({"user": bob}, "c-1", {"text": "你好"})
        for number, api in enumerate(("api-1", "api-2"), 1):
            url = f"{hub.url(api)}/v1/conversations/{ok['conversation']}/messages"
            await asyncio.to_thread(
                hub.request, "POST", url, {"body": {"text": f"{number}"}, "sender": alice}
            )
        await until(lambda: len(peer.applied) == len(sender.applied) == 3)
        assert [m["body"]["text"] for m in peer.applied] == ["你好", "1", "2"]
        assert [m["seq"] for m in peer.applied] == [1, 2, 3]


async def test_an_api_process_knows_who_is_online_at_the_gateways(hub: Cluster) -> None:
    alice = fresh("alice")
    url = f"{hub.url('api-2')}/v1/presence?user={alice}"
    async with device(hub, alice, "gateway-1"):
        (row,) = (await asyncio.to_thread(hub.request, "GET", url))["data"]
        assert row["online"] is True


def test_what_another_role_serves_is_a_problem_that_says_which(hub: Cluster) -> None:
    key = hub.api_key
    assert problem("GET", f"{hub.url('gateway-1')}/v1/users", key) == (404, "wrong_role")
    assert problem("GET", f"{hub.url('gateway-1')}/console", key) == (404, "wrong_role")
    assert problem("GET", f"{hub.url('api-1')}/v1/queue?user=x", key) == (404, "wrong_role")
    for name in ("api-1", "gateway-1"):
        for path in ("/healthz", "/readyz", "/metrics"):
            with urllib.request.urlopen(hub.url(name) + path, timeout=10) as answer:
                assert answer.status == 200


async def test_a_socket_at_an_api_process_is_refused_with_the_same_problem(hub: Cluster) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(hub.socket_url("api-1"), subprotocols=[Subprotocol("hub.v1")]):
            pass
    response = refused.value.response
    assert response.status_code == 404
    assert json.loads(response.body or b"{}")["code"] == "wrong_role"


async def test_devices_that_push_hint_and_poll_end_with_the_same_queue(hub: Cluster) -> None:
    """A gateway dies in between; every device has a cursor of its own."""
    alice, bob = fresh("alice"), fresh("bob")
    bearer = await asyncio.to_thread(token, hub, bob)
    both = ["gateway-1", "gateway-2"]
    async with (
        device(hub, alice, "gateway-1") as sender,
        device(hub, bob, *both, name="phone") as push,
        device(hub, bob, *both[::-1], name="watch", mode="hint") as hint,
        Puller([hub.url(name) for name in both[::-1]], bearer, "mini") as poll,
    ):
        sent: list[str] = []

        async def talk(numbers: range) -> None:
            for number in numbers:
                ok = await sender.send({"user": bob}, f"m-{number}", {"n": number})
                sent.append(ok["message"])

        half = MESSAGES // 2
        await asyncio.gather(*(talk(range(start, half, 8)) for start in range(8)))
        await asyncio.to_thread(hub.kill, "gateway-2")
        await asyncio.gather(*(talk(range(half + start, MESSAGES, 8)) for start in range(8)))
        hub.start_node("gateway-2", "--role", "gateway")
        readers = (push, hint, poll)
        await until(lambda: all(len(reader.applied) >= MESSAGES for reader in readers), 60)
        queues = [[(m["q"], m["id"]) for m in reader.applied] for reader in readers]
        assert queues[0] == queues[1] == queues[2]
        assert sorted(sent) == sorted(id_ for _, id_ in queues[0])
        assert [q for q, _ in queues[0]] == list(range(1, MESSAGES + 1))
        assert 0 < hint.hints < MESSAGES
        assert poll.gaps == 0
        devices = f"{hub.url('api-1')}/v1/users/{bob}/devices"

        def cursors() -> dict[str, int]:
            return {d["device_id"]: d["cursor"] for d in hub.request("GET", devices)["data"]}

        expected = {"phone": MESSAGES, "watch": MESSAGES, "mini": MESSAGES}
        async with asyncio.timeout(10):
            while await asyncio.to_thread(cursors) != expected:
                await asyncio.sleep(0.1)


async def test_who_only_polls_is_not_online_and_hears_at_once_of_what_another_node_takes(
    hub: Cluster,
) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    bearer = await asyncio.to_thread(token, hub, bob)
    async with Puller([hub.url("gateway-1")], bearer, "mini", wait="PT50S") as poll:
        metrics = f"{hub.url('gateway-1')}/metrics"

        def waiting() -> bool:
            with urllib.request.urlopen(metrics, timeout=5) as answer:
                return b"\nhub_polls 1.0" in answer.read()

        async with asyncio.timeout(10):
            while not await asyncio.to_thread(waiting):
                await asyncio.sleep(0.05)
        url = f"{hub.url('api-1')}/v1/presence?user={bob}"
        (row,) = (await asyncio.to_thread(hub.request, "GET", url))["data"]
        assert row["online"] is False
        async with device(hub, alice, "gateway-2") as sender:
            await sender.send({"user": bob}, "c-1", {"text": "hi"})
            await until(lambda: len(poll.applied) == 1, within=3)
        assert poll.empty == 0


async def test_a_kicked_device_is_closed_wherever_it_is_and_the_others_stay(hub: Cluster) -> None:
    bob = fresh("bob")
    devices = f"{hub.url('api-1')}/v1/users/{bob}/devices"
    async with (
        device(hub, bob, "gateway-1", name="phone") as phone,
        device(hub, bob, "gateway-2", name="tablet") as tablet,
    ):
        listed = (await asyncio.to_thread(hub.request, "GET", devices))["data"]
        assert {d["device_id"]: (d["online"], len(d["sessions"])) for d in listed} == {
            "phone": (True, 1),
            "tablet": (True, 1),
        }
        kicked = await asyncio.to_thread(hub.request, "POST", f"{devices}/tablet/kick", {"remove": True})
        assert kicked == {"device_id": "tablet", "sessions": 1, "removed": True}
        await until(lambda: len(tablet.farewells) == 1)
        assert (tablet.farewells[0]["code"], tablet.farewells[0]["reconnect"]) == (4411, False)
        assert phone.farewells == []
        listed = (await asyncio.to_thread(hub.request, "GET", devices))["data"]
        assert [(d["device_id"], d["online"]) for d in listed] == [("phone", True)]


async def test_a_removed_device_starts_as_a_new_one(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    devices = f"{hub.url('api-1')}/v1/users/{bob}/devices"
    async with device(hub, alice, "gateway-1") as sender, device(hub, bob, "gateway-2", name="old") as old:
        await sender.send({"user": bob}, "c-1", {"text": "hi"})
        await until(lambda: len(old.applied) == 1)
        await asyncio.to_thread(hub.request, "POST", f"{devices}/old/kick", {"remove": True})
        await until(lambda: len(old.farewells) == 1)
    bearer = await asyncio.to_thread(token, hub, bob)
    hello = {"type": "hello", "token": bearer, "device": {"id": "old", "platform": "app"}}
    async with connect(hub.socket_url("gateway-1"), subprotocols=[Subprotocol("hub.v1")]) as socket:
        await socket.send(json.dumps(hello))
        assert json.loads(await socket.recv())["cursor"] == 0


async def test_a_user_sees_and_shows_out_the_own_devices_only(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    api = hub.url("api-2")
    async with device(hub, bob, "gateway-1", name="phone") as phone:
        mine = await asyncio.to_thread(token, hub, alice)
        url = f"{api}/v1/me/devices/phone/kick"
        with pytest.raises(AssertionError, match="device_not_found"):
            await asyncio.to_thread(hub.request, "POST", url, {}, mine)
        own = await asyncio.to_thread(token, hub, bob)
        done = await asyncio.to_thread(hub.request, "POST", url, {}, own)
        assert done["sessions"] == 1
        await until(lambda: len(phone.farewells) == 1)


def answered(client: HubClient) -> bool:
    return bool(client.applied or client.farewells or client._live.is_set())


@pytest.mark.parametrize("overflow", ["replace", "refuse"])
async def test_the_limit_of_sessions_holds_over_gateways(hub: Cluster, overflow: str) -> None:
    app = fresh("limited-")
    made = await asyncio.to_thread(
        hub.request, "POST", f"{hub.url('api-1')}/v1/apps", {"id": app, "name": app}
    )
    key = made["key"]["secret"]
    await asyncio.to_thread(
        hub.request,
        "PATCH",
        f"{hub.url('api-1')}/v1/apps/{app}",
        {"settings": {"sessions_per_platform": 2, "session_overflow": overflow}},
    )
    minted = await asyncio.to_thread(
        hub.request, "POST", f"{hub.url('api-1')}/v1/tokens", {"user": "ann"}, key
    )
    gateways = itertools.cycle(["gateway-1", "gateway-2"])
    clients = [
        HubClient([hub.socket_url(next(gateways))], lambda: str(minted["token"]), device=f"d-{number}")
        for number in range(5)
    ]
    try:
        for client in clients:
            await client.__aenter__()
            await until(partial(answered, client))
            await asyncio.sleep(0.1)
        await until(lambda: sum(bool(client.farewells) for client in clients) == 3)
        gone = [number for number, client in enumerate(clients) if client.farewells]
        assert gone == ([0, 1, 2] if overflow == "replace" else [2, 3, 4])
        codes = {client.farewells[0]["code"] for client in clients if client.farewells}
        assert codes == {4409 if overflow == "replace" else 4410}
    finally:
        for client in clients:
            await client.__aexit__()


async def test_own_sends_and_reads_reach_ones_other_devices(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    async with (
        device(hub, alice, "gateway-1") as phone,
        device(hub, alice, "gateway-2") as laptop,
        device(hub, alice, "gateway-2", mode="hint") as watch,
        device(hub, bob, "gateway-2") as peer,
    ):
        sent = await phone.send({"user": bob}, "c-1", {"text": "hi"})
        await until(lambda: len(laptop.applied) == len(watch.applied) == len(peer.applied) == 1)
        await peer.send({"user": alice}, "c-2", {"text": "ho"})
        await until(lambda: len(laptop.applied) == len(watch.applied) == len(phone.applied) == 2)
        await phone.say({"type": "read", "conversation": sent["conversation"], "seq": 2})

        def heard(client: HubClient) -> bool:
            return any(e["type"] == "read" and e["user"] == alice and e["seq"] == 2 for e in client.events)

        await until(lambda: heard(laptop) and heard(watch))
