"""Something of every kind in one app, and every route of the description aimed at it by somebody else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx2

from hub.core.delivery import DeliveryId
from hub.core.webhooks import WebhookEvent, WebhookEventId
from hub.store.search_sql import NoSearch
from tests.fakes.channel import ScriptedChannel, refuse
from tests.unit.api.harness import MINE, World

MARK = "绝密-7"
"""In every text of the first app. Nobody else may ever see it."""
REFUSED = {401, 403, 404}

# What these answer is about the caller's own app (or self), whatever ids stand in the body: they must not show
# the mark, nor change anything of the first app. All others must refuse.
OWN_APP = {
    "uploadMedia",
    "beginUpload",
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
    "replayDeliveries",
    "listAudit",
    "listConversations",
    "searchMessages",
    "getPresence",
    "createWebhook",
    "listWebhooks",
    "createAccount",
    "listAccounts",
    "putThread",
    "putTask",
    "putInstance",
    "listTasks",
    "checkTasks",
}
OWN_SELF = {
    "uploadMedia",
    "beginUpload",
    "getMe",
    "putMe",
    "listMyDevices",
    "deleteMyDevice",
    "kickMyDevice",
    "pullQueue",
    "ackQueue",
    "searchMessages",
    "listMyContacts",
    "listConversations",
    "getPresence",
    "sendMessage",
    "bindByCode",
    "reportConsents",
    "listMyGrants",
    "listMyTasks",
}
# A key says for whom.
FOR_USER_QUERY = {"changeOwnState"}
FOR_USER = {
    "joinConversation",
    "leaveConversation",
    "pullQueue",
    "ackQueue",
    "markRead",
    "hideMessages",
    "addReaction",
    "removeReaction",
}
PUBLIC = {"getHealth", "getReadiness", "getMetrics", "getMediaByLink"}

_PLACEHOLDERS = {
    "msg_0195a1": "message_id",
    "cnv_0195a0": "conversation_id",
    "acc_0195a1": "account_id",
    "oa:inst-778:t2": "task_id",
}
"""Ids in the examples of bodies, which stand for those of the first app."""
_QUERIES: Mapping[str, tuple[str, ...]] = {
    "getPresence": ("?user=u_1024",),
    "getMediaByLink": ("?expires=1999999999&signature=00",),
    "getThread": ("?subject=post:4711", "?subject=intern"),
    "searchMessages": ("?q=绝密", "?q=7&conversation={conversation_id}", "?q=绝密&sender=u_9"),
    "listMyGrants": ("?account={account_id}",),
    "explainNotification": ("?user=u_1024", "?user=u_9"),
    "explainMessage": ("?user=u_1024", "?user=u_9"),
    "listDeliveries": ("", "?notification={notification_id}", "?channel=wechat_mp"),
    "listTasks": ("", "?instance=inst-778", "?state=pending"),
    "listMyTasks": ("", "?cc=true"),
    "getAccountHealth": ("", "?probe=true"),
}
"""Each is tried."""
_BODIES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "sendEvent": (
        {"name": "x.y", "thread": "inst-778"},
        {"name": "x.y", "notification": "{notification_id}"},
        {"name": "x.y", "dedupe_key": "marked"},
    ),
    "replayDeliveries": (
        {"ids": ["{delivery_id}"]},
        {"notification": "{notification_id}"},
        {"user_id": "u_1024", "state": "failed"},
        {"channel": "wechat_mp", "since": "2026-01-01T00:00:00Z"},
    ),
    "replayWebhook": ({"events": ["{event_id}"]}, {"failed_since": "2026-03-01T00:00:00Z"}),
    "actOnTask": (
        {"action_id": "approve"},
        {"action_id": "nonsense"},
        {"action_id": "reject", "comment": ""},
    ),
    "inviteToBind": ({"account": "{account_id}", "by": "page"}, {"account": "{account_id}", "by": "qr"}),
}
"""Beside the example."""


@dataclass(frozen=True)
class Operation:
    """One request."""

    id: str
    method: str
    path: str
    body: Any
    query: str
    by_key: bool
    by_user: bool
    needs_body: bool


def operations(schema: dict[str, Any], ids: Mapping[str, str]) -> Iterator[Operation]:
    """Each with these ids in its path, its query and its body, which is its own example and a few of ours."""
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            filled = path
            for name, value in ids.items():
                filled = filled.replace(f"{{{name}}}", quote(value, safe=""))
            assert "{" not in filled, f"{path}: tell this test an id for it"
            id_ = described["operationId"]
            bodies: list[Any] = [None]
            content = described.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                example = content["application/json"]["example"]
                bodies = [_with(ids, example), *(_with(ids, one) for one in _BODIES.get(id_, ()))]
            required = [
                p["name"] for p in described.get("parameters", []) if p["in"] == "query" and p["required"]
            ]
            assert not required or id_ in _QUERIES, f"{id_}: tell this test a query for it"
            schemes = {name for scheme in described["security"] for name in scheme}
            for query in _QUERIES.get(id_, ("",)):
                for body in bodies:
                    yield Operation(
                        id_,
                        method.upper(),
                        filled,
                        body,
                        query.format(**ids),
                        "apiKey" in schemes,
                        "userToken" in schemes,
                        described.get("requestBody", {}).get("required", False),
                    )


def _with(ids: Mapping[str, str], body: object) -> Any:
    text = json.dumps(body)
    for placeholder, name in _PLACEHOLDERS.items():
        text = text.replace(placeholder, ids[name])
    for name, value in ids.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


async def first_app(world: World) -> list[dict[str, str]]:
    """Something of every kind, all of it marked: ids for every path, in several choices of what they name."""
    for user in ("u_1024", "u_9", "u_7"):
        await world.call("PUT", f"/v1/users/{user}", json={"name": MARK})
    group = await world.group("u_1024", "u_9", title=MARK)
    thread = {"subject": "intern", "title": MARK, "open": False}
    await world.call("PUT", "/v1/threads", json=thread)
    await world.call("PUT", f"/v1/conversations/{group}/announcement", json={"text": MARK})
    sent = await world.post(f"/v1/conversations/{group}/messages", {"body": {"text": MARK}, "sender": "u_9"})
    asked = {
        "to": [{"user_id": "u_1024"}],
        "content": {"title": MARK},
        "route": {"steps": [{"channel": "wechat_mp"}], "stop_on": ["event:x.y"]},
        "category": MARK,
        "thread": "inst-778",
    }
    notification = await world.post("/v1/notifications", {**asked, "dedupe_key": "marked"})
    later = (world.clock() + timedelta(hours=1)).isoformat()
    scheduled = await world.post("/v1/notifications", {**asked, "not_before": later})
    delivery, dead = await _deliveries(world, asked)
    key = await world.post("/v1/keys", {"name": MARK, "scopes": ["users:read"]})
    public = world.app.openapi()["paths"]["/v1/signing-keys"]["post"]["requestBody"]
    signing = await world.post("/v1/signing-keys", public["content"]["application/json"]["example"])
    await world.call("PUT", "/v1/policies/marked", json={"steps": [{"channel": "ws"}]})
    texts = {"zh-CN": {"title": MARK}}
    await world.call("PUT", "/v1/templates/marked", json={"texts": texts, "default_locale": "zh-CN"})
    hook, disabled, event = await _webhooks(world)
    account, paused = await _accounts(world)
    task, action = await _tasks(world)
    victim = await world.token("u_1024")
    await world.call("PUT", "/v1/me/contacts/u_9", victim, json={"alias": MARK, "note": MARK})
    await world.call("PATCH", f"/v1/conversations/{group}/me", victim, json={"draft": MARK})
    while await world.hub.search.index(limit=100):
        pass
    await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "phone-1", "name": MARK}}, victim)
    media = await _file(world, sent)
    await world.call("PUT", "/v1/users/u_gone", json={"name": MARK})
    removal = (await world.call("DELETE", "/v1/users/u_gone")).json()
    ids = {
        "notification_id": notification["id"],
        "conversation_id": group,
        "user_id": "u_1024",
        "device_id": "phone-1",
        "contact_id": "u_9",
        "name": "marked",
        "key": "marked",
        "version": "1",
        "delivery_id": delivery,
        "key_id": key["id"],
        "kid": signing["kid"],
        "app_id": "shop",
        "webhook_id": hook,
        "event_id": event,
        "account_id": account,
        "message_id": sent["id"],
        "emoji": "👍",
        "task_id": "oa:marked",
        "action": action,
        "instance_id": "inst-778",
        "media_id": media,
        "removal_id": removal["id"],
    }
    explained = await world.get(f"/v1/notifications/{notification['id']}/explain?user=u_1024")
    others = {
        "notification_id": scheduled["id"],
        "delivery_id": dead,
        "webhook_id": disabled,
        "account_id": paused,
        "task_id": task,
        "message_id": explained["message"],
        "emoji": "👍",
    }
    return [ids, ids | others]


def nowhere(ids: Mapping[str, str], own: frozenset[str] = frozenset()) -> dict[str, str]:
    """Ids of the same shapes that name nothing, but for `own`. Users and names are whoever's they are, and stay."""
    kept = own | {
        "user_id",
        "device_id",
        "contact_id",
        "emoji",
        "name",
        "key",
        "version",
        "kid",
        "app_id",
        "instance_id",
    }
    return {name: value if name in kept else value[:-4] + "zzzz" for name, value in ids.items()}


