"""Devices of one user on two gateways: shown out, too many at once, and kept alike by what the others do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.e2e.test_roles import device, fresh, token, until
from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster
from tests.support.puller import Puller

pytestmark = [pytest.mark.timeout(240), pytest.mark.worker]
Frame = dict[str, Any]
BOTH = ("gateway-1", "gateway-2")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("devices")
    with cluster(
        directory,
        f"sqlite+aiosqlite:///{directory / 'hub.db'}",
        HUB_NODE_LEASE="2",
        HUB_GRACE_APP="0.2",
        HUB_GRACE_WEB="0.2",
        HUB_DRAIN_TIMEOUT="2",
        HUB_RATE_USER="0",
    ) as running:
        for name in BOTH:
            running.start_node(name, "--role", "gateway")
        running.start_node("api-1", "--role", "api")
        yield running


async def ask(hub: Cluster, method: str, path: str, body: object = None, bearer: str | None = None) -> Any:
    return await asyncio.to_thread(hub.request, method, f"{hub.url('api-1')}{path}", body, bearer)


async def pulled(hub: Cluster, gateway: str, bearer: str, name: str) -> tuple[int, str]:
    """Status and code of a pull by a device."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}) as http:
        answer = await http.get(f"{hub.url(gateway)}/v1/queue", params={"device": name})
    return answer.status_code, answer.json().get("code", "")


async def greeted(hub: Cluster, gateway: str, bearer: str, name: str) -> Frame:
    """What a hello ends in: a welcome, or a bye."""
    address = hub.socket_url(gateway)
    async with connect(address, subprotocols=[Subprotocol("hub.v1")], compression=None) as socket:
        said = {"id": name, "platform": "app"}
        await socket.send(json.dumps({"type": "hello", "token": bearer, "device": said}))
        try:
            while True:
                frame: Frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
                if frame["type"] in ("welcome", "bye"):
                    return frame
        except ConnectionClosed as closed:
            raise AssertionError("closed without a bye") from closed


