"""A device that was shown out: its old token does not let it in again, a new one does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.core.errors import Refused
from hub.core.identity import Platform
from tests.unit.api.harness import World


async def _hello(world: World, token: str) -> None:
    user = await world.hub.people.authenticate(token)
    await world.hub.people.device(user, "phone", Platform.APP, "")


async def test_a_device_that_was_shown_out_needs_a_newer_token(world: World) -> None:
    token = await world.token("ann")
    await _hello(world, token)
    await world.post("/v1/me/devices/phone/kick", {}, token)
    with pytest.raises(Refused, match="shown out") as refused:
        await _hello(world, token)
    assert refused.value.code == "device_kicked"
    device = {"id": "phone", "platform": "app"}
    for method, path, body in (
        ("GET", "/v1/queue?device=phone", None),
        ("POST", "/v1/queue/ack", {"seq": 0, "device": device}),
    ):
        answer = await world.call(method, path, token, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "device_kicked")
    assert (await world.call("GET", "/v1/queue?device=phone&user=ann")).status_code == 200
    user = await world.hub.people.authenticate(token)
    await world.hub.people.device(user, "laptop", Platform.WEB, "")
    world.clock.shift += timedelta(seconds=1)
    newer = await world.token("ann")
    await _hello(world, newer)
    with pytest.raises(Refused):
        await _hello(world, token)
    await world.post("/v1/users/ann/devices/phone/kick", {"remove": True})
    await _hello(world, token)
