"""Dead letters are tried again: one, many, by filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.core.delivery import DeliveryId
from tests.fakes.channel import ScriptedChannel, accept, refuse
from tests.unit.api.harness import World, open_world, sqlite_url


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as opened:
        yield opened


def channel(world: World) -> ScriptedChannel:
    found = world.hub.engine.channels.get("wechat_mp")
    assert isinstance(found, ScriptedChannel)
    return found


async def dead(world: World, *users: str) -> list[str]:
    """Deliveries that were refused."""
    channel(world).behaviour = refuse
    body = {
        "to": [{"user_id": user} for user in users],
        "content": {"title": "差旅报销待审批"},
        "route": {"steps": [{"channel": "wechat_mp"}]},
    }
    notification = (await world.post("/v1/notifications", body))["id"]
    asking = {"notification": notification, "limit": "100"}
    async with asyncio.timeout(5):
        while len(found := (await world.get("/v1/deliveries", params=asking))["data"]) < len(users):
            await asyncio.sleep(0.01)
    ids = [one["id"] for one in found]
    await world.hub.engine.dispatcher.run([DeliveryId(id_) for id_ in ids])
    assert await states(world, ids) == ["failed"] * len(users)
    channel(world).behaviour = accept
    return ids


async def states(world: World, ids: list[str]) -> list[str]:
    return [(await world.get(f"/v1/deliveries/{id_}"))["state"] for id_ in ids]


async def test_one_is_tried_again_and_its_story_goes_on(world: World) -> None:
    (id_,) = await dead(world, "ann")
    assert (await world.post(f"/v1/deliveries/{id_}/replay", None))["replayed"] == 1
    assert (await world.post(f"/v1/deliveries/{id_}/replay", None))["replayed"] == 0, "it is in the queue"
    await world.hub.engine.dispatcher.run([DeliveryId(id_)])
    story = await world.get(f"/v1/deliveries/{id_}")
    assert story["state"] == "accepted"
    assert [attempt["outcome"] for attempt in story["tries"]] == ["rejected", "accepted"]


async def test_many_are_tried_again_by_their_ids(world: World) -> None:
    ids = await dead(world, "ann", "bob", "cat")
    assert (await world.post("/v1/deliveries/replay", {"ids": ids[:2]}))["replayed"] == 2
    assert sorted(await states(world, ids)) == ["failed", "queued", "queued"]


async def test_a_filter_narrows(world: World) -> None:
    ids = await dead(world, "ann", "bob")
    for nothing in (
        {"channel": "ws"},
        {"channel": "wechat_mp", "reason": "expired"},
        {"channel": "wechat_mp", "state": "unknown"},
        {"until": "2020-01-01T00:00:00Z"},
    ):
        assert (await world.post("/v1/deliveries/replay", nothing))["replayed"] == 0
    wanted = {"channel": "wechat_mp", "reason": "unsubscribed", "user_id": "ann", "limit": 10}
    assert (await world.post("/v1/deliveries/replay", wanted))["replayed"] == 1
    assert sorted(await states(world, ids)) == ["failed", "queued"]


async def test_everything_at_once_is_not_asked_by_accident(world: World) -> None:
    answer = await world.call("POST", "/v1/deliveries/replay", json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_another_apps_dead_letters_stay_dead(world: World) -> None:
    ids = await dead(world, "ann")
    answer = await world.call("POST", f"/v1/deliveries/{ids[0]}/replay", world.their_key)
    assert answer.status_code == 404
    replayed = await world.post("/v1/deliveries/replay", {"ids": ids}, world.their_key)
    assert replayed["replayed"] == 0
    assert await states(world, ids) == ["failed"]
