"""After a notification was accepted: it waits for its time, is canceled or recalled, or ended by a business event."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.api.harness import World

ROUTE: dict[str, Any] = {
    "steps": [
        {"channel": "ws", "when": "online", "success": "read", "wait": "PT1M"},
        {"channel": "wechat_mp", "success": "delivered", "only_if": {"locale": ["zh"]}},
    ],
    "stop_on": ["read", "acted", "event:task.closed"],
    "clock": "working_hours",
    "quiet_hours": "skip",
    "digest": "PT10M",
}


def _body(*users: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"user_id": user} for user in users], "content": {"title": "标题"}, "route": ROUTE, **more}


async def _deliveries(world: World, count: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while len(found := (await world.get("/v1/deliveries"))["data"]) < count:
            await asyncio.sleep(0.01)
    return list(found)


async def test_a_route_comes_back_as_it_was_given(world: World) -> None:
    accepted = await world.post("/v1/notifications", _body("a", quiet_hours="ignore"))
    route = (await world.get(accepted["links"]["self"]))["route"]
    assert (route["stop_on"], route["clock"], route["quiet_hours"], route["digest"]) == (
        ROUTE["stop_on"],
        "working_hours",
        "ignore",
        "PT10M",
    )
    assert route["steps"][1]["only_if"]["locale"] == ["zh"]
    made = await world.call("PUT", "/v1/policies/own", json=route)
    assert made.status_code == 201, made.text


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"stop_on": ["event:"]}, "/route/stop_on/0"),
        ({"stop_on": ["seen"]}, "/route/stop_on/0"),
        ({"steps": [{"channel": "wechat_mp", "when": "online"}]}, "/route/steps/0/when"),
        ({"clock": "sometimes"}, "/route/clock"),
        ({"digest": "ten minutes"}, "/route/digest"),
    ],
)
async def test_a_route_that_cannot_be_meant_is_refused(
    world: World, change: dict[str, Any], pointer: str
) -> None:
    answer = await world.call("POST", "/v1/notifications", json=_body("a", route={**ROUTE, **change}))
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_the_built_in_approval_policy_waits_in_working_hours_and_ends_with_the_task(
    world: World,
) -> None:
    shown = await world.get("/v1/policies/approval")
    assert (shown["clock"], shown["stop_on"]) == (
        "working_hours",
        ["read", "acted", "event:approval.task.closed"],
    )
    assert (await world.get("/v1/policies/urgent"))["quiet_hours"] == "ignore"


@pytest.mark.parametrize("name", ["send_at", "not_before"])
async def test_a_notification_with_a_time_waits_for_it_and_can_be_canceled(world: World, name: str) -> None:
    at = (world.clock() + timedelta(hours=2)).isoformat()
    answer = await world.call("POST", "/v1/notifications", json=_body("a", **{name: at}, dedupe_key="k"))
    accepted = answer.json()
    assert (answer.status_code, accepted["status"]) == (202, "scheduled")
    again = await world.post("/v1/notifications", _body("a", **{name: at}, dedupe_key="k"))
    assert (again["id"], again["deduplicated"]) == (accepted["id"], True)
    shown = await world.get(accepted["links"]["self"])
    assert (shown["status"], shown["recipients"], shown["send_at"] is not None) == ("scheduled", [], True)
    assert (await world.get("/v1/queue", params={"user": "a"}))["head"] == 0
    report = (await world.call("DELETE", accepted["links"]["self"])).json()
    assert report == {"id": accepted["id"], "scheduled": True, "canceled": 0, "under_way": 0, "sent": 0}
    assert (await world.get(accepted["links"]["self"]))["status"] == "canceled"


async def test_a_time_that_has_come_is_now_and_one_after_the_end_is_refused(world: World) -> None:
    past = (world.clock() - timedelta(seconds=1)).isoformat()
    assert (await world.post("/v1/notifications", _body("a", send_at=past)))["status"] == "accepted"
    soon = (world.clock() + timedelta(hours=1)).isoformat()
    refused = await world.call("POST", "/v1/notifications", json=_body("a", send_at=soon, expires_at=soon))
    assert (refused.status_code, refused.json()["code"]) == (422, "expired_already")
    far = (world.clock() + timedelta(days=400)).isoformat()
    assert (await world.call("POST", "/v1/notifications", json=_body("a", send_at=far))).status_code == 422


async def test_some_of_a_batch_may_wait(world: World) -> None:
    at = (world.clock() + timedelta(hours=2)).isoformat()
    batch = {
        "notifications": [
            _body("a"),
            _body("a", send_at=at),
            _body("a", send_at=at, callback={"endpoint_id": "x"}),
        ]
    }
    data = (await world.call("POST", "/v1/notifications/batch", json=batch)).json()["data"]
    assert [one["notification"] and one["notification"]["status"] for one in data] == [
        "accepted",
        "scheduled",
        None,
    ]
    assert data[2]["problem"]["code"] == "webhook_unknown"


async def test_canceling_stops_what_has_not_been_sent(world: World) -> None:
    accepted = await world.post("/v1/notifications", _body("a", route={"steps": [{"channel": "wechat_mp"}]}))
    await _deliveries(world)
    report = (await world.call("DELETE", accepted["links"]["self"])).json()
    assert (report["scheduled"], report["canceled"], report["sent"]) == (False, 1, 0)
    assert (await world.get(accepted["links"]["self"]))["status"] == "canceled"
    again = (await world.call("DELETE", accepted["links"]["self"])).json()
    assert again == report, "it may be repeated"
    nobody = await world.call("DELETE", "/v1/notifications/ntf_x")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "notification_not_found")
    foreign = await world.call("DELETE", accepted["links"]["self"], world.their_key)
    assert foreign.status_code == 404


async def test_a_recall_tells_the_truth_for_each_person_and_channel(world: World) -> None:
    route = {"steps": [{"channel": "wechat_mp"}]}
    accepted = await world.post("/v1/notifications", _body("a", "b", route=route))
    await _deliveries(world, 2)
    report = await world.post(f"{accepted['links']['self']}/recall", None)
    assert report["id"] == accepted["id"]
    lines = {(line["user_id"], line["channel"]): line["result"] for line in report["lines"]}
    assert lines == {
        ("a", "inbox"): "recalled",
        ("b", "inbox"): "recalled",
        ("a", "wechat_mp"): "canceled",
        ("b", "wechat_mp"): "canceled",
    }
    kinds = [e["message"]["kind"] for e in (await world.get("/v1/queue", params={"user": "a"}))["data"]]
    assert kinds[-1] == "recall"
    unknown = await world.call("POST", "/v1/notifications/ntf_x/recall")
    assert unknown.status_code == 404


@pytest.mark.parametrize("scope", ["thread", "dedupe_key", "notification"])
async def test_a_business_event_ends_what_waits_for_it(world: World, scope: str) -> None:
    route = {"steps": [{"channel": "wechat_mp"}], "stop_on": ["event:task.closed"]}
    body = _body("a", route=route, thread="inst-7", dedupe_key="oa:7")
    accepted = await world.post("/v1/notifications", body)
    await _deliveries(world)
    named = {"thread": "inst-7", "dedupe_key": "oa:7", "notification": accepted["id"]}[scope]
    other = await world.post("/v1/events", {"name": "task.opened", scope: named})
    assert other == {"name": "task.opened", "canceled": 0}
    theirs = await world.call(
        "POST", "/v1/events", world.their_key, json={"name": "task.closed", scope: named}
    )
    assert theirs.status_code == 404 or theirs.json()["canceled"] == 0
    assert (await world.post("/v1/events", {"name": "task.closed", scope: named}))["canceled"] == 1
    assert (await _deliveries(world))[0]["state"] == "canceled"
    both = await world.call("POST", "/v1/events", json={"name": "x", "thread": "a", "dedupe_key": "b"})
    assert both.status_code == 422


async def test_a_callback_must_be_an_endpoint_of_the_app_that_works(world: World) -> None:
    refused = await world.call(
        "POST", "/v1/notifications", json=_body("a", callback={"endpoint_id": "whe_x"})
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "webhook_unknown")
    assert refused.json()["errors"][0]["pointer"] == "/callback/endpoint_id"
    made = await world.post("/v1/webhooks", {"url": "https://oa.example.com/hook", "events": ["task.*"]})
    body = _body("a", callback={"endpoint_id": made["id"]}, thread="t", digest_key="d", collapse_key="c")
    accepted = await world.post("/v1/notifications", body)
    assert accepted["status"] == "accepted"
