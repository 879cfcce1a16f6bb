"""Who is who at WeChat, by REST: imports, invitations, and what people say for themselves."""

from __future__ import annotations

from typing import Any

import pytest

from hub.api.origins import may_return
from hub.core.accounts import AccountId, GrantKey
from tests.unit.api.harness import MINE, World, open_world, sqlite_url

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

ACCOUNTS = "/v1/wechat/accounts"


async def account(world: World, channel: str = "wechat_mp", **options: Any) -> str:
    number = len((await world.get(ACCOUNTS))["data"])
    body = {
        "channel": channel,
        "name": "号",
        "appid": f"wx{number:016x}",
        "secret": "0" * 32,
        "options": {"family": "open-1", **options},
    }
    return str((await world.post(ACCOUNTS, body))["id"])


async def test_an_import_binds_people_and_follows_union_ids(world: World) -> None:
    official, mini = await account(world), await account(world, "miniprogram")
    people = [{"user_id": f"用户{n}", "openid": f"o_{n}", "unionid": f"un_{n}"} for n in range(3)]
    path = f"{ACCOUNTS}/{official}/bindings/import"
    assert await world.post(path, {"bindings": people}) == {"written": 3, "linked": 0}
    other = {"user_id": "用户9", "openid": "p_1", "unionid": "un_1"}
    path = f"{ACCOUNTS}/{mini}/bindings/import"
    assert await world.post(path, {"bindings": [other]}) == {"written": 1, "linked": 1}
    found = (await world.get("/v1/users/用户9/bindings"))["data"]
    assert {(one["account"], one["openid"], one["source"]) for one in found} == {
        (mini, "p_1", "import"),
        (official, "o_1", "union"),
    }
    assert {(one["user_id"], one["unionid"], one["state"]) for one in found} == {("用户9", "un_1", "active")}
    assert (await world.get("/v1/users/用户1/bindings"))["data"] == []
    audit = [line for line in (await world.get("/v1/audit"))["data"] if line["action"] == "binding.import"]
    assert [(line["target"], line["detail"]) for line in audit] == [
        (mini, {"count": 1}),
        (official, {"count": 3}),
    ]


async def test_an_import_repeats_and_is_all_or_nothing(world: World) -> None:
    official = await account(world)
    await world.users("u")
    items = [{"account": official, "openid": "o_1"}, {"account": "acc_none", "openid": "o_2"}]
    refused = await world.call("POST", "/v1/users/u/bindings/import", json={"bindings": items})
    assert (refused.status_code, refused.json()["code"]) == (404, "account_not_found")
    assert (await world.get("/v1/users/u/bindings"))["data"] == []
    headers = {"Idempotency-Key": "one"}
    for replayed in (None, "true"):
        answer = await world.call(
            "POST", "/v1/users/u/bindings/import", json={"bindings": items[:1]}, headers=headers
        )
        assert answer.json() == {"written": 1, "linked": 0}
        assert answer.headers.get("idempotent-replayed") == replayed
    nobody = await world.call("POST", "/v1/users/nobody/bindings/import", json={"bindings": items[:1]})
    assert nobody.json()["code"] == "user_not_found"


async def test_an_import_has_bounds(world: World) -> None:
    official = await account(world)
    path = f"{ACCOUNTS}/{official}/bindings/import"
    many = [{"user_id": f"u{n}", "openid": f"o_{n}"} for n in range(1_001)]
    assert (await world.post(path, {"bindings": many[:1_000]})) == {"written": 1_000, "linked": 0}
    for bindings in ([], many, [{"user_id": "u", "openid": "o\n"}], [{"user_id": "u", "openid": "微信"}]):
        answer = await world.call("POST", path, json={"bindings": bindings})
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_a_binding_is_removed_once(world: World) -> None:
    official = await account(world)
    item = {"user_id": "u", "openid": "o_1"}
    await world.post(f"{ACCOUNTS}/{official}/bindings/import", {"bindings": [item]})
    assert (await world.call("DELETE", f"/v1/users/u/bindings/{official}")).status_code == 204
    again = await world.call("DELETE", f"/v1/users/u/bindings/{official}")
    assert (again.status_code, again.json()["code"]) == (404, "binding_not_found")
    assert (await world.get("/v1/users/u/bindings"))["data"] == []
    line = (await world.get("/v1/audit"))["data"][0]
    assert (line["action"], line["target"], line["detail"]) == ("binding.remove", official, {"user_id": "u"})


async def test_people_are_invited_by_page_or_by_picture(world: World) -> None:
    official = await account(world)
    await world.users("u")
    path = "/v1/users/u/bindings/invite"
    page = await world.post(path, {"account": official, "by": "page", "return_to": "/profile?tab=1"})
    assert page["url"].startswith("https://")
    assert page["picture"] == ""
    picture = await world.post(path, {"account": official, "by": "qr"})
    assert picture["picture"].startswith("https://")
    user = (await world.hub.directory.user_keys(MINE, ["u"]))["u"]
    assert [(t.user, t.return_to) for t in world.hub.desk.tickets] == [(user, "/profile?tab=1"), (user, "")]
    await world.call("PATCH", f"{ACCOUNTS}/{official}", json={"enabled": False})
    disabled = await world.call("POST", path, json={"account": official, "by": "qr"})
    assert (disabled.status_code, disabled.json()["code"]) == (409, "account_disabled")


