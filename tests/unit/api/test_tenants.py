"""Every route of the description, tried by everybody who should not: a new route without a check fails here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hub.core.webhooks import WebhookEvent, WebhookEventId
from tests.unit.api.harness import MINE, World

MARK = "绝密-7"
"""In every text of the first app. Nobody else may ever see it."""
REFUSED = {401, 403, 404}

# What these answer is about the caller's own app (or self), whatever ids stand in the body: they must not show
# the mark, nor change anything of the first app. All others must refuse.
OWN_APP = {
    "createNotification",
    "createNotifications",
    "createKey",
    "listKeys",
    "createSigningKey",
    "listSigningKeys",
    "listUsers",
    "putUser",
    "putUsers",
    "createToken",
    "listPolicies",
    "putPolicy",
    "getPolicy",
    "deletePolicy",
    "listTemplates",
    "putTemplate",
    "sendEvent",
    "listDeliveries",
    "listAudit",
    "listConversations",
    "getPresence",
    "createWebhook",
    "listWebhooks",
    "createAccount",
    "listAccounts",
    "putTask",
    "putInstance",
    "listTasks",
    "checkTasks",
}
OWN_SELF = {
    "getMe",
    "putMe",
    "listMyDevices",
    "deleteMyDevice",
    "pullQueue",
    "ackQueue",
    "listConversations",
    "getPresence",
    "sendMessage",
    "bindByCode",
    "reportConsents",
    "listMyGrants",
    "listMyTasks",
}
# A key says for whom.
FOR_USER = {"pullQueue", "ackQueue", "markRead"}
PUBLIC = {"getHealth", "getReadiness", "getMetrics"}


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    body: Any
    query: str
    by_key: bool
    by_user: bool


def operations(schema: dict[str, Any], ids: dict[str, str]) -> Iterator[Operation]:
    """Each with ids of the first app in its path, and with its own example as the body."""
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            filled = path
            for name, value in ids.items():
                filled = filled.replace(f"{{{name}}}", quote(value, safe=""))
            assert "{" not in filled, f"{path}: tell this test an id for it"
            body = None
            if "requestBody" in described:
                text = json.dumps(described["requestBody"]["content"]["application/json"]["example"])
                text = text.replace("cnv_0195a0", ids["conversation_id"])
                body = json.loads(text.replace("acc_0195a1", ids["account_id"]))
            schemes = {name for scheme in described["security"] for name in scheme}
            queries = {"getPresence": "?user=u_1024", "listMyGrants": f"?account={ids['account_id']}"}
            query = queries.get(described["operationId"], "")
            yield Operation(
                described["operationId"],
                method.upper(),
                filled,
                body,
                query,
                "apiKey" in schemes,
                "userToken" in schemes,
            )


async def _first_app(world: World) -> dict[str, str]:
    """Something of every kind, all of it marked."""
    for user in ("u_1024", "u_9", "u_7"):
        await world.call("PUT", f"/v1/users/{user}", json={"name": MARK})
    group = await world.group("u_1024", "u_9", title=MARK)
    sent = await world.post(f"/v1/conversations/{group}/messages", {"body": {"text": MARK}, "sender": "u_9"})
    notification = await world.post(
        "/v1/notifications",
        {
            "to": [{"user_id": "u_1024"}],
            "content": {"title": MARK},
            "route": {"steps": [{"channel": "wechat_mp"}]},
            "category": MARK,
        },
    )
    deliveries = await world.get("/v1/deliveries")
    key = await world.post("/v1/keys", {"name": MARK, "scopes": ["users:read"]})
    public = world.app.openapi()["paths"]["/v1/signing-keys"]["post"]["requestBody"]
    signing = await world.post("/v1/signing-keys", public["content"]["application/json"]["example"])
    await world.call("PUT", "/v1/policies/marked", json={"steps": [{"channel": "ws"}]})
    texts = {"zh-CN": {"title": MARK}}
    await world.call("PUT", "/v1/templates/marked", json={"texts": texts, "default_locale": "zh-CN"})
    hook = await world.post("/v1/webhooks", {"url": "https://example.com/hook", "description": MARK})
    event = WebhookEvent(WebhookEventId("evt_marked"), MINE, "x.y", world.clock(), f'{{"text":"{MARK}"}}')
    await world.hub.webhooks.put_events([event])
    account = await world.post(
        "/v1/wechat/accounts",
        {
            "channel": "miniprogram",
            "name": MARK,
            "appid": "wx0000000000000007",
            "secret": "0" * 32,
            "options": {"grants_from": "client"},
        },
    )
    known = [{"user_id": "u_1024", "openid": "o_1024"}]
    await world.post(f"/v1/wechat/accounts/{account['id']}/bindings/import", {"bindings": known})
    victim = await world.token("u_1024")
    task = {
        "instance": {"id": "inst-778", "title": MARK, "applicant": "u_9"},
        "node": {"sign_mode": "all"},
        "assignees": ["u_1024", "u_9"],
        "version": 7,
    }
    await world.call("PUT", "/v1/tasks/oa:marked", json=task)
    pressed = {"action_id": "approve", "comment": MARK}
    acted = await world.post("/v1/tasks/oa:marked/actions", pressed, victim)
    await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "phone-1", "name": MARK}}, victim)
    return {
        "notification_id": notification["id"],
        "conversation_id": group,
        "user_id": "u_1024",
        "device_id": "phone-1",
        "name": "marked",
        "key": "marked",
        "version": "1",
        "delivery_id": deliveries["data"][0]["id"],
        "key_id": key["id"],
        "kid": signing["kid"],
        "app_id": "shop",
        "webhook_id": hook["id"],
        "event_id": event.id,
        "account_id": account["id"],
        "message_id": sent["id"],
        "task_id": "oa:marked",
        "action": acted["action"]["id"],
        "instance_id": "inst-778",
    }


async def _state(world: World, ids: dict[str, str]) -> list[object]:
    """What an attack must not change."""
    await world.hub.engine.cursors.flush()
    users = await world.get("/v1/users")
    conversations = (await world.get("/v1/conversations"))["data"]
    return [
        [user for user in users["data"] if user["name"] == MARK],
        conversations,
        [await world.get(f"/v1/conversations/{one['id']}/members") for one in conversations],
        await world.get("/v1/queue", params={"user": "u_1024"}),
        await world.get("/v1/users/u_1024/devices"),
        await world.get("/v1/keys"),
        await world.get("/v1/signing-keys"),
        await world.get("/v1/policies"),
        await world.get("/v1/templates"),
        await world.get("/v1/audit"),
        await world.get("/v1/deliveries"),
        await world.get("/v1/webhooks"),
        await world.get("/v1/wechat/accounts"),
        await world.get("/v1/tasks"),
        await world.get("/v1/tasks/oa:marked/timeline"),
        await world.get("/v1/users/u_1024/bindings"),
        await world.get(f"/v1/webhooks/{ids['webhook_id']}/deliveries"),
    ]


async def _attack(
    world: World, token: str, allowed: set[str], ids: dict[str, str], *, user: bool
) -> list[str]:
    wrong: list[str] = []
    # Allowed ones last: they make things in the attacker's own app, under the same ids.
    for operation in sorted(operations(world.app.openapi(), ids), key=lambda one: one.id in allowed):
        if operation.id in PUBLIC:
            continue
        query, body = operation.query, operation.body
        if not user and operation.id in FOR_USER:
            query = "?user=u_1024" if body is None else query
            body = None if body is None else {**body, "user": "u_1024"}
        answer = await world.call(operation.method, operation.path + query, token, json=body)
        speaks = operation.by_user if user else operation.by_key
        may = operation.id in allowed and speaks
        if MARK in answer.text:
            wrong.append(f"{operation.id}: shows what is not the caller's")
        if answer.status_code not in REFUSED and not (may and answer.status_code < 500):
            wrong.append(f"{operation.id}: answered {answer.status_code} {answer.text[:200]}")
        if not speaks and answer.status_code != 403:
            wrong.append(f"{operation.id}: answered {answer.status_code} to the wrong kind of caller")
    return wrong


async def test_another_apps_key_gets_nothing(world: World) -> None:
    ids = await _first_app(world)
    before = await _state(world, ids)
    assert await _attack(world, world.their_key, OWN_APP, ids, user=False) == []
    assert await _state(world, ids) == before


async def test_another_apps_user_gets_nothing_even_under_the_same_id(world: World) -> None:
    ids = await _first_app(world)
    await world.users("u_1024", key=world.their_key)
    stranger = await world.token("u_1024", world.their_key)
    before = await _state(world, ids)
    assert await _attack(world, stranger, OWN_SELF, ids, user=True) == []
    assert await _state(world, ids) == before


async def test_another_user_of_the_same_app_gets_nothing(world: World) -> None:
    ids = await _first_app(world)
    await world.users("eve")
    eve = await world.token("eve")
    before = await _state(world, ids)
    # Eve may write to u_1024: that is chat. It is the one thing here that she may do to others.
    assert await _attack(world, eve, OWN_SELF - {"sendMessage"}, ids, user=True) == []
    assert await _state(world, ids) == before


async def test_without_a_valid_token_everything_is_401(world: World) -> None:
    ids = await _first_app(world)
    forged = world.key[:-1] + ("a" if world.key[-1] != "a" else "b")
    for token in ("", "x", "hub_1_2", forged, "a.b.c", "eyJhbGciOiJub25lIn0.e30."):
        for operation in operations(world.app.openapi(), ids):
            if operation.id in PUBLIC:
                continue
            answer = await world.call(
                operation.method, operation.path + operation.query, token, json=operation.body
            )
            assert answer.status_code == 401, (operation.id, token, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_without_the_scope_is_refused_everywhere(world: World) -> None:
    ids = await _first_app(world)
    bare = (await world.post("/v1/keys", {"scopes": ["audit:read"]}))["secret"]
    reading = await world.token("u_1024", scopes=["read"])
    for operation in operations(world.app.openapi(), ids):
        if operation.by_key and operation.id != "listAudit":
            answer = await world.call(
                operation.method, operation.path + operation.query, bare, json=operation.body
            )
            assert answer.status_code == 403, (operation.id, answer.text)
            assert answer.json()["code"] == "scope_missing"
    for path in ("/v1/messages", "/v1/me"):
        method = "POST" if path == "/v1/messages" else "PUT"
        answer = await world.call(method, path, reading, json={"to": {"user": "u_9"}, "body": "x"})
        assert answer.status_code == 403


async def test_a_user_cannot_speak_or_ask_for_another(world: World) -> None:
    ids = await _first_app(world)
    victim, other = "u_1024", await world.token("u_9")
    group = ids["conversation_id"]
    tries = [
        ("GET", f"/v1/queue?user={victim}", None),
        ("POST", "/v1/queue/ack", {"seq": 0, "device": {"id": "d"}, "user": victim}),
        ("GET", f"/v1/conversations?user={victim}", None),
        ("GET", f"/v1/conversations/{group}?user={victim}", None),
        ("GET", f"/v1/conversations/{group}/messages?user={victim}", None),
        ("POST", f"/v1/conversations/{group}/read", {"seq": 1, "user": victim}),
        ("POST", f"/v1/conversations/{group}/messages", {"body": "x", "sender": victim}),
        ("POST", "/v1/messages", {"to": {"user": victim}, "body": "x", "sender": victim}),
    ]
    for method, path, body in tries:
        answer = await world.call(method, path, other, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_yourself"), path


async def test_readers_of_the_inbox_do_not_learn_of_each_other(world: World) -> None:
    await _first_app(world)
    mine = await world.token("u_1024")
    inbox = (await world.get("/v1/conversations", mine))["data"][0]
    assert inbox["kind"] == "inbox"
    await world.post(f"/v1/conversations/{inbox['id']}/read", {"seq": inbox["last_message"]["seq"]}, mine)
    assert (await world.call("GET", f"/v1/conversations/{inbox['id']}/members", mine)).status_code == 404
    await world.users("eve")
    eve = await world.token("eve")
    for path in ("", "/messages", "/members"):
        answer = await world.call("GET", f"/v1/conversations/{inbox['id']}{path}", eve)
        assert MARK not in answer.text
    told = await world.get("/v1/presence", eve, params={"user": ["u_1024", "eve"]})
    assert [person["user_id"] for person in told["data"]] == ["eve"]


async def test_one_apps_idempotency_key_is_not_anothers(world: World) -> None:
    headers = {"Idempotency-Key": "same"}
    mine = await world.post("/v1/keys", {"name": MARK, "scopes": ["users:read"]}, headers=headers)
    theirs = await world.post(
        "/v1/keys", {"name": MARK, "scopes": ["users:read"]}, world.their_key, headers=headers
    )
    assert mine["secret"] != theirs["secret"]
    await world.users("a", "b")
    one, two = await world.token("a"), await world.token("b")
    first = await world.post("/v1/messages", {"to": {"user": "a"}, "body": "x"}, one, headers=headers)
    second = await world.post("/v1/messages", {"to": {"user": "a"}, "body": "x"}, two, headers=headers)
    assert first["id"] != second["id"]
