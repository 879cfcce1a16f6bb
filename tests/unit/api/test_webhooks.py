"""`/v1/webhooks`: endpoints made, changed and removed, their secrets shown once, and what became of events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from hub.core.delivery import DeliveryId
from hub.core.outcome import Reason, Rejected
from hub.core.webhooks import EndpointId, HookAnswer, WebhookEvent, WebhookEventId
from hub.store.schema import metadata
from hub.webhooks.signing import key_of
from tests.fakes.channel import ScriptedChannel
from tests.unit.api.harness import MINE, World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

URL = "https://oa.example.com/hooks/hub"


async def made(world: World, **fields: Any) -> dict[str, Any]:
    hook: dict[str, Any] = await world.post("/v1/webhooks", {"url": URL, **fields})
    return hook


async def put(world: World, *ids: str, type_: str = "delivery.failed") -> None:
    events = [
        WebhookEvent(WebhookEventId(id_), MINE, type_, world.clock() - timedelta(minutes=1), '{"题":1}')
        for id_ in ids
    ]
    await world.hub.webhooks.put_events(events)


async def settle_all(world: World, answer: HookAnswer) -> None:
    now = world.clock()
    for out in await world.hub.webhooks.claim(now=now, lease_until=now + timedelta(minutes=1), limit=99):
        await world.hub.webhooks.settle(out.delivery, answer, next_due=None, now=now)


async def secrets_of(world: World, webhook: str) -> list[str]:
    found = await world.hub.webhooks.signed(MINE, EndpointId(webhook))
    assert found is not None
    return [one.secret for one in found[1]]


async def test_an_endpoint_is_made_and_its_secret_shown_once(world: World) -> None:
    hook = await made(world, events=["delivery.*", "task.decided"], description="办公 🏢")
    assert len(key_of(hook.pop("secret"))) == 32
    assert hook["id"].startswith("whe_")
    assert (hook["enabled"], hook["disabled_at"], hook["events"]) == (
        True,
        None,
        ["delivery.*", "task.decided"],
    )
    assert (await world.get("/v1/webhooks"))["data"] == [hook]
    story = await world.get(f"/v1/webhooks/{hook['id']}")
    assert story.pop("health") == {
        "pending": 0,
        "failed": 0,
        "waiting_since": None,
        "last_failure_at": None,
        "last_status": None,
        "last_error": "",
    }
    assert story == hook
    plain = await made(world)
    assert plain["events"] == ["*"]


async def test_the_secret_is_encrypted_in_the_database_and_in_no_list(world: World) -> None:
    hook = await made(world)
    table = metadata.tables["webhook_endpoint"]
    (row,) = await world.database.rows(select(table.c.secrets))
    assert hook["secret"] not in row.secrets
    assert await secrets_of(world, hook["id"]) == [hook["secret"]]
    for path in ("/v1/webhooks", f"/v1/webhooks/{hook['id']}", "/v1/audit"):
        assert hook["secret"] not in (await world.call("GET", path)).text


async def test_a_repeated_request_makes_one_endpoint(world: World) -> None:
    headers = {"Idempotency-Key": "k1"}
    one = await world.post("/v1/webhooks", {"url": URL}, headers=headers)
    assert await world.post("/v1/webhooks", {"url": URL}, headers=headers) == one
    assert len((await world.get("/v1/webhooks"))["data"]) == 1
    path = f"/v1/webhooks/{one['id']}/secret/rotate"
    first = await world.post(path, {}, headers=headers)
    assert await world.post(path, {}, headers=headers) == first


@pytest.mark.parametrize(
    "url",
    [
        "http://oa.example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://me:pw@oa.example.com/",
        "https://oa.example.com:22/",
        "gopher://oa.example.com/",
    ],
)
async def test_a_url_where_the_hub_may_not_go_is_refused(world: World, url: str) -> None:
    answer = await world.call("POST", "/v1/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    hook = await made(world)
    changed = await world.call("PATCH", f"/v1/webhooks/{hook['id']}", json={"url": url})
    assert (changed.status_code, changed.json()["code"]) == (422, "webhook_url_refused")
    assert (await world.get(f"/v1/webhooks/{hook['id']}"))["url"] == URL


@pytest.mark.parametrize(
    "events", [[], ["*."], ["a..b"], [".*"], ["Delivery.*"], ["delivery.*.x"], ["x" * 129]]
)
async def test_what_is_no_type_of_event_is_refused(world: World, events: list[str]) -> None:
    answer = await world.call("POST", "/v1/webhooks", json={"url": URL, "events": events})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_an_endpoint_is_changed_disabled_enabled_and_removed(world: World) -> None:
    hook = await made(world, events=["task.*"])
    path = f"/v1/webhooks/{hook['id']}"
    changed = (await world.call("PATCH", path, json={"events": ["delivery.*"], "description": "新"})).json()
    assert (changed["events"], changed["description"], changed["url"]) == (["delivery.*"], "新", URL)
    await put(world, "evt_1")
    off = (await world.call("PATCH", path, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "disabled by hand")
    assert off["disabled_at"] is not None
    await put(world, "evt_2")
    again = (await world.call("PATCH", path, json={"enabled": False})).json()
    assert again["disabled_at"] == off["disabled_at"]
    on = (await world.call("PATCH", path, json={"enabled": True})).json()
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, "")
    listed = (await world.get(f"{path}/deliveries"))["data"]
    assert [(one["event"], one["state"]) for one in listed] == [("evt_1", "pending")]
    assert (await world.call("DELETE", path)).status_code == 204
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/deliveries")):
        gone = await world.call(method, where)
        assert (gone.status_code, gone.json()["code"]) == (404, "webhook_not_found")
    actions = [entry["action"] for entry in (await world.get("/v1/audit"))["data"]]
    assert actions[:5] == ["webhook.delete", *["webhook.change"] * 4]


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(world: World) -> None:
    hook = await made(world)
    path = f"/v1/webhooks/{hook['id']}/secret/rotate"
    second = (await world.post(path, {"overlap": "PT24H"}))["secret"]
    assert await secrets_of(world, hook["id"]) == [second, hook["secret"]]
    world.clock.shift = timedelta(hours=23)
    third = (await world.post(path, {"overlap": "P7D"}))["secret"]
    assert await secrets_of(world, hook["id"]) == [third, second, hook["secret"]]
    world.clock.shift = timedelta(hours=25)
    assert await secrets_of(world, hook["id"]) == [third, second], "the first one's time was not made longer"
    fourth = (await world.post(path, {"overlap": None}))["secret"]
    assert await secrets_of(world, hook["id"]) == [fourth], "a secret that leaked ends at once"
    for _ in range(6):
        await world.post(path, {})
    assert len(await secrets_of(world, hook["id"])) == 4


async def test_an_app_has_at_most_fifty_endpoints(world: World) -> None:
    for _ in range(50):
        await made(world)
    answer = await world.call("POST", "/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhooks_full")


async def test_a_test_event_is_sent_right_now_and_its_answer_told(world: World) -> None:
    hook = await made(world, events=["task.*"])
    world.hub.hooks.answers = [HookAnswer(204), HookAnswer(None, error="no answer within 10 s")]
    told = await world.post(f"/v1/webhooks/{hook['id']}/test", None)
    (asked,) = world.hub.hooks.asked
    assert (asked.type, asked.endpoint, asked.id) == ("webhook.test", hook["id"], told["event"])
    assert (told["ok"], told["status"], told["error"]) == (True, 204, "")
    told = await world.post(f"/v1/webhooks/{hook['id']}/test", None)
    assert (told["ok"], told["status"], told["error"]) == (False, None, "no answer within 10 s")
    await world.call("PATCH", f"/v1/webhooks/{hook['id']}", json={"enabled": False})
    answer = await world.call("POST", f"/v1/webhooks/{hook['id']}/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_disabled")


async def test_events_are_listed_shown_and_replayed(world: World) -> None:
    hook, other = await made(world), await made(world)
    await put(world, "evt_1", "evt_2", "evt_3")
    await settle_all(world, HookAnswer(500, error="HTTP 500"))
    path = f"/v1/webhooks/{hook['id']}"
    first = await world.get(f"{path}/deliveries?limit=2&state=failed")
    assert [one["event"] for one in first["data"]] == ["evt_3", "evt_2"]
    rest = await world.get(f"{path}/deliveries?limit=2&state=failed&after={first['page']['next']}")
    assert [one["event"] for one in rest["data"]] == ["evt_1"]
    assert (rest["data"][0]["status"], rest["data"][0]["due_at"]) == (500, None)
    health = (await world.get(path))["health"]
    assert (health["failed"], health["last_error"]) == (3, "HTTP 500")

    assert await world.post(f"{path}/replay", {"events": ["evt_2", "evt_none"]}) == {"replayed": 1}
    since = (world.clock() - timedelta(minutes=5)).isoformat()
    assert await world.post(f"{path}/replay", {"failed_since": since}) == {"replayed": 2}
    assert await world.post(f"{path}/replay", {"failed_since": since}) == {"replayed": 0}
    event = await world.get("/v1/webhooks/events/evt_2")
    assert (event["type"], event["data"]) == ("delivery.failed", {"题": 1})
    states = {one["endpoint"]: one["state"] for one in event["deliveries"]}
    assert states == {hook["id"]: "pending", other["id"]: "failed"}


@pytest.mark.parametrize(
    "body", [{}, {"events": []}, {"events": ["a"], "failed_since": "2026-03-01T00:00:00Z"}]
)
async def test_a_replay_says_which_events(world: World, body: dict[str, Any]) -> None:
    hook = await made(world)
    answer = await world.call("POST", f"/v1/webhooks/{hook['id']}/replay", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_an_event_that_nobody_wanted_is_not_there(world: World) -> None:
    await put(world, "evt_1")
    answer = await world.call("GET", "/v1/webhooks/events/evt_1")
    assert (answer.status_code, answer.json()["code"]) == (404, "webhook_event_not_found")


@pytest.mark.parametrize("named", [False, True])
async def test_a_notification_that_cannot_be_delivered_is_told(world: World, named: bool) -> None:
    silent = await made(world, events=["task.*"])
    hook = await made(world, events=["task.*" if named else "delivery.*"])
    body = {
        "to": [{"user_id": "u_1024"}],
        "content": {"title": "差旅报销"},
        "route": {"steps": [{"channel": "wechat_mp"}]},
        **({"callback": {"endpoint_id": hook["id"]}} if named else {}),
    }
    accepted = await world.post("/v1/notifications", body)
    channel = world.hub.engine.channels.get("wechat_mp")
    assert isinstance(channel, ScriptedChannel)
    channel.behaviour = lambda _: Rejected(Reason.UNSUBSCRIBED, "用户拒收", "43101")
    (delivery,) = (await world.get("/v1/deliveries"))["data"]
    await world.hub.engine.dispatcher.run([DeliveryId(delivery["id"])])
    (told,) = (await world.get(f"/v1/webhooks/{hook['id']}/deliveries"))["data"]
    event = await world.get(f"/v1/webhooks/events/{told['event']}")
    assert event["type"] == "delivery.failed"
    expected = {
        "notification": accepted["id"],
        "delivery": delivery["id"],
        "user_id": "u_1024",
        "code": "43101",
    }
    assert expected.items() <= event["data"].items()
    assert (await world.get(f"/v1/webhooks/{silent['id']}/deliveries"))["data"] == []