async def test_nobody_is_sent_on_to_where_the_operator_has_not_been_asked(world: World) -> None:
    official = await account(world)
    await world.users("u")
    body = {"account": official, "by": "page", "return_to": "https://evil.example.com/"}
    answer = await world.call("POST", "/v1/users/u/bindings/invite", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "return_to_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/return_to"
    assert world.hub.desk.tickets == []


async def test_an_origin_of_the_setting_may_be_returned_to(tmp_path: Any) -> None:
    origins = ("https://app.example.com",)
    async with open_world(sqlite_url(tmp_path), return_origins=origins) as world:
        official = await account(world)
        await world.users("u")
        body = {"account": official, "by": "page", "return_to": "https://app.example.com/done"}
        await world.post("/v1/users/u/bindings/invite", body)
        assert world.hub.desk.tickets[0].return_to == "https://app.example.com/done"


@pytest.mark.parametrize(
    "address",
    ["/", "/a/b?c=d#e", "/a?next=https://evil.example", "https://app.example.com", "https://APP.example.com/x",
     "https://app.example.com?x=1", "http://localhost:3000/x"],
)  # fmt: skip
def test_paths_and_named_origins_may_be_returned_to(address: str) -> None:
    assert may_return(address, ["https://app.example.com/", "http://localhost:3000"])


@pytest.mark.parametrize(
    "address",
    ["", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", " /x", "x", "javascript:alert(1)",
     "https://evil.example", "http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.example",
     "https://app.example.com@evil.example", "https://user@app.example.com", "https:app.example.com", "https:///x",
     "https://app.example.com\\@evil.example", "https://[::1", "https://app.example.com:x/", "data:text/html,x",
     "ftp://app.example.com"],
)  # fmt: skip
def test_nothing_else_may(address: str) -> None:
    assert not may_return(address, ["https://app.example.com"])


async def test_a_mini_programs_user_binds_with_a_login_code(world: World) -> None:
    mini, official = await account(world, "miniprogram"), await account(world)
    await world.users("u")
    user = await world.token("u")
    bound = await world.post("/v1/me/bindings/code", {"account": mini, "code": "c1"}, user)
    assert (bound["account"], bound["user_id"], bound["openid"], bound["source"]) == (
        mini,
        "u",
        "o_c1",
        "code",
    )
    wrong = await world.call("POST", "/v1/me/bindings/code", user, json={"account": official, "code": "c1"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "not_for_this_account")
    business = await world.call("POST", "/v1/me/bindings/code", json={"account": mini, "code": "c1"})
    assert business.json()["code"] == "user_token_required"


async def test_reported_consents_count_once_and_show_as_grants(world: World) -> None:
    mini = await account(world, "miniprogram", grants_from="client")
    await world.users("u")
    user = await world.token("u")
    assert (await world.get(f"/v1/me/grants?account={mini}", user))["data"] == []
    body = {"account": mini, "answers": {"t1": "accept", "t2": "reject"}, "once": "ask-1"}
    unbound = await world.call("POST", "/v1/me/consents", user, json=body)
    assert unbound.json()["code"] == "binding_not_found"
    await world.post("/v1/me/bindings/code", {"account": mini, "code": "c1"}, user)
    for _ in range(2):
        told = await world.post("/v1/me/consents", body, user)
        assert [(one["template"], one["remaining"]) for one in told["data"]] == [("t1", 1)]
    told = await world.post("/v1/me/consents", {**body, "once": "ask-2"}, user)
    assert told["data"][0]["remaining"] == 2
    key = GrantKey(AccountId(mini), "o_c1", "t3")
    await world.hub.books.grants.set_unlimited(key, True)
    grants = (await world.get(f"/v1/me/grants?account={mini}", user))["data"]
    assert [(one["template"], one["remaining"], one["unlimited"]) for one in grants] == [
        ("t1", 2, False),
        ("t3", 0, True),
    ]
    for answers in ({}, {"t": "maybe"}, {"": "accept"}, {f"t{n}": "accept" for n in range(21)}):
        refused = await world.call("POST", "/v1/me/consents", user, json={**body, "answers": answers})
        assert refused.json()["code"] == "request_invalid"


async def test_where_events_tell_reports_are_refused(world: World) -> None:
    mini = await account(world, "miniprogram")
    await world.users("u")
    body = {"account": mini, "answers": {"t1": "accept"}, "once": "ask-1"}
    answer = await world.call("POST", "/v1/me/consents", await world.token("u"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "grants_from_events")
