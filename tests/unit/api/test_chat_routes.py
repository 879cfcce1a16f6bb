"""Chat, the queue and conversations over REST."""

from __future__ import annotations

from tests.unit.api.harness import World


async def test_a_message_reaches_the_queue_and_the_history(world: World) -> None:
    await world.users("王小明", "bob 🐼")
    body = {"to": {"user": "bob 🐼"}, "sender": "王小明", "body": {"text": "你好 🎉"}, "client_msg_id": "c1"}
    sent = await world.post("/v1/messages", body)
    again = await world.post("/v1/messages", body)
    assert (again["id"], again["duplicate"], sent["duplicate"]) == (sent["id"], True, False)
    bob = await world.token("bob 🐼")
    page = await world.get("/v1/queue", bob)
    (entry,) = page["data"]
    assert entry["message"]["body"] == {"text": "你好 🎉"}
    assert (entry["message"]["sender"], page["head"], page["page"]) == (
        "王小明",
        1,
        {"next": 1, "has_more": False},
    )
    assert await world.get("/v1/queue", params={"user": "bob 🐼"}) == page
    history = await world.get(f"/v1/conversations/{sent['conversation']}/messages", bob)
    assert [message["id"] for message in history["data"]] == [sent["id"]]
    listed = await world.get("/v1/conversations", bob)
    assert listed["data"][0]["people"] == ["bob 🐼", "王小明"]
    assert listed["data"][0]["mine"]["unread"] == 1
    await world.post(f"/v1/conversations/{sent['conversation']}/read", {"seq": 1}, bob)
    listed = await world.get("/v1/conversations", bob)
    mine = listed["data"][0]["mine"]
    assert (mine["role"], mine["read_seq"], mine["muted"], mine["unread"]) == ("member", 1, False, 0)