async def _file(world: World, sent: Mapping[str, Any]) -> str:
    """A file that a message of the first group shows."""
    token = await world.token("u_9")
    text = {"Content-Type": "text/plain"}
    answer = await world.call("POST", "/v1/media", token, content=MARK.encode(), headers=text)
    media = str(answer.json()["id"])
    shown = {"kind": "file", "body": {"media": media, "name": "a.txt"}, "sender": "u_9"}
    await world.post(f"/v1/conversations/{sent['conversation']}/messages", shown)
    return media


async def _deliveries(world: World, asked: Mapping[str, Any]) -> tuple[str, str]:
    """One that waits, and a dead letter that could be tried again."""
    (waiting,) = (await world.get("/v1/deliveries"))["data"]
    channel = world.hub.engine.channels.get("wechat_mp")
    assert isinstance(channel, ScriptedChannel)
    channel.behaviour = refuse
    other = await world.post("/v1/notifications", {**asked, "to": [{"user_id": "u_9"}]})
    (dead,) = (await world.get(f"/v1/deliveries?notification={other['id']}"))["data"]
    await world.hub.engine.dispatcher.run([DeliveryId(dead["id"])])
    assert (await world.get(f"/v1/deliveries/{dead['id']}"))["state"] == "failed"
    return waiting["id"], dead["id"]


