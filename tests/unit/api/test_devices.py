"""Devices with their sessions, shown out and forgotten; pulling that waits."""

from __future__ import annotations

import asyncio

from hub.channels.ws.sightings import SessionInfo
from hub.core.identity import Platform
from tests.unit.api.harness import World


async def ann_with_a_phone(world: World) -> tuple[str, int]:
    """Her token and her number; the phone has acknowledged one notification."""
    token = await world.token("ann")
    await world.post("/v1/notifications", {"to": [{"user_id": "ann"}], "content": {"title": "x"}})
    await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "phone", "platform": "app"}}, token)
    await world.hub.engine.cursors.flush()
    key = await world.hub.people.user_key((await world.hub.people.authenticate(token)).app, "ann")
    assert key is not None
    return token, int(key)


async def test_the_list_shows_which_devices_are_online(world: World) -> None:
    token, key = await ann_with_a_phone(world)
    (row,) = (await world.get("/v1/me/devices", token))["data"]
    assert (row["device_id"], row["cursor"], row["online"], row["sessions"]) == ("phone", 1, False, [])
    since = world.clock()
    world.hub.door.live = [SessionInfo(f"ses_{key}", "n", "b", Platform.APP, "phone", since)]
    for path, who in (("/v1/me/devices", token), ("/v1/users/ann/devices", None)):
        (row,) = (await world.get(path, who))["data"]
        assert (row["online"], [session["id"] for session in row["sessions"]]) == (True, [f"ses_{key}"])


async def test_a_kick_closes_and_a_removal_forgets(world: World) -> None:
    token, key = await ann_with_a_phone(world)
    done = await world.post("/v1/me/devices/phone/kick", {}, token)
    assert done == {"device_id": "phone", "sessions": 0, "removed": False}
    assert len((await world.get("/v1/me/devices", token))["data"]) == 1
    await world.post("/v1/users/ann/devices/phone/kick", {"remove": True})
    assert (await world.get("/v1/me/devices", token))["data"] == []
    assert world.hub.door.kicked == [(key, "phone")] * 2
    answer = await world.call("POST", "/v1/me/devices/phone/kick", token)
    assert (answer.status_code, answer.json()["code"]) == (404, "device_not_found")


async def test_a_device_that_pulls_goes_on_from_its_own_cursor(world: World) -> None:
    token, _ = await ann_with_a_phone(world)
    assert (await world.get("/v1/queue?device=phone", token))["data"] == []
    assert [e["q"] for e in (await world.get("/v1/queue?device=new", token))["data"]] == [1]
    assert [e["q"] for e in (await world.get("/v1/queue?device=phone&after=0", token))["data"]] == [1]


async def test_a_pull_may_wait_and_ends_with_an_empty_page(world: World) -> None:
    token, _ = await ann_with_a_phone(world)
    async with asyncio.timeout(5):
        page = await world.get("/v1/queue?after=1&wait=PT1S", token)
    assert (page["data"], page["page"]["next"], page["head"], page["rebase"]) == ([], 1, 1, False)
    assert [e["q"] for e in (await world.get("/v1/queue?after=0&wait=PT50S", token))["data"]] == [1]
