"""Notifications: accepted once, followed to every recipient."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from hub.core.message import ToInbox
from tests.unit.api.harness import World

CARD = {
    "title": "差旅报销待审批 ✈️",
    "text": "王小明提交了申请",
    "actions": [{"id": "approve", "label": "同意"}],
}


def _body(*users: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"user_id": user} for user in users], "content": CARD, **more}


async def test_a_notification_is_accepted_and_waits_in_the_queue_of_a_user_not_seen_before(
    world: World,
) -> None:
    body = _body(
        "新人 🌱", "b", "新人 🌱", type="审批.待办", actor={"user_id": "王小明"}, metadata={"biz": "oa"}
    )
    answer = await world.call("POST", "/v1/notifications", json=body)
    accepted = answer.json()
    assert (answer.status_code, accepted["status"], accepted["recipients"]) == (
        202,
        "accepted",
        {"resolved": 2},
    )
    assert answer.headers["location"] == accepted["links"]["self"] == f"/v1/notifications/{accepted['id']}"
    token = await world.token("新人 🌱")
    (entry,) = (await world.get("/v1/queue", token))["data"]
    message = entry["message"]
    assert (message["kind"], message["body"]["title"]) == ("notification", CARD["title"])
    assert message["body"]["actions"] == [{"id": "approve", "label": "同意", "style": "default"}]
    assert (message["sender"], message["notification"]) == ("王小明", accepted["id"])
    shown = await world.get(accepted["links"]["self"])
    assert (shown["status"], shown["type"], shown["metadata"]) == ("accepted", "审批.待办", {"biz": "oa"})
    assert shown["summary"] == {"total": 2, "accepted": 2, "pushed": 0, "delivered": 0, "read": 0}


async def test_delivered_and_read_are_seen_per_recipient(world: World) -> None:
    accepted = await world.post("/v1/notifications", _body("a", "b", "c"))
    for user in ("a", "b"):
        token = await world.token(user)
        await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "手机"[:0] + "p1"}}, token)
    await world.hub.engine.cursors.flush()
    inbox = (await world.get("/v1/conversations", await world.token("b")))["data"][0]
    assert inbox["mine"]["unread"] == 1
    reading = await world.token("b")
    seq = inbox["last_message"]["seq"]
    await world.post(f"/v1/conversations/{inbox['id']}/read", {"seq": seq}, reading)
    shown = await world.get(accepted["links"]["self"])
    assert [person["state"] for person in shown["recipients"]] == ["delivered", "read", "accepted"]
    assert shown["status"] == "active"
    assert (await world.get("/v1/conversations", reading))["data"][0]["mine"]["unread"] == 0


async def test_a_policy_makes_deliveries_that_tell_their_story(world: World) -> None:
    route = {"steps": [{"channel": "wechat_mp", "success": "accepted", "wait": "PT30M"}], "expires_in": "P1D"}
    accepted = await world.post("/v1/notifications", _body("a", route=route))
    async with asyncio.timeout(5):
        while not (found := (await world.get("/v1/deliveries", params={"user": "a"}))["data"]):
            await asyncio.sleep(0.01)
    assert (found[0]["channel"], found[0]["notification"]) == ("wechat_mp", accepted["id"])
    assert found[0]["expires_at"] is not None
    story = await world.get(f"/v1/deliveries/{found[0]['id']}")
    assert story["events"][0]["state"] == "queued"
    lines = await world.get(accepted["links"]["timeline"])
    assert [line["event"] for line in lines["data"]][:2] == ["accepted", "queued"]
    shown = await world.get(accepted["links"]["self"])
    assert shown["route"]["steps"] == [
        {
            "channel": "wechat_mp",
            "when": None,
            "success": "accepted",
            "wait": "PT30M",
            "only_if": None,
            "template": None,
            "account": None,
        }
    ]
    assert (await world.get("/v1/deliveries", params={"state": "failed"}))["data"] == []


async def test_the_same_business_event_is_one_notification(world: World) -> None:
    one = await world.post("/v1/notifications", _body("a", dedupe_key="oa:778:2"))
    two = await world.post("/v1/notifications", _body("a", dedupe_key="oa:778:2"))
    assert (two["id"], two["deduplicated"], one["deduplicated"]) == (one["id"], True, False)
    assert (await world.get("/v1/queue", params={"user": "a"}))["head"] == 1


async def test_a_named_policy_is_found_and_an_unknown_one_refused(world: World) -> None:
    await world.post("/v1/notifications", _body("a", policy="urgent"))
    answer = await world.call("POST", "/v1/notifications", json=_body("a", policy="nope"))
    assert (answer.status_code, answer.json()["code"]) == (422, "policy_unknown")
    both = _body("a", policy="urgent", route={"steps": [{"channel": "ws"}]})
    assert (await world.call("POST", "/v1/notifications", json=both)).status_code == 422


async def test_what_has_expired_is_not_sent(world: World) -> None:
    past = (world.clock() - timedelta(seconds=1)).isoformat()
    answer = await world.call("POST", "/v1/notifications", json=_body("a", expires_at=past))
    assert (answer.status_code, answer.json()["code"]) == (422, "expired_already")
    naive = await world.call("POST", "/v1/notifications", json=_body("a", expires_at="2099-01-01T00:00:00"))
    assert naive.json()["errors"][0]["pointer"] == "/expires_at"
    soon = (world.clock() + timedelta(seconds=30)).isoformat()
    accepted = await world.post("/v1/notifications", _body("a", expires_at=soon))
    world.clock.shift = timedelta(minutes=1)
    assert (await world.get(accepted["links"]["self"]))["status"] == "expired"


async def test_a_conversation_may_be_notified(world: World) -> None:
    await world.users("a", "b")
    group = await world.group("a", "b")
    body = {"to": {"conversation": group}, "content": {"kind": "poll", "body": {"问": "去哪?"}}}
    accepted = await world.post("/v1/notifications", body)
    assert accepted["recipients"] == {"resolved": None}
    (entry,) = (await world.get("/v1/queue", params={"user": "a"}))["data"]
    assert (entry["message"]["kind"], entry["message"]["conversation"]) == ("poll", group)
    missing = await world.call("POST", "/v1/notifications", json={**body, "to": {"conversation": "cnv_x"}})
    assert (missing.status_code, missing.json()["code"]) == (404, "conversation_not_found")


async def test_each_of_a_batch_gets_its_own_answer(world: World) -> None:
    batch = {
        "notifications": [
            _body("a"),
            {"to": [], "content": CARD},
            _body("b", policy="nope"),
            {"to": [{"user_id": "c"}], "template": {"key": "nope"}},
            7,
            {"to": {"conversation": "cnv_x"}, "content": CARD},
            _body("d", "a"),
        ]
    }
    answer = await world.call("POST", "/v1/notifications/batch", json=batch)
    assert answer.status_code == 207
    data = answer.json()["data"]
    assert [one["status"] for one in data] == [202, 422, 422, 422, 422, 404, 202]
    codes = [one["problem"] and one["problem"]["code"] for one in data]
    assert codes == [
        None,
        "request_invalid",
        "policy_unknown",
        "template_unknown",
        "request_invalid",
        "conversation_not_found",
        None,
    ]
    assert data[1]["problem"]["errors"][0]["pointer"] == "/to"
    assert (await world.get("/v1/queue", params={"user": "a"}))["head"] == 2


async def test_a_repeated_batch_is_accepted_once(world: World) -> None:
    batch = {"notifications": [_body("a"), _body("b"), {"to": [], "content": CARD}]}
    headers = {"Idempotency-Key": "batch-1"}
    one = (await world.call("POST", "/v1/notifications/batch", json=batch, headers=headers)).json()
    two = (await world.call("POST", "/v1/notifications/batch", json=batch, headers=headers)).json()
    ids = [
        [item["notification"] and item["notification"]["id"] for item in got["data"]] for got in (one, two)
    ]
    assert ids[0] == ids[1]
    assert two["data"][0]["notification"]["deduplicated"] is True
    assert (await world.get("/v1/queue", params={"user": "a"}))["head"] == 1
    batch["notifications"][0] = _body("c")
    three = (await world.call("POST", "/v1/notifications/batch", json=batch, headers=headers)).json()
    assert three["data"][0]["problem"]["code"] == "idempotency_mismatch"


async def test_a_thousand_recipients_are_one_query_and_one_draft(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [f"用户{number}" for number in range(1_000)]
    await world.users(*users[:500])
    await world.users(*users[500:])
    drafts: list[Any] = []
    submit = world.hub.engine.submit

    async def counted(draft: Any) -> Any:
        drafts.append(draft)
        return await submit(draft)

    monkeypatch.setattr(world.hub.engine, "submit", counted)
    reads: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM user" in statement or 'FROM "user"' in statement:
            reads.append(statement)

    engine = world.database._reader.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    accepted = await world.post("/v1/notifications", _body(*users))
    assert accepted["recipients"] == {"resolved": 1_000}
    assert len(drafts) == 1
    assert isinstance(drafts[0].to, ToInbox)
    assert len(reads) == 1
    await world.post("/v1/notifications", _body(*users))
    assert len(reads) == 1, "who is who was known already"
    assert (await world.call("POST", "/v1/notifications", json=_body(*users, "1001"))).status_code == 422


async def test_a_body_past_the_limit_is_refused(world: World) -> None:
    large = {"title": "x", "text": "好" * 19_999, "data": {"more": "好" * 5_000}}
    answer = await world.call("POST", "/v1/notifications", json={"to": [{"user_id": "a"}], "content": large})
    assert (answer.status_code, answer.json()["code"]) == (422, "content_too_large")