async def test_a_device_that_was_shown_out_does_not_come_back_with_its_old_token(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    old = await asyncio.to_thread(token, hub, bob)
    stranger = await asyncio.to_thread(token, hub, alice)
    async with (
        device(hub, bob, "gateway-1", name="phone") as phone,
        HubClient([hub.socket_url("gateway-2")], lambda: old, device="tablet") as tablet,
        Puller([hub.url("gateway-2")], old, "mini", wait="PT1S") as mini,
        device(hub, alice, "gateway-1") as sender,
    ):
        await asyncio.wait_for(tablet.live(), 20)
        await sender.send({"user": bob}, "c-1", {"text": "hi"})
        await until(lambda: len(tablet.applied) == len(mini.applied) == len(phone.applied) == 1)

        async def listed() -> dict[str, bool]:
            rows = (await ask(hub, "GET", "/v1/me/devices", bearer=old))["data"]
            return {row["device_id"]: row["online"] for row in rows}

        async with asyncio.timeout(10):  # the poll's acknowledgement makes it a device
            while await listed() != {"phone": True, "tablet": True, "mini": False}:
                await asyncio.sleep(0.1)
        for name in ("tablet", "mini"):
            with pytest.raises(AssertionError, match="device_not_found"):
                await ask(hub, "POST", f"/v1/me/devices/{name}/kick", {}, stranger)
            await ask(hub, "POST", f"/v1/me/devices/{name}/kick", {}, old)
        await until(lambda: len(tablet.farewells) == 1)
        assert (tablet.farewells[0]["code"], tablet.farewells[0]["reconnect"]) == (4411, False)
        for gateway in BOTH:
            bye = await greeted(hub, gateway, old, "tablet")
            assert (bye["type"], bye["code"], bye["reason"]) == ("bye", 4411, "kicked")
            assert await pulled(hub, gateway, old, "mini") == (403, "device_kicked")
        assert phone.farewells == []
        new = await asyncio.to_thread(token, hub, bob)
        for gateway in BOTH:
            assert (await greeted(hub, gateway, new, "tablet"))["type"] == "welcome"
            assert (await pulled(hub, gateway, new, "mini"))[0] == 200


@pytest.mark.parametrize("overflow", ["replace", "refuse"])
async def test_the_limit_holds_for_sessions_that_come_at_once_on_different_nodes(
    hub: Cluster, overflow: str
) -> None:
    app = fresh("crowded-")
    key = (await ask(hub, "POST", "/v1/apps", {"id": app, "name": app}))["key"]["secret"]
    settings = {"sessions_per_platform": 2, "session_overflow": overflow}
    await ask(hub, "PATCH", f"/v1/apps/{app}", {"settings": settings})
    bearer = (await ask(hub, "POST", "/v1/tokens", {"user": "ann"}, key))["token"]
    clients = [
        HubClient([hub.socket_url(BOTH[number % 2])], lambda: bearer, device=f"d-{number}")
        for number in range(8)
    ]
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
        await until(lambda: sum(bool(client.farewells) for client in clients) == 6)
        codes = {client.farewells[0]["code"] for client in clients if client.farewells}
        assert codes == {4409 if overflow == "replace" else 4410}
        rows = (await ask(hub, "GET", "/v1/users/ann/devices", bearer=key))["data"]
        online = {row["device_id"] for row in rows if row["online"]}
        assert online == {client.device for client in clients if not client.farewells}
        await asyncio.sleep(0.5)  # nobody is shown out twice, nor the last two
        assert sum(bool(client.farewells) for client in clients) == 6


async def test_own_sends_reads_recalls_and_mutes_reach_ones_other_devices(hub: Cluster) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    bearer = await asyncio.to_thread(token, hub, alice)
    async with (
        device(hub, alice, "gateway-1") as phone,
        device(hub, alice, "gateway-2") as laptop,
        device(hub, alice, "gateway-2", mode="hint") as watch,
        Puller([hub.url("gateway-1")], bearer, "mini", wait="PT1S") as mini,
        device(hub, bob, "gateway-2") as peer,
    ):
        mine: list[HubClient | Puller] = [phone, laptop, watch, mini]

        def kinds(*expected: str) -> Callable[[], bool]:
            return lambda: all([m["kind"] for m in one.applied] == list(expected) for one in mine)

        def heard(**facts: Any) -> Callable[[], bool]:
            return lambda: all(
                any(facts.items() <= event.items() for event in one.events) for one in (phone, laptop, watch)
            )

        sent = await phone.send({"user": bob}, "c-1", {"text": "hi"})
        place = sent["conversation"]
        await until(kinds("text"))
        await peer.send({"user": alice}, "c-2", {"text": "ho"})
        await until(kinds("text", "text"))
        await phone.say({"type": "read", "conversation": place, "seq": 2})
        await until(heard(type="read", user=alice, conversation=place, seq=2))
        assert (await watch.request({"type": "recall", "message": sent["message"]}) or {})["type"] == "ok"
        await until(kinds("text", "text", "recall"))
        assert all(one.applied[-1]["body"]["message"] == sent["message"] for one in mine)
        muted = await ask(hub, "PATCH", f"/v1/conversations/{place}/me", {"muted": True}, bearer)
        await until(heard(type="conversation", conversation=place, rev=1, mine=muted["mine"]))
        assert muted["mine"]["muted"] is True
        assert [event for event in peer.events if event["type"] == "conversation"] == []
        (row,) = (await ask(hub, "GET", "/v1/conversations", bearer=bearer))["data"]
        assert (row["mine"]["muted"], row["mine"]["unread"], row["mine"]["read_seq"]) == (True, 0, 2)


async def test_a_gateway_lists_conversations_as_the_api_does_and_nobody_elses(hub: Cluster) -> None:
    alice, bob, eve = fresh("alice"), fresh("bob"), fresh("eve")
    bearer = await asyncio.to_thread(token, hub, alice)
    async with (
        device(hub, alice, "gateway-1") as phone,
        device(hub, eve, "gateway-2") as stranger,
    ):
        await asyncio.to_thread(token, hub, bob)
        places = [(await phone.send({"user": bob}, "c-1", {"text": "嗨 👋"}))["conversation"]]
        for number in range(4):
            group = {"title": f"群 {number}", "members": [{"user_id": alice, "role": "owner"}]}
            places.append((await ask(hub, "POST", "/v1/conversations", group))["id"])
        listed: list[Frame] = []
        after: Frame = {}
        while True:
            page = await phone.request({"type": "conversations", "limit": 2, **after})
            assert page is not None
            assert page["type"] == "batch"
            assert len(page["conversations"]) <= 2
            listed += page["conversations"]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert listed == (await ask(hub, "GET", "/v1/conversations", bearer=bearer))["data"]
        assert {row["id"] for row in listed} == set(places)
        one = await phone.request({"type": "conversations", "conversation": places[-1]})
        assert one is not None
        shown = await ask(hub, "GET", f"/v1/conversations/{places[-1]}", bearer=bearer)
        assert (one["conversations"], one["next"]) == ([shown], None)
        assert shown["group"]["owner"] == alice
        for frame, code in (
            ({"conversation": places[0]}, "conversation_not_found"),
            ({"conversation": "cnv_nowhere"}, "conversation_not_found"),
            ({"after": "nonsense"}, "cursor_invalid"),
            ({"after": "x", "conversation": places[0]}, "bad_request"),
            ({"limit": 101}, "bad_request"),
        ):
            answer = await stranger.request({"type": "conversations", **frame})
            assert answer is not None
            assert (answer["type"], answer["code"]) == ("error", code)
        nothing = await stranger.request({"type": "conversations"})
        assert nothing is not None
        assert (nothing["conversations"], nothing["next"]) == ([], None)


async def test_sessions_of_a_node_that_was_deaf_are_told_that_something_may_have_been_missed(
    hub: Cluster,
) -> None:
    alice = fresh("alice")
    async with (
        device(hub, alice, "gateway-1") as phone,
        device(hub, alice, "gateway-2", mode="hint") as watch,
    ):
        for one in (phone, watch):
            one.events.clear()
        hub.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(
            lambda: all([e["type"] for e in one.events].count("stale") >= 1 for one in (phone, watch))
        )
