"""A decision on one phone turns the card on every device of everybody who holds it: live, or when it comes back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.services.redis import free_port
from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster
from tests.support.hook_receiver import Reply, open_hook_receiver

pytestmark = [pytest.mark.timeout(120), pytest.mark.worker]
EXAMPLE = Path(__file__).parents[2] / "examples" / "approval" / "leave.py"
PATH = "/v1/tasks/oa:inst-1:t1"


@pytest.fixture
def hub(tmp_path: Any) -> Iterator[Cluster]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    with cluster(tmp_path, url, HUB_WEBHOOK_ALLOW="127.0.0.1") as running:
        running.start_node("a")
        yield running


def device(hub: Cluster, user: str, name: str) -> HubClient:
    def token() -> str:
        return str(hub.request("POST", f"{hub.url('a')}/v1/tokens", {"user": user})["token"])

    return HubClient([hub.socket_url("a")], token, name)


def cards(client: HubClient) -> list[dict[str, Any]]:
    return [frame["body"] for frame in client.applied if frame["kind"] == "card"]


async def until_card(client: HubClient, state: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while not any(card["state"] == state and not card["processing"] for card in cards(client)):
            await asyncio.sleep(0.05)
    return max(cards(client), key=lambda card: card["rev"])


async def test_every_device_of_every_holder_sees_the_decision(hub: Cluster) -> None:
    base = hub.url("a")

    def call(method: str, path: str, body: object = None) -> Any:
        return hub.request(method, base + path, body)

    with open_hook_receiver() as business:
        business.usual = Reply(200, b'{"result": "applied"}')
        hook = {"url": f"{business.url}/hook", "events": ["task.action"]}
        await asyncio.to_thread(call, "POST", "/v1/webhooks", hook)
        async with AsyncExitStack() as stack:
            names = [("u_1", "phone"), ("u_1", "laptop"), ("u_2", "phone2"), ("u_2", "laptop2")]
            devices = [await stack.enter_async_context(device(hub, user, name)) for user, name in names]
            await asyncio.gather(*(one.live() for one in devices))
            task = {
                "instance": {"id": "i1", "title": "请假"},
                "assignees": ["u_1", "u_2", "u_3"],
                "version": 1,
            }
            await asyncio.to_thread(call, "PUT", PATH, task)
            phone = devices[0]
            async with asyncio.timeout(15):
                while not phone.applied:
                    await asyncio.sleep(0.05)
            card = next(frame for frame in phone.applied if frame["kind"] == "notification")
            press = {"type": "action", "message": card["id"], "action": "approve"}
            answer = await phone.request(
                {**press, "data": {"comment": "好", "client_action_id": "c1"}}, timeout=20
            )
            assert answer is not None
            assert (answer["type"], answer["state"], answer["task_state"]) == ("ok", "applied", "approved"), (
                answer
            )
            for one in devices:
                shown = await until_card(one, "approved")
                assert (shown["decided_by"], shown["notification"]) == ("u_1", card["notification"])
            late = await devices[2].request({**press, "action": "reject"})
            assert late is not None
            assert (late["type"], late["code"]) == ("error", "task_already_decided")
            assert "u_1" in late["detail"]
            again = await phone.request({**press, "data": {"client_action_id": "c1"}})
            assert again is not None
            assert again["duplicate"]
        async with device(hub, "u_3", "was-away") as back:
            await back.live()
            assert (await until_card(back, "approved"))["decided_by"] == "u_1"
        assert len(business.heard) == 1
    story = (await asyncio.to_thread(call, "GET", f"{PATH}/timeline"))["data"]
    acted = next(one for one in story if one["event"] == "acted")
    assert (acted["actor"], acted["detail"]["acted_from"]) == ("u_1", "app")


async def test_the_example_takes_a_leave_request_to_approved(hub: Cluster) -> None:
    listen = f"http://127.0.0.1:{free_port()}"
    words = [
        "--hub",
        hub.url("a"),
        "--key",
        hub.api_key,
        "--listen",
        listen,
        "--approver",
        "li",
        "--wait",
        "60",
    ]
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert program.stdout is not None
    said = ""
    while "submitted leave:" not in said:  # a hub without WeChat: that is said first
        line = (await asyncio.wait_for(program.stdout.readline(), 30)).decode()
        assert line, said
        said += line
    async with device(hub, "li", "phone") as phone:
        await phone.live()
        async with asyncio.timeout(15):
            while not phone.applied:
                await asyncio.sleep(0.05)
        press = {"type": "action", "message": phone.applied[0]["id"], "action": "approve"}
        answer = await phone.request(press, timeout=20)
        assert answer is not None
        assert answer["task_state"] == "approved", answer
        await until_card(phone, "approved")
    rest = (await asyncio.wait_for(program.stdout.read(), 30)).decode()
    assert rest.rstrip().endswith("approved by li"), rest
    assert await program.wait() == 0
