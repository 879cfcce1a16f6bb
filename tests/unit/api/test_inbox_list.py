"""What the list says of the inbox, with either storage plan."""

from __future__ import annotations

from tests.unit.api.harness import World


async def test_what_was_taken_back_is_not_unread(world: World) -> None:
    await world.users("ann")
    ann = await world.token("ann")
    body = {"to": [{"user_id": "ann"}], "content": {"title": "审批"}}
    sent = [(await world.post("/v1/notifications", body))["id"] for _ in range(3)]

    async def unread() -> int:
        (inbox,) = (await world.get("/v1/conversations", ann))["data"]
        return int(inbox["mine"]["unread"])

    assert await unread() == 3
    await world.post(f"/v1/notifications/{sent[0]}/recall", {})
    assert await unread() == 2
    await world.post(f"/v1/notifications/{sent[2]}/recall", {})
    assert await unread() == 1