async def _webhooks(world: World) -> tuple[str, str, str]:
    hook = await world.post("/v1/webhooks", {"url": "https://example.com/hook", "description": MARK})
    event = WebhookEvent(WebhookEventId("evt_marked"), MINE, "x.y", world.clock(), f'{{"text":"{MARK}"}}')
    await world.hub.webhooks.put_events([event])
    other = await world.post("/v1/webhooks", {"url": "https://example.com/off", "description": MARK})
    await world.call("PATCH", f"/v1/webhooks/{other['id']}", json={"enabled": False})
    return hook["id"], other["id"], event.id


async def _accounts(world: World) -> tuple[str, str]:
    made: list[str] = []
    for number, channel in ((7, "miniprogram"), (8, "wechat_mp")):
        options = {"grants_from": "client"} if channel == "miniprogram" else {}
        account = {"channel": channel, "name": MARK, "appid": f"wx{number:016x}", "secret": "0" * 32}
        made.append((await world.post("/v1/wechat/accounts", {**account, "options": options}))["id"])
        known = {"bindings": [{"user_id": "u_1024", "openid": f"o_{number}"}]}
        await world.post(f"/v1/wechat/accounts/{made[-1]}/bindings/import", known)
    await world.call("PATCH", f"/v1/wechat/accounts/{made[1]}", json={"enabled": False})
    return made[0], made[1]


async def _tasks(world: World) -> tuple[str, str]:
    task = {
        "instance": {"id": "inst-778", "title": MARK, "applicant": "u_9"},
        "node": {"sign_mode": "all"},
        "assignees": ["u_1024", "u_9"],
        "version": 7,
        "actions": ["approve", "reject", "transfer"],
    }
    put = (await world.call("PUT", "/v1/tasks/oa:marked", json=task)).json()
    pressed = {"action_id": "approve", "comment": MARK}
    acted = await world.post("/v1/tasks/oa:marked/actions", pressed, await world.token("u_1024"))
    return put["id"], acted["action"]["id"]


async def state(world: World, ids: Mapping[str, str]) -> list[object]:
    """What an attack must not change."""
    await world.hub.engine.cursors.flush()
    users = await world.get("/v1/users")
    conversations = (await world.get("/v1/conversations"))["data"]
    paths = [
        *(f"/v1/conversations/{one['id']}/members" for one in conversations),
        "/v1/queue?user=u_1024",
        "/v1/users/u_1024/devices",
        "/v1/keys",
        "/v1/signing-keys",
        "/v1/policies",
        "/v1/templates",
        "/v1/audit",
        "/v1/deliveries",
        "/v1/webhooks",
        f"/v1/webhooks/{ids['webhook_id']}/deliveries",
        "/v1/wechat/accounts",
        f"/v1/wechat/accounts/{ids['account_id']}/templates",
        "/v1/tasks",
        "/v1/tasks/oa:marked/timeline",
        "/v1/users/u_1024/bindings",
        f"/v1/notifications/{ids['notification_id']}",
        f"/v1/messages/{ids['message_id']}/explain?user=u_1024",
        "/v1/users/u_1024/story",
        "/v1/users/u_1024/contacts",
        "/v1/conversations?user=u_1024",
        *([] if isinstance(world.hub.search, NoSearch) else ["/v1/search/messages?q=绝密"]),
    ]
    marked = [user for user in users["data"] if user["name"] == MARK]
    return [marked, conversations, *[await world.get(path) for path in paths]]


async def tried(world: World, operation: Operation, token: str, *, user: bool) -> httpx2.Response:
    """One request as somebody who should not get anywhere."""
    query, body = operation.query, operation.body
    if not user and operation.id in FOR_USER_QUERY:
        query = "?user=u_1024"
    if not user and operation.id in FOR_USER:
        query = "?user=u_1024" if body is None else query
        body = None if body is None else {**body, "user": "u_1024"}
    return await world.call(operation.method, operation.path + query, token, json=body)
