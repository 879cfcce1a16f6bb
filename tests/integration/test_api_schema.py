"""The API keeps what its OpenAPI description says, whatever is sent to it: generated requests over a real socket."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hub.api import new_app
from hub.core.webhooks import WebhookEvent, WebhookEventId
from hub.settings import Settings
from tests.unit.api.harness import MINE, World, new_id, open_world, sqlite_url

EXAMPLES = int(os.environ.get("HUB_SCHEMA_EXAMPLES", "20"))
"""Per operation. 200 make more than ten thousand in all."""
DATABASE = os.environ.get("HUB_SCHEMA_DATABASE", "sqlite")
"""Or postgres, or mysql, which are stricter about texts."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

LEFT_ALONE = {"signOutUser", "removeMember", "deleteUser"}
"""Without a user and a group there would be little left for the others."""
ENDING = {
    "archiveTemplate",
    "cancelNotification",
    "deleteAccount",
    "deleteBinding",
    "deleteWebhook",
    "recallNotification",
    "withdrawTask",
}
"""These take away, and are given what nobody else needs."""


@dataclass
class Live:
    """A served world, and ids that exist in it."""

    url: str = ""
    admin: str = ""
    user: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    spare: dict[str, str] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    calls: int = 0


async def _serve(live: Live, url: str) -> None:
    # Thousands of requests, of which some wait for news that never comes.
    async with open_world(url, poll_wait=timedelta(seconds=0.1)) as world:
        server = uvicorn.Server(
            uvicorn.Config(world.app, port=0, log_level="warning", lifespan="off", ws="none")
        )
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        live.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        live.admin = world.admin
        await world.users("王小明", "bob")
        live.user = await world.token("bob")
        live.ids = await _furnish(world)
        live.spare = await _furnish(world, spare=True)
        live.ready.set()
        while not live.over.is_set():
            await asyncio.sleep(0.05)
        server.should_exit = True
        await task


async def _furnish(world: World, *, spare: bool = False) -> dict[str, str]:
    """Something of every kind; `spare` ones are there to be taken away."""
    number = "2" if spare else "1"
    group = await world.group("王小明", "bob")
    body = {
        "to": [{"user_id": "bob"}],
        "content": {"title": "你好 🎉"},
        "route": {"steps": [{"channel": "wechat_mp"}]},
    }
    notification = await world.post("/v1/notifications", body)
    texts = {"zh-CN": {"title": "待办:{{ title }}"}, "en": {"title": "To do: {{ title }}"}}
    template = {"texts": texts, "default_locale": "zh-CN", "variables": {"title": "text"}}
    await world.call("PUT", f"/v1/templates/todo-{number}", json=template)
    deliveries = await world.get("/v1/deliveries")
    message = await world.post(f"/v1/conversations/{group}/messages", {"body": "大家好"})
    hook = await world.post("/v1/webhooks", {"url": "https://example.com/hook"})
    event = WebhookEvent(WebhookEventId(f"evt_{number}"), MINE, "x.y", world.clock(), '{"题":1}')
    await world.hub.webhooks.put_events([event])
    options = {"channel": "miniprogram", "name": "号", "appid": f"wx{number:0>16}", "secret": "0" * 32}
    account = await world.post("/v1/wechat/accounts", {**options, "options": {"grants_from": "client"}})
    known = {"bindings": [{"user_id": "bob", "openid": f"o_{number}"}]}
    await world.post(f"/v1/wechat/accounts/{account['id']}/bindings/import", known)
    task = {
        "instance": {"id": f"inst-{number}", "title": "报销 ✈️", "applicant": "bob"},
        "node": {"sign_mode": "all"},
        "assignees": ["bob", "王小明"],
        "actions": ["approve", "reject", "transfer"],
        "version": 1,
    }
    await world.call("PUT", f"/v1/tasks/oa:{number}", json=task)
    pressed = {"action_id": "approve", "user_id": "王小明"}
    acted = await world.post(f"/v1/tasks/oa:{number}/actions", pressed)
    return {
        "webhook_id": hook["id"],
        "event_id": event.id,
        "conversation_id": group,
        "notification_id": notification["id"],
        "message_id": message["id"],
        "delivery_id": deliveries["data"][0]["id"],
        "user_id": "王小明",
        "app_id": "shop",
        "account_id": account["id"],
        "task_id": f"oa:{number}",
        "instance_id": f"inst-{number}",
        "action": acted["action"]["id"],
        "name": "urgent",
        "key": f"todo-{number}",
        "version": "1",
    }


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server for all operations: they may disturb each other, and must not mind."""
    here = Live()
    if DATABASE == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("schema"))
    else:
        server = {"postgres": "postgres_server", "mysql": "mariadb_server"}[DATABASE]
        url = request.getfixturevalue(server).fresh_database()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(here, url)))
    thread.start()
    try:
        while not here.ready.wait(0.1):
            assert thread.is_alive(), "the API did not start"
        yield here
    finally:
        here.over.set()
        thread.join(30)


schema = schemathesis.openapi.from_dict(deepcopy(new_app(Settings(), new_id=new_id).openapi()))


@pytest.mark.timeout(900)
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_is_described(case: Any, live: Live) -> None:
    live.calls += 1
    operation = case.operation.definition.raw
    by_key = any("apiKey" in scheme for scheme in operation["security"])
    case.headers = case.headers or {}
    if operation["security"]:
        case.headers["Authorization"] = f"Bearer {live.admin if by_key else live.user}"
    # Every other request is about something that exists: a made-up id would be 404 and show little.
    if live.calls % 2 and operation["operationId"] not in LEFT_ALONE:
        ids = live.spare if operation["operationId"] in ENDING else live.ids
        for name in case.path_parameters or {}:
            case.path_parameters[name] = ids.get(name, case.path_parameters[name])
        for given in (case.query, case.body):
            if isinstance(given, dict):
                given.update({name: value for name, value in _named(live).items() if name in given})
    case.call_and_validate(base_url=live.url, checks=CHECKS, timeout=20)


def _named(live: Live) -> dict[str, str]:
    """Members of bodies and queries that name something, and what there is."""
    return {
        "user": "王小明",
        "user_id": "bob",
        "assignee": "bob",
        "account": live.ids["account_id"],
        "notification": live.ids["notification_id"],
        "instance": live.ids["instance_id"],
    }
