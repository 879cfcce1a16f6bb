"""Approvals on the real engine, a real database and a business system on a real port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.approvals_wiring import open_approvals
from hub.core.approvals import Approvals
from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.outcome import Accepted as Taken
from hub.core.task import FollowUpId, Person
from hub.core.webhooks import HookAnswer, HookCaller
from hub.store.ids import new_id
from hub.webhooks.caller import EndpointCaller
from hub.webhooks.guard import Guard
from hub.webhooks.sender import open_sender
from hub.webhooks.signing import verify
from tests.support.hook_receiver import HookReceiver, Reply, open_hook_receiver
from tests.unit.api.harness import MINE, World, open_world, sqlite_url

PATH = "/v1/tasks/oa:t1"


def body(version: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "instance": {"id": "i1", "title": "请假申请", "applicant": "u_9"},
        "assignees": ["u_1", "u_2"],
        "version": version,
        **more,
    }


def another_process(world: World, hooks: HookCaller | None = None) -> Approvals:
    """The same data, without what the first process has in its memory."""
    return open_approvals(
        world.hub.engine,
        database=world.database,
        directory=world.hub.directory,
        templates=world.hub.templates,
        webhooks=world.hub.webhooks,
        hooks=hooks or world.hub.hooks,
        settings=world.hub.settings,
    )


@asynccontextmanager
async def asked_for_real(world: World, receiver: HookReceiver) -> AsyncIterator[str]:
    """The business system is asked over HTTP; its secret."""
    guard = Guard(("127.0.0.1",))
    world.hub.hooks.allow = ("127.0.0.1",)
    made = await world.post("/v1/webhooks", {"url": f"{receiver.url}/hook", "events": ["task.action"]})
    async with open_sender(guard) as sender:
        caller = EndpointCaller(world.hub.webhooks, sender, guard, clock=world.clock, new_id=new_id)
        world.hub.approvals = another_process(world, caller)
        yield str(made["secret"])


async def act(world: World, user: str, action: str = "approve") -> Any:
    token = await world.token(user)
    return await world.call("POST", f"{PATH}/actions", token, json={"action_id": action})


async def cards(world: World, user: str) -> list[dict[str, Any]]:
    entries = (await world.get("/v1/queue", await world.token(user)))["data"]
    return [e["message"]["body"] for e in entries if e["message"] and e["message"]["kind"] == "card"]


@pytest.fixture
async def world(tmp_path: Any, plan: dict[str, Any]) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path), **plan) as opened:
        yield opened


async def test_of_two_hundred_one_wins_and_a_server_that_fails_twice_takes_the_decision_once(
    database_url: str,
) -> None:
    users = [f"u_{n}" for n in range(200)]
    with open_hook_receiver() as receiver:
        receiver.replies = [Reply(503), Reply(drop=True), Reply(200, b'{"result": "applied"}')]
        async with open_world(database_url) as world, asked_for_real(world, receiver) as secret:
            answer = await world.call("PUT", PATH, json=body(assignees=users))
            assert answer.status_code == 201, answer.text
            tokens = await asyncio.gather(*(world.token(user) for user in users))
            answers = await asyncio.gather(
                *(
                    world.call("POST", f"{PATH}/actions", token, json={"action_id": "approve"})
                    for token in tokens
                )
            )
            winners = [a.json()["action"]["user_id"] for a in answers if a.status_code in (200, 202)]
            losers = [a.json()["decision"]["user_id"] for a in answers if a.status_code == 409]
            assert (len(winners), len(losers), set(losers)) == (1, 199, set(winners))
            for _ in range(3):
                world.clock.shift += timedelta(minutes=6)
                await world.hub.approvals.sweep(limit=50)
            task = await world.get(PATH)
            assert (task["state"], task["decision"]["user_id"]) == ("approved", winners[0])
            assert {one["state"] for one in task["assignees"]} == {"approved", "done_by_other"}
        assert len(receiver.heard) == 3
        assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
        for heard in receiver.heard:
            at = datetime.fromtimestamp(int(heard.headers["webhook-timestamp"]), UTC)
            assert verify([secret], heard.headers, heard.body, now=at) == heard.headers["webhook-id"]
        question = json.loads(receiver.heard[-1].body)
        assert (question["type"], question["data"]["user_id"]) == ("task.action", winners[0])


async def test_a_process_that_dies_after_the_decision_leaves_nothing_undone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.post("/v1/webhooks", {"url": "https://oa.example.com/hook", "events": ["task.action"]})
    await world.post("/v1/webhooks", {"url": "https://log.example.com/hook", "events": ["task.approved"]})
    assert (await world.call("PUT", PATH, json=body())).status_code == 201

    async def die(self: object, ids: Collection[FollowUpId]) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("hub.core.approvals_follow.FollowUps.now", die)
        with pytest.raises(asyncio.CancelledError):
            await world.hub.approvals.act(
                MINE, PATH.rpartition("/")[2], await person(world, "u_1"), "approve"
            )
    assert (await world.get(PATH))["processing"]
    assert await cards(world, "u_2") == []
    other = another_process(world)
    assert await other.sweep(limit=50) == 0, "the lease of who died has not ended"
    world.clock.shift += timedelta(seconds=31)
    await other.sweep(limit=50)
    task = await world.get(PATH)
    assert (task["state"], len(world.hub.hooks.asked)) == ("approved", 1)
    for user in ("u_1", "u_2"):
        assert (await cards(world, user))[-1]["state"] == "approved"
    listeners = (await world.get("/v1/webhooks"))["data"]
    log = next(one["id"] for one in listeners if "log" in one["url"])
    told = (await world.get(f"/v1/webhooks/{log}/deliveries"))["data"]
    assert len(told) == 1
    assert await other.sweep(limit=50) == 0, "nothing is done twice"


async def person(world: World, user: str) -> Person:
    return Person((await world.hub.directory.user_keys(MINE, [user]))[user], user)


async def sends(world: World, **only: str) -> list[dict[str, Any]]:
    return list((await world.get("/v1/deliveries", params=only))["data"])


async def tried(world: World) -> None:
    """A worker has come by: what was queued has been tried once."""
    await world.hub.engine.drain()
    await world.hub.engine.dispatcher.run(
        [DeliveryId(one["id"]) for one in await sends(world, state="queued")]
    )


ROUTE = {
    "steps": [
        {"channel": "ws", "success": "read", "wait": "PT5M"},
        {"channel": "wechat_mp", "success": "delivered"},
    ]
}


async def test_with_one_decision_all_that_was_still_planned_for_the_others_stops(world: World) -> None:
    await world.call("PUT", "/v1/policies/gentle", json=ROUTE)
    await world.call("PUT", PATH, json=body(notify={"policy": "gentle"}))
    await tried(world)
    assert (await act(world, "u_1")).status_code == 200
    world.clock.shift += timedelta(minutes=6)
    await world.hub.engine.dispatcher.sweep(limit=100)
    assert {one["state"] for one in await sends(world, channel="ws")} == {"accepted"}
    assert await sends(world, channel="wechat_mp") == []


async def test_where_all_must_sign_only_who_has_acted_is_left_in_peace(world: World) -> None:
    await world.call("PUT", "/v1/policies/gentle", json=ROUTE)
    wanted = body(notify={"policy": "gentle"}, node={"sign_mode": "all"})
    await world.call("PUT", PATH, json=wanted)
    await tried(world)
    assert (await act(world, "u_1")).json()["task"]["state"] == "pending"
    world.clock.shift += timedelta(minutes=6)
    await world.hub.engine.dispatcher.sweep(limit=100)
    assert {one["user_id"] for one in await sends(world, channel="wechat_mp")} == {"u_2"}


CLOSED = {
    "texts": {"zh-CN": {"title": "{{ title }}：{{ outcome }}", "text": "{{ who }} {{ at }}"}},
    "default_locale": "zh-CN",
    "variables": {"title": "text", "outcome": "text", "phrase": "text", "who": "text", "at": "datetime"},
}


@pytest.mark.parametrize(
    ("template", "sends_outside"),
    [pytest.param("closed", 2, id="the task, and how it ended"), pytest.param(None, 1, id="the task only")],
)
async def test_only_those_whom_something_outside_has_reached_hear_outside_how_it_ended(
    world: World, template: str | None, sends_outside: int
) -> None:
    straight = {"steps": [{"channel": "wechat_mp", "success": "delivered"}]}
    await world.call("PUT", "/v1/policies/straight", json=straight)
    assert (await world.call("PUT", "/v1/templates/closed", json=CLOSED)).status_code == 201
    notify = {"policy": "straight", "closed_template": template}
    answer = await world.call("PUT", PATH, json=body(notify=notify, assignees=["u_1", "u_2", "u_3"]))
    assert answer.status_code == 201, answer.text
    for send in await sends(world, channel="wechat_mp", user="u_2"):
        (row,) = await world.hub.engine._ports.deliveries.deliveries([send["id"]])
        await world.hub.engine.dispatcher.run([row.id])
        await world.hub.engine.dispatcher.settle(row.id, Taken("mp-1"))
    assert (await act(world, "u_1")).status_code == 200
    told = [s for s in await sends(world, channel="wechat_mp") if s["state"] != DeliveryState.CANCELED.value]
    assert {one["user_id"] for one in told} == {"u_2"}
    assert len(told) == sends_outside
    queue = [entry["message"] for entry in (await world.get("/v1/queue", await world.token("u_2")))["data"]]
    closed = [one["body"]["title"] for one in queue if one["kind"] == "notification"][1:]
    assert closed == ["已由u_1同意：请假申请"], "in the app they hear of it either way"
    others = [s["user_id"] for s in await sends(world, state="canceled")]
    assert sorted(others) == ["u_1", "u_3"]


async def test_escalation_and_expiry_follow_the_working_hours_of_the_app(world: World) -> None:
    friday = datetime(2026, 3, 6, 9, 0, tzinfo=UTC)  # 17:00 in Shanghai
    world.clock.shift = friday - datetime.now(UTC)
    await world.users("boss")
    notify = {
        "clock": "working_hours",
        "escalation": [
            {"after": "PT2H", "to": "remind"},
            {"after": "PT3H", "to": "manager", "user": "boss"},
            {"after": "PT4H", "to": "webhook"},
        ],
    }
    await world.call("PUT", PATH, json=body(notify=notify, due_in="PT8H"))

    async def at(days: int, hour: int) -> list[str]:
        moment = friday.replace(hour=hour, minute=5) + timedelta(days=days)
        world.clock.shift = moment - datetime.now(UTC)
        await world.hub.approvals.sweep(limit=50)
        return [one["event"] for one in (await world.get(f"{PATH}/timeline"))["data"]]

    assert await at(1, 9) == ["created"], "Saturday"
    assert "reminded" in await at(3, 2), "Monday at ten: an hour of Friday, and one of the morning"
    story = await at(3, 5)
    assert story.count("escalated") == 2
    assert "sla_breached" in story
    entries = (await world.get("/v1/queue", await world.token("boss")))["data"]
    assert entries[0]["message"]["body"]["title"].startswith("超时未处理")
    assert "expired" not in await at(3, 7)
    assert (await at(3, 9))[-1] == "expired"
    assert (await cards(world, "u_1"))[-1]["texts"]["zh-CN"] == "已过期"
    assert (await act(world, "u_1")).status_code == 409


async def test_a_task_whose_decision_waits_for_the_business_system_does_not_expire(world: World) -> None:
    await world.post("/v1/webhooks", {"url": "https://oa.example.com/hook", "events": ["task.action"]})
    world.hub.hooks.usual = HookAnswer(503)
    due = (world.clock() + timedelta(minutes=1)).isoformat()
    await world.call("PUT", PATH, json=body(due_at=due))
    assert (await act(world, "u_1")).status_code == 202
    world.clock.shift += timedelta(minutes=2)
    await world.hub.approvals.sweep(limit=50)
    assert (await world.get(PATH))["processing"]
    world.hub.hooks.usual = HookAnswer(200)
    world.clock.shift += timedelta(minutes=10)
    await world.hub.approvals.sweep(limit=50)
    assert (await world.get(PATH))["state"] == "approved"


async def test_who_was_sent_a_card_by_a_process_that_died_sees_it_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died when the notification had just been accepted."""

    def die(answers: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("hub.core.approvals_send._checked", die)
        with pytest.raises(asyncio.CancelledError):
            await world.call("PUT", PATH, json=body())
    assert (await act(world, "u_1")).status_code == 200
    assert (await cards(world, "u_2"))[-1]["state"] == "approved"
    world.clock.shift += timedelta(minutes=1)
    await world.hub.approvals.sweep(limit=50)
    entries = (await world.get("/v1/queue", await world.token("u_2")))["data"]
    assert [e["message"]["kind"] for e in entries].count("notification") == 1
