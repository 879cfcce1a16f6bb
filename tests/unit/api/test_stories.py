"""Why did this person (not) get it: asked of a notification, of a chat message, and of a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.core.channel import Advice, Envelope
from hub.core.outcome import Outcome, Reason, Rejected
from tests.fakes.channel import ScriptedChannel
from tests.unit.api.harness import World, open_world, sqlite_url


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as opened:
        yield opened


class Talkative(ScriptedChannel):
    """Refuses everybody, and knows what its code means."""

    def __init__(self) -> None:
        super().__init__("wechat_mp")
        self.behaviour = self.refuse

    def refuse(self, envelope: Envelope) -> Outcome:
        return Rejected(Reason.UNSUBSCRIBED, f"to {envelope.recipient.user_id}", code="43004")

    def explain(self, code: str, locale: str) -> Advice | None:
        if code != "43004":
            return None
        return Advice("没有关注", "请关注") if locale.startswith("zh") else Advice("no follower", "follow")


async def notify(world: World, *users: str) -> str:
    body = {
        "to": [{"user_id": user} for user in users],
        "content": {"title": "差旅报销待审批"},
        "route": {"steps": [{"channel": "wechat_mp"}]},
    }
    return str((await world.post("/v1/notifications", body))["id"])


async def tried(world: World, user: str) -> None:
    """The worker has done its part."""
    async with asyncio.timeout(5):
        while not (found := (await world.get("/v1/deliveries", params={"user": user}))["data"]):
            await asyncio.sleep(0.01)
    await world.hub.engine.dispatcher.run([found[0]["id"]])


async def test_a_refusal_is_told_with_the_providers_code_and_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.hub.engine.channels, "_channels", {"wechat_mp": Talkative()})
    notification = await notify(world, "ann")
    await tried(world, "ann")
    told = await world.get(f"/v1/notifications/{notification}/explain", params={"user": "ann"})
    assert told["verdict"] == "in_queue"
    assert "does not follow" in told["sentence"]["en"]
    assert "关注" in told["do"]["zh"]
    (step,) = told["steps"]
    assert (step["state"], step["reason"]) == ("failed", "unsubscribed")
    (attempt,) = step["tries"]
    assert attempt["code"] == "43004"
    assert attempt["meaning"] == {
        "what": {"zh": "没有关注", "en": "no follower"},
        "do": {"zh": "请关注", "en": "follow"},
    }
    assert next(event["words"]["zh"] for event in step["events"]) == "排队中"


async def test_somebody_else_was_not_addressed(world: World) -> None:
    notification = await notify(world, "ann")
    await world.users("bob")
    told = await world.get(f"/v1/notifications/{notification}/explain", params={"user": "bob"})
    assert (told["verdict"], told["steps"]) == ("not_addressed", [])


async def test_a_chat_message_is_explained_by_cursors(world: World) -> None:
    await world.users("ann", "bob", "eve")
    group = await world.group("ann", "bob")
    body = {"to": {"conversation": group}, "sender": "ann", "kind": "text", "body": {"text": "你好"}}
    message = (await world.post("/v1/messages", {**body, "client_msg_id": "1"}))["id"]
    path = f"/v1/messages/{message}/explain"
    assert (await world.get(path, params={"user": "bob"}))["verdict"] == "in_queue"
    assert (await world.get(path, params={"user": "eve"}))["verdict"] == "not_addressed"
    token = await world.token("bob")
    await world.post(f"/v1/conversations/{group}/read", {"seq": 1}, token)
    assert (await world.get(path, params={"user": "bob"}))["verdict"] == "read"


async def test_a_persons_story_has_every_delivery_newest_first(world: World) -> None:
    first, second = await notify(world, "ann"), await notify(world, "ann", "bob")
    async with asyncio.timeout(5):
        while len(found := (await world.get("/v1/users/ann/story"))["data"]) < 2:
            await asyncio.sleep(0.01)
    assert [step["notification"] for step in found] == [second, first]
    assert all(step["state_words"]["en"] for step in found)


async def test_another_apps_story_is_nobodys_business(world: World) -> None:
    notification = await notify(world, "ann")
    await world.users("ann", key=world.their_key)
    path = f"/v1/notifications/{notification}/explain"
    answer = await world.call("GET", path, world.their_key, params={"user": "ann"})
    assert answer.status_code == 404
    assert (await world.call("GET", "/v1/users/ann/story", world.their_key)).json()["data"] == []
