"""Accounts at WeChat by REST: what may be set, what is never shown, and what stays within its app."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.accounts import Account, AccountId, ProviderTemplate, TemplateKind
from hub.core.errors import Refused, Unavailable
from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

SECRET, TOKEN, KEY, NEW_KEY = "5ecret" * 5, "Tk9Xq3", "k" * 43, "n" * 43
ACCOUNTS = "/v1/wechat/accounts"
OFFICIAL = {
    "channel": "wechat_mp",
    "name": "通知助手 🎉",
    "appid": "wx0123456789abcdef",
    "secret": SECRET,
    "callback": {"token": TOKEN, "aes_key": KEY},
    "options": {"family": "open-1", "per_second": 20},
}


async def made(world: World, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await world.post(ACCOUNTS, {**OFFICIAL, **fields})
    return answer


async def kept(world: World, account: dict[str, Any]) -> Account:
    found = await world.hub.books.accounts.account(AccountId(account["id"]))
    assert found is not None
    return found


async def test_an_account_is_made_listed_and_shown_without_its_secrets(world: World) -> None:
    answer = await world.call("POST", ACCOUNTS, json=OFFICIAL)
    assert answer.status_code == 201
    account = answer.json()
    assert answer.headers["location"] == f"{ACCOUNTS}/{account['id']}"
    assert account["callback_path"] == f"/callbacks/wechat/{account['id']}"
    assert (account["has_secret"], account["has_callback_token"], account["aes_keys"]) == (True, True, 1)
    assert account["options"] == {
        "original_id": "",
        "family": "open-1",
        "per_second": 20.0,
        "grants_from": "events",
        "mini_state": "formal",
        "jump_appid": "",
    }
    shown = await world.call("GET", f"{ACCOUNTS}/{account['id']}")
    listed = await world.call("GET", ACCOUNTS)
    audit = await world.call("GET", "/v1/audit")
    assert shown.json() == account
    assert listed.json() == {"data": [account]}
    for text in (answer.text, shown.text, listed.text, audit.text):
        assert not any(secret in text for secret in (SECRET, TOKEN, KEY))
    secrets = await world.hub.books.accounts.secrets(AccountId(account["id"]))
    assert (secrets.secret, secrets.callback_token, secrets.aes_keys) == (SECRET, TOKEN, (KEY,))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"appid": "wx0123456789ABCDEF"}, "/appid"),
        ({"appid": "gh_0123456789ab"}, "/appid"),
        ({"channel": "ws"}, "/channel"),
        ({"secret": "short"}, "/secret"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 129}, "/name"),
        ({"callback": {"token": "no", "aes_key": KEY}}, "/callback/token"),
        ({"callback": {"token": "with-dash"}}, "/callback/token"),
        ({"callback": {"token": TOKEN, "aes_key": KEY[:-1]}}, "/callback/aes_key"),
        ({"options": {"per_second": 0}}, "/options/per_second"),
        ({"options": {"grants_from": "both"}}, "/options/grants_from"),
        ({"options": {"jump_appid": "x"}}, "/options/jump_appid"),
        ({"options": {"familly": "x"}}, "/options/familly"),
    ],
)
async def test_what_wechat_would_not_take_is_refused_with_its_place(
    world: World, change: dict[str, Any], pointer: str
) -> None:
    answer = await world.call("POST", ACCOUNTS, json={**OFFICIAL, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert SECRET not in answer.text


async def test_an_appid_is_there_once_and_a_repeat_by_key_gets_the_first_answer(world: World) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await world.call("POST", ACCOUNTS, json=OFFICIAL, headers=headers)
    again = await world.call("POST", ACCOUNTS, json=OFFICIAL, headers=headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    twin = await world.call("POST", ACCOUNTS, json=OFFICIAL)
    assert (twin.status_code, twin.json()["code"]) == (409, "account_taken")
    assert len((await world.get(ACCOUNTS))["data"]) == 1


async def test_a_change_leaves_what_it_does_not_name(world: World) -> None:
    account = await made(world)
    path = f"{ACCOUNTS}/{account['id']}"
    changed = (await world.call("PATCH", path, json={"name": "新名", "enabled": False})).json()
    assert changed == {**account, "name": "新名", "enabled": False}
    changed = (await world.call("PATCH", path, json={"options": {"per_second": None}})).json()
    assert changed["options"] == {**account["options"], "per_second": None}
    secrets = await world.hub.books.accounts.secrets(AccountId(account["id"]))
    assert secrets.secret == SECRET
    await world.call("PATCH", path, json={"secret": "n" * 32})
    assert (await world.hub.books.accounts.secrets(AccountId(account["id"]))).secret == "n" * 32
    audit = (await world.get("/v1/audit"))["data"]
    lines = [line for line in audit if line["action"].startswith("account.")]
    assert [(line["action"], line["detail"]["secrets_changed"]) for line in lines] == [
        ("account.change", True),
        ("account.change", False),
        ("account.change", False),
        ("account.create", True),
    ]
    assert {line["target"] for line in lines} == {account["id"]}


async def test_a_new_aes_key_goes_before_the_old_one_until_that_is_forgotten(world: World) -> None:
    account = await made(world)
    path = f"{ACCOUNTS}/{account['id']}"

    async def keys(callback: dict[str, Any]) -> tuple[str, ...]:
        await world.call("PATCH", path, json={"callback": callback})
        return (await world.hub.books.accounts.secrets(AccountId(account["id"]))).aes_keys

    assert await keys({"aes_key": NEW_KEY}) == (NEW_KEY, KEY)
    assert await keys({"aes_key": NEW_KEY}) == (NEW_KEY, KEY)
    assert await keys({"aes_key": "z" * 43}) == ("z" * 43, NEW_KEY)
    assert await keys({"forget_previous": True}) == ("z" * 43,)
    secrets = await world.hub.books.accounts.secrets(AccountId(account["id"]))
    assert secrets.callback_token == TOKEN


async def test_a_deleted_account_is_gone_with_its_bindings(world: World) -> None:
    account = await made(world)
    body = {"bindings": [{"user_id": "u", "openid": "o_1"}]}
    await world.post(f"{ACCOUNTS}/{account['id']}/bindings/import", body)
    assert (await world.call("DELETE", f"{ACCOUNTS}/{account['id']}")).status_code == 204
    again = await world.call("DELETE", f"{ACCOUNTS}/{account['id']}")
    assert (again.status_code, again.json()["code"]) == (404, "account_not_found")
    assert (await world.get("/v1/users/u/bindings"))["data"] == []
    assert (await world.get("/v1/audit"))["data"][0]["action"] == "account.delete"


async def test_another_apps_account_is_not_there_for_anybody_else(world: World) -> None:
    account = await made(world)
    await world.users("u", key=world.their_key)
    user = await world.token("u", world.their_key)
    id_ = account["id"]
    item = {"account": id_, "openid": "o_1"}
    tries: list[tuple[str, str, str, object]] = [
        ("GET", f"{ACCOUNTS}/{id_}", world.their_key, None),
        ("PATCH", f"{ACCOUNTS}/{id_}", world.their_key, {"name": "mine now"}),
        ("DELETE", f"{ACCOUNTS}/{id_}", world.their_key, None),
        ("GET", f"{ACCOUNTS}/{id_}/health", world.their_key, None),
        ("GET", f"{ACCOUNTS}/{id_}/quotas", world.their_key, None),
        ("GET", f"{ACCOUNTS}/{id_}/templates", world.their_key, None),
        ("POST", f"{ACCOUNTS}/{id_}/templates/sync", world.their_key, None),
        (
            "POST",
            f"{ACCOUNTS}/{id_}/bindings/import",
            world.their_key,
            {"bindings": [{"user_id": "new", "openid": "o_1"}]},
        ),
        ("POST", "/v1/users/u/bindings/import", world.their_key, {"bindings": [item]}),
        ("DELETE", f"/v1/users/u/bindings/{id_}", world.their_key, None),
        ("POST", "/v1/users/u/bindings/invite", world.their_key, {"account": id_, "by": "qr"}),
        ("POST", "/v1/me/bindings/code", user, {"account": id_, "code": "c"}),
        ("POST", "/v1/me/consents", user, {"account": id_, "answers": {"t": "accept"}, "once": "1"}),
        ("GET", f"/v1/me/grants?account={id_}", user, None),
    ]
    for method, path, token, body in tries:
        answer = await world.call(method, path, token, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found"), (method, path)
    assert (await world.get(ACCOUNTS, world.their_key))["data"] == []
    assert (await kept(world, account)).name == OFFICIAL["name"]
    users = (await world.get("/v1/users", world.their_key))["data"]
    assert [one["user_id"] for one in users] == ["u"], "an import that is refused makes nobody"


async def test_health_is_what_is_known_or_what_a_probe_finds(world: World) -> None:
    account = await made(world)
    path = f"{ACCOUNTS}/{account['id']}/health"
    assert await world.get(path) == {
        "ok": True,
        "circuit": "closed",
        "open_until": None,
        "detail": "",
        "code": "",
    }
    world.hub.desk.trouble = Refused("provider_refused", "invalid ip, not in whitelist")
    found = await world.get(f"{path}?probe=true")
    assert (found["ok"], found["circuit"], found["code"]) == (False, "open", "40164")
    assert found["open_until"] == "2026-03-01T01:14:00Z"


async def test_quotas_are_shown_and_trouble_is_told_in_plain_words(world: World) -> None:
    account = await made(world)
    path = f"{ACCOUNTS}/{account['id']}/quotas"
    assert (await world.get(path))["data"] == [
        {"call": "/cgi-bin/wechat_mp", "limit": 100, "used": 1, "remaining": 99}
    ]
    world.hub.desk.trouble = Unavailable("provider_unavailable", "system busy")
    away = await world.call("GET", path)
    assert (away.status_code, away.json()["retryable"]) == (503, True)
    world.hub.desk.trouble = Refused("provider_refused", "api unauthorized")
    refused = await world.call("GET", path)
    assert (refused.status_code, refused.json()["detail"]) == (422, "api unauthorized")


async def test_templates_are_shown_with_what_each_field_takes(world: World) -> None:
    account = await made(world)
    path = f"{ACCOUNTS}/{account['id']}/templates"
    assert (await world.get(path))["data"] == []
    world.hub.desk.provider = [
        ProviderTemplate(
            account=AccountId(account["id"]),
            id="tpl",
            kind=TemplateKind.ONE_TIME,
            title="审批结果",
            content="事项：{{thing1.DATA}}\n结果：{{phrase2.DATA}}\n{{new3.DATA}}",
            fields=("thing1", "phrase2", "new3"),
            enums={"phrase2": ("同意", "拒绝")},
            example="事项：差旅报销\n结果：同意\n",
        )
    ]
    synced = await world.post(f"{path}/sync", None)
    assert synced == await world.get(path)
    (template,) = synced["data"]
    assert (template["kind"], template["gone"]) == ("one_time", False)
    thing, phrase, new = template["fields"]
    assert (thing["type"], thing["limit"], thing["example"]) == ("thing", 20, "差旅报销")
    assert (phrase["limit"], phrase["values"], phrase["example"]) == (5, ["同意", "拒绝"], "同意")
    assert (new["type"], new["limit"], new["rule"], new["example"]) == ("new", None, "", "")
    line = (await world.get("/v1/audit"))["data"][0]
    assert (line["action"], line["detail"]) == ("account.sync_templates", {"templates": 1})
    world.hub.desk.provider = []
    assert [one["gone"] for one in (await world.post(f"{path}/sync", None))["data"]] == [True]


async def test_reading_and_writing_are_scopes_of_their_own(world: World) -> None:
    account = await made(world)
    reading = (await world.post("/v1/keys", {"scopes": ["accounts:read"]}))["secret"]
    assert (await world.call("GET", f"{ACCOUNTS}/{account['id']}", reading)).status_code == 200
    for method, path, body in (
        ("PATCH", f"{ACCOUNTS}/{account['id']}", {"name": "x"}),
        ("DELETE", f"{ACCOUNTS}/{account['id']}", None),
        ("POST", f"{ACCOUNTS}/{account['id']}/templates/sync", None),
    ):
        answer = await world.call(method, path, reading, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
