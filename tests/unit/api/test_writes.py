"""Writes that may be repeated, lists that go on, and the resources behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.api.limits import Buckets, Rate
from hub.core.conversation import Fanout
from tests.unit.api.harness import World, open_world, sqlite_url


async def test_the_same_key_with_the_same_body_gets_the_first_answer(world: World) -> None:
    headers = {"Idempotency-Key": "k-1"}
    body = {"name": "后台 🔑", "scopes": ["users:read", "users:write"]}
    one = await world.call("POST", "/v1/keys", json=body, headers=headers)
    # Another order of fields is the same request.
    two = await world.call("POST", "/v1/keys", json=dict(reversed(body.items())), headers=headers)
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json() == two.json()
    assert ("idempotent-replayed" in one.headers, two.headers["idempotent-replayed"]) == (False, "true")
    other = await world.call("POST", "/v1/keys", json={"scopes": ["users:read"]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    elsewhere = await world.call("POST", "/v1/tokens", json={"user": "a"}, headers=headers)
    assert elsewhere.status_code == 201


async def test_a_failed_write_leaves_its_key_free(world: World) -> None:
    headers = {"Idempotency-Key": "k-2"}
    body = {"members": [{"user_id": "later"}]}
    assert (await world.call("POST", "/v1/conversations", json=body, headers=headers)).status_code == 404
    await world.users("later")
    assert (await world.call("POST", "/v1/conversations", json=body, headers=headers)).status_code == 201


async def test_many_at_once_with_one_key_make_one_thing(world: World) -> None:
    await world.users("a", "b")
    headers = {"Idempotency-Key": "k-3"}
    body = {"title": "一次", "members": [{"user_id": "a"}, {"user_id": "b"}]}
    answers = await asyncio.gather(
        *(world.call("POST", "/v1/conversations", json=body, headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await world.get("/v1/conversations"))["data"]) == 1


async def test_messages_take_an_idempotency_key_too(world: World) -> None:
    await world.users("a", "b")
    headers = {"Idempotency-Key": "m-1"}
    body = {"to": {"user": "b"}, "sender": "a", "body": "你好"}
    one = await world.call("POST", "/v1/messages", json=body, headers=headers)
    two = await world.call("POST", "/v1/messages", json=body, headers=headers)
    assert (one.json()["id"], two.headers["idempotent-replayed"]) == (two.json()["id"], "true")
    other = await world.call("POST", "/v1/messages", json={**body, "body": "再见"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_lists_have_a_link_to_their_next_page(world: World) -> None:
    await world.users(*(f"u{number}" for number in range(5)))
    seen: list[str] = []
    path: str | None = "/v1/users?limit=2"
    while path is not None:
        answer = await world.call("GET", path)
        page = answer.json()
        seen += [user["user_id"] for user in page["data"]]
        link = answer.headers.get("link")
        assert (link is not None) == page["page"]["has_more"] == (page["page"]["next"] is not None)
        path = None if link is None else link.partition(">")[0].removeprefix("<")
    assert seen == [f"u{number}" for number in range(5)]
    assert (await world.call("GET", "/v1/users?after=nonsense")).json()["code"] == "cursor_invalid"
    assert (await world.call("GET", "/v1/users?limit=0")).json()["errors"][0]["pointer"] == "query:limit"


async def test_users_are_put_changed_and_listed(world: World) -> None:
    body = {
        "name": "王小明 🐼",
        "locale": "zh-CN",
        "timezone": "Asia/Shanghai",
        "preferences": {"静音": True},
    }
    made = await world.call("PUT", "/v1/users/王小明", json=body)
    assert (made.status_code, made.json()["preferences"]) == (201, {"静音": True})
    again = await world.call("PUT", "/v1/users/王小明", json={"name": "小明"})
    assert (again.status_code, again.json()["name"], again.json()["locale"]) == (200, "小明", "zh-CN")
    changed = await world.call("PATCH", "/v1/users/王小明", json={"locale": "en"})
    assert changed.json()["locale"] == "en"
    assert (await world.call("PATCH", "/v1/users/nobody", json={})).status_code == 404
    wrongs: list[dict[str, Any]] = [
        {"timezone": "Mars/Base"},
        {"locale": "中文"},
        {"name": "a\nb"},
        {"preferences": []},
    ]
    for wrong in wrongs:
        assert (await world.call("PUT", "/v1/users/a", json=wrong)).status_code == 422
    mine = await world.token("王小明")
    own = await world.call("PUT", "/v1/me", mine, json={"timezone": "Europe/Berlin"})
    assert (own.json()["timezone"], own.json()["name"]) == ("Europe/Berlin", "小明")
    assert (await world.call("PUT", "/v1/me", mine, json={"name": "管理员"})).status_code == 422


async def test_deep_free_objects_are_refused(world: World) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}
    answer = await world.call("PUT", "/v1/users/a", json={"preferences": deep})
    assert answer.json()["errors"][0]["pointer"] == "/preferences"


async def test_members_come_go_and_change_and_the_hub_is_told(world: World) -> None:
    await world.users("a", "b", "c")
    group = await world.group("a", "b")
    path = f"/v1/conversations/{group}"
    grown = await world.post(f"{path}/members", {"members": [{"user_id": "c", "role": "readonly"}]})
    assert (grown["member_count"], grown["version"]) == (3, 2)
    refused = await world.call("POST", f"{path}/messages", json={"body": "x", "sender": "c"})
    assert (refused.status_code, refused.json()["code"]) == (403, "read_only")
    await world.call("PATCH", f"{path}/members/c", json={"role": "admin"})
    assert (
        await world.call("POST", f"{path}/messages", json={"body": "x", "sender": "c"})
    ).status_code == 201
    gone = await world.call("DELETE", f"{path}/members/c")
    assert gone.json()["member_count"] == 2
    answer = await world.call("POST", f"{path}/messages", json={"body": "x", "sender": "c"})
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")
    people = await world.get(f"{path}/members")
    assert [person["user_id"] for person in people["data"]] == ["a", "b"]
    assert len(world.hub.told) == 4
    unknown = await world.call("POST", f"{path}/members", json={"members": [{"user_id": "nobody"}]})
    assert unknown.json()["errors"][0]["pointer"] == "/members/0/user_id"
    renamed = await world.call("PATCH", path, json={"title": "新名字 🎈"})
    assert renamed.json()["title"] == "新名字 🎈"


async def test_a_large_group_is_read_diffused_and_read_by_its_history(tmp_path: Any) -> None:
    async with open_world(sqlite_url(tmp_path), fanout_limit=2) as world:
        await world.users("a", "b", "c")
        group = await world.group("a", "b", "c")
        path = f"/v1/conversations/{group}"
        assert (await world.get(path))["fanout"] == Fanout.READ
        await world.post(f"{path}/messages", {"body": "大家好", "sender": "a"})
        mine = await world.token("b")
        assert (await world.get("/v1/queue", mine))["data"] == []
        assert [m["body"] for m in (await world.get(f"{path}/messages", mine))["data"]] == ["大家好"]
        assert (await world.get("/v1/conversations", mine))["data"][0]["mine"]["unread"] == 1


async def test_direct_conversations_and_notes_to_oneself(world: World) -> None:
    await world.users("a", "b")
    one = await world.call("PUT", "/v1/conversations/direct", json={"users": ["a", "b"]})
    two = await world.call("PUT", "/v1/conversations/direct", json={"users": ["b", "a"]})
    assert (one.status_code, two.status_code, one.json()["id"]) == (201, 200, two.json()["id"])
    sent = await world.post("/v1/messages", {"to": {"user": "b"}, "sender": "a", "body": "x"})
    assert sent["conversation"] == one.json()["id"]
    answer = await world.call(
        "POST", f"/v1/conversations/{one.json()['id']}/members", json={"members": [{"user_id": "a"}]}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_group")
    note = await world.call("PUT", "/v1/conversations/direct", json={"users": ["a", "a"]})
    assert (note.status_code, note.json()["people"]) == (201, ["a"])


async def test_chat_needs_people_who_exist_and_a_sender(world: World) -> None:
    await world.users("a")
    cases = [
        ({"to": {"user": "nobody"}, "sender": "a", "body": "x"}, 404, "user_not_found"),
        ({"to": {"user": "a"}, "sender": "nobody", "body": "x"}, 404, "user_not_found"),
        ({"to": {"user": "a"}, "body": "x"}, 422, "sender_required"),
        ({"to": {}, "body": "x"}, 422, "request_invalid"),
        ({"to": {"user": "a", "conversation": "c"}, "body": "x"}, 422, "request_invalid"),
        ({"to": {"conversation": "cnv_x"}, "body": "x"}, 404, "conversation_not_found"),
        ({"to": {"user": "a"}, "sender": "a", "body": 7}, 422, "request_invalid"),
        ({"to": {"user": "a"}, "sender": "a", "body": "x", "kind": "tombstone"}, 422, "request_invalid"),
        ({"to": {"user": "a"}, "sender": "a", "body": "x" * 70_000}, 422, "content_too_large"),
    ]
    for body, status, code in cases:
        answer = await world.call("POST", "/v1/messages", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body


async def test_history_goes_both_ways(world: World) -> None:
    await world.users("a", "b")
    group = await world.group("a", "b")
    for number in range(1, 8):
        await world.post(f"/v1/conversations/{group}/messages", {"body": f"第{number}条", "sender": "a"})
    path = f"/v1/conversations/{group}/messages?limit=3"
    newest = await world.get(path)
    assert ([m["seq"] for m in newest["data"]], newest["page"]) == ([5, 6, 7], {"next": 5, "has_more": True})
    older = await world.get(f"{path}&before=5")
    assert [m["seq"] for m in older["data"]] == [2, 3, 4]
    forward = await world.get(f"{path}&after=0&user=b")
    assert ([m["seq"] for m in forward["data"]], forward["page"]["next"]) == ([1, 2, 3], 3)
    assert (await world.call("GET", f"{path}&after=1&before=3")).status_code == 422


async def test_an_acknowledgement_stays_within_the_queue(world: World) -> None:
    await world.users("a", "b")
    await world.post("/v1/messages", {"to": {"user": "b"}, "sender": "a", "body": "x"})
    mine = await world.token("b")
    answer = await world.call("POST", "/v1/queue/ack", mine, json={"seq": 2, "device": {"id": "p"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "seq_beyond_head")
    await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "p", "name": "手机 📱"}}, mine)
    await world.hub.engine.cursors.flush()
    devices = await world.get("/v1/me/devices", mine)
    assert [(d["device_id"], d["name"], d["cursor"]) for d in devices["data"]] == [("p", "手机 📱", 1)]
    assert (await world.call("DELETE", "/v1/me/devices/p", mine)).status_code == 204
    assert (await world.call("DELETE", "/v1/users/b/devices/p")).status_code == 404


async def test_presence_tells_sockets_and_never_guesses_wechat(world: World) -> None:
    await world.users("a", "b", "c")
    await world.group("a", "b")
    keys = await world.hub.directory.user_keys("shop", ["a", "c"])  # type: ignore[arg-type]
    world.hub.presence.platforms = {keys["a"]: ["app"]}
    told = await world.get("/v1/presence", params={"user": ["a", "b", "nobody", "c"]})
    assert [(p["user_id"], p["online"]) for p in told["data"]] == [("a", True), ("b", False), ("c", False)]
    assert told["data"][0]["platforms"] == {
        "app": "online",
        "web": "offline",
        "wechat_mp": "unknown",
        "miniprogram": "unknown",
    }
    heard = await world.get("/v1/presence", await world.token("b"), params={"user": ["a", "c"]})
    assert [p["user_id"] for p in heard["data"]] == ["a"]


async def test_policies_of_an_app_stand_before_the_built_in_ones(world: World) -> None:
    names = {policy["name"]: policy for policy in (await world.get("/v1/policies"))["data"]}
    assert set(names) == {"default", "chat", "urgent", "approval"}
    assert [step["channel"] for step in names["urgent"]["steps"]] == ["ws", "wechat_mp"]
    body = {"steps": [{"channel": "wechat_mp", "only_if": {"priority": ["high"]}}], "mode": "all"}
    made = await world.call("PUT", "/v1/policies/urgent", json=body)
    assert (made.status_code, made.json()["built_in"]) == (201, False)
    own = await world.get("/v1/policies/urgent")
    assert (own["mode"], own["steps"][0]["only_if"]) == (
        "all",
        {"priority": ["high"], "category": None, "locale": None},
    )
    assert (await world.call("DELETE", "/v1/policies/urgent")).status_code == 204
    assert (await world.get("/v1/policies/urgent"))["built_in"] is True
    answer = await world.call("DELETE", "/v1/policies/urgent")
    assert (answer.status_code, answer.json()["code"]) == (409, "policy_builtin")
    assert (await world.call("GET", "/v1/policies/nope")).status_code == 404


async def test_an_admin_makes_apps_and_nobody_gives_more_than_they_have(world: World) -> None:
    body = {"id": "news", "name": "新闻", "settings": {"sessions_per_platform": 2}}
    made = await world.post("/v1/apps", body, world.admin)
    assert (await world.call("GET", "/v1/users", made["key"]["secret"])).status_code == 200
    again = await world.call("POST", "/v1/apps", world.admin, json=body)
    assert (again.status_code, again.json()["code"]) == (409, "app_exists")
    changed = await world.call("PATCH", "/v1/apps/news", world.admin, json={"name": "新闻二"})
    assert (changed.json()["name"], changed.json()["settings"]["sessions_per_platform"]) == ("新闻二", 2)
    assert {app["id"] for app in (await world.get("/v1/apps", world.admin))["data"]} == {
        "bank",
        "news",
        "shop",
    }
    answer = await world.call("POST", "/v1/keys", json={"scopes": ["apps:admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_exceeded")
    weak = (await world.post("/v1/keys", {"scopes": ["keys:admin"]}))["secret"]
    assert (await world.call("POST", "/v1/keys", weak, json={"scopes": ["users:read"]})).status_code == 403


async def test_a_revoked_key_is_refused_at_once_here(world: World) -> None:
    made = await world.post("/v1/keys", {"scopes": ["users:read"]})
    assert (await world.call("GET", "/v1/users", made["secret"])).status_code == 200
    assert (await world.call("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
    assert (await world.call("GET", "/v1/users", made["secret"])).json()["code"] == "key_invalid"
    listed = {key["id"]: key for key in (await world.get("/v1/keys"))["data"]}
    assert listed[made["id"]]["revoked_at"] is not None
    actions = [entry["action"] for entry in (await world.get("/v1/audit"))["data"]]
    assert actions[:2] == ["key.revoke", "key.create"]


async def test_a_flood_is_bounded_and_others_go_on(tmp_path: Any) -> None:
    async with open_world(sqlite_url(tmp_path)) as world:
        object.__setattr__(world.hub.settings, "rate_key", 2)
        answers = [await world.call("GET", "/v1/users") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=4;w=2'
        assert answers[0].headers["ratelimit"].startswith('"requests";r=3')
        assert answers[-1].json()["code"] == "rate_limited"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await world.call("GET", "/v1/users", world.their_key)).status_code == 200
        object.__setattr__(world.hub.settings, "rate_failures", 1)
        failures = [(await world.call("GET", "/v1/users", "hub_1_x")).status_code for _ in range(4)]
        assert failures == [401, 401, 429, 429]


def test_a_bucket_fills_again_and_the_oldest_is_forgotten() -> None:
    buckets = Buckets(capacity=2)
    rate = Rate(1, 2)
    taken = [buckets.take("a", rate, now=0.0) for _ in range(3)]
    assert [one and one.allowed for one in taken] == [True, True, False]
    later = buckets.take("a", rate, now=1.0)
    assert later is not None
    assert later.allowed
    buckets.take("b", rate, now=1.0)
    buckets.take("c", rate, now=1.0)
    again = buckets.take("a", rate, now=1.0)
    assert again is not None
    assert again.remaining == 1
    assert buckets.take("a", Rate(0, 0)) is None


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://evil.example.com"])
async def test_browsers_of_listed_origins_only(tmp_path: Any, origin: str) -> None:
    async with open_world(sqlite_url(tmp_path), cors_origins=("https://app.example.com",)) as world:
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = await world.http.options("/v1/queue", headers=headers)
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (origin if "app" in origin else None)


async def test_without_a_setting_no_origin_is_allowed(world: World) -> None:
    answer = await world.http.get("/v1/queue", headers={"Origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in answer.headers
