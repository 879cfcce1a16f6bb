"""Requests that somebody hostile would send, over every route of the description where that is possible."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from hub.core.approvals_opened import MOST
from hub.store.directory_base import place
from tests.unit.api.harness import World
from tests.unit.api.trespass import MARK, Operation, first_app, operations

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

DEEP = 100_000
NAMES = {
    "metadata",
    "data",
    "draft",
    "preferences",
    "body",
    "fields",
    "texts",
    "variables",
    "answers",
    "settings",
    "mute",
}
"""Members whose own members are the caller's business."""
FORGED = [
    place(2**70),
    place(2**40),
    place(-1),
    place(0.5),  # type: ignore[arg-type]
    place("\x00"),
    place("x" * 500),
    "WyJcdWQ4M2MiXQ",
    place("' OR 1=1 --"),
    place(2**62, "x"),
    place(2**62, 2**62, "x", 2**62),
    place(-(2**63)),
    place(),
    "null",
    "W10",
    "=",
    "a" * 513,
]
"""Places that no list has handed out."""


def _token(world: World, operation: Operation, users: str) -> str:
    return world.admin if operation.by_key else users


def _objects(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the objects of a body are, but for those that are the caller's own business."""
    if isinstance(body, dict):
        yield at
        for name, value in body.items():
            if name not in NAMES:
                yield from _objects(value, (*at, name))
    elif isinstance(body, list):
        for index, value in enumerate(body):
            yield from _objects(value, (*at, index))


def _with(body: Any, at: tuple[Any, ...], member: Mapping[str, Any]) -> Any:
    changed = json.loads(json.dumps(body))
    here = changed
    for step in at:
        here = here[step]
    here.update(member)
    return changed


async def test_no_object_of_any_body_takes_a_member_that_it_does_not_know(world: World) -> None:
    ids, _ = await first_app(world)
    user = await world.token("u_1024")
    tried = 0
    for operation in operations(world.app.openapi(), ids):
        if operation.body is None:
            continue
        for at in _objects(operation.body):
            # The last are columns: what would be assigned if a body were written as it came.
            for name in ("zz_unknown", "app", "app_id", "id_", "created_at"):
                body = _with(operation.body, at, {name: "bank"})
                path = operation.path + operation.query
                answer = await world.call(operation.method, path, _token(world, operation, user), json=body)
                # The items of a batch are answered one by one.
                codes = {answer.json().get("code")} | {
                    one["problem"]["code"] for one in answer.json().get("data", []) if one.get("problem")
                }
                assert "request_invalid" in codes, (operation.id, at, name, answer.text)
                tried += 1
    assert tried > 200


async def test_a_body_that_is_too_deep_or_of_another_shape_is_refused_everywhere(world: World) -> None:
    ids, _ = await first_app(world)
    user = await world.token("u_1024")
    headers = {"Content-Type": "application/json"}
    deep = b'{"a":' * DEEP + b"1" + b"}" * DEEP
    within = b'{"metadata":' + b"[" * DEEP + b"]" * DEEP + b"}"
    for operation in operations(world.app.openapi(), ids):
        if operation.body is None:
            continue
        for content in (deep, within, b"[]", b"null", b"7", b'"x"', b"\xff\xfe", b"", b'{"a":NaN}', b"{}{}"):
            answer = await world.call(
                operation.method,
                operation.path + operation.query,
                _token(world, operation, user),
                content=content,
                headers=headers,
            )
            allowed = (400, 422) if content or operation.needs_body else (200, 204, 403, 404, 409, 422)
            assert answer.status_code in allowed, (operation.id, content[:20], answer.text[:300])


async def test_ids_of_any_shape_are_no_servers_error(world: World) -> None:
    ids, _ = await first_app(world)
    user = await world.token("u_1024")
    odd = [
        "%00",
        "..%2f..%2fetc",
        "a" * 3_000,
        "🎉",
        "%ff%fe",
        "' OR 1=1 --",
        "{{ x }}",
        "%0d%0aX-Evil: 1",
        "-1",
    ]
    for operation in operations(world.app.openapi(), {name: f"<{name}>" for name in ids}):
        for text in odd:
            path = operation.path
            for name in ids:
                path = path.replace(
                    quote(f"<{name}>", safe=""), text if "%" in text else quote(text, safe="")
                )
            token = _token(world, operation, user)
            answer = await world.call(operation.method, path + operation.query, token, json=operation.body)
            assert answer.status_code < 500, (operation.id, text, answer.text)
            assert "x-evil" not in answer.headers


def _lists(world: World, ids: Mapping[str, str]) -> Iterator[Operation]:
    described = {
        method["operationId"]
        for methods in world.app.openapi()["paths"].values()
        for method in methods.values()
        if any(one["name"] == "after" for one in method.get("parameters", []))
    }
    return (one for one in operations(world.app.openapi(), ids) if one.id in described)


async def test_places_of_other_lists_and_forged_ones_show_nothing_and_break_nothing(world: World) -> None:
    ids, _ = await first_app(world)
    await world.users("u_1024", "u_9", key=world.their_key)
    user, stranger = await world.token("u_1024"), await world.token("u_1024", world.their_key)
    found: set[str] = set()
    for operation in _lists(world, ids):
        joint = "&" if operation.query else "?"
        path = f"{operation.path}{operation.query}{joint}limit=1"
        answer = await world.call(operation.method, path, _token(world, operation, user))
        assert answer.status_code in (200, 422), (operation.id, answer.text)
        if answer.status_code == 200 and isinstance(after := answer.json()["page"]["next"], str):
            found.add(after)
    assert len(found) > 5
    for operation in _lists(world, ids):
        for after in (*found, *FORGED):
            joint = "&" if operation.query else "?"
            path = f"{operation.path}{operation.query}{joint}after={quote(after, safe='')}"
            mine = await world.call(operation.method, path, _token(world, operation, user))
            assert mine.status_code in (200, 422), (operation.id, after, mine.text)
            for token in (world.their_key, stranger):
                theirs = await world.call(operation.method, path, token)
                assert theirs.status_code < 500, (operation.id, after, theirs.text)
                assert MARK not in theirs.text, (operation.id, after)


async def test_data_are_said_as_they_are_and_are_no_template_of_their_own(world: World) -> None:
    await world.users("u_1")
    texts = {"en": {"title": "{{ title }}", "text": "{{ title }} / {{ who.name }}"}}
    template = {
        "texts": texts,
        "default_locale": "en",
        "variables": {"title": "text", "who.name": "text"},
    }
    assert (await world.call("PUT", "/v1/templates/said", json=template)).status_code == 201
    hostile = [
        "{{ hub.user_id }}",
        "{{ who.name }}",
        "{{{{ title }}}}",
        "{{",
        "}}",
        "{% raw %}",
        "${7*7}",
        "<b>&amp;",
    ]
    for text in hostile:
        data = {"title": text, "who": {"name": "Ann"}}
        body = {"to": [{"user_id": "u_1"}], "template": {"key": "said"}, "data": data}
        await world.post("/v1/notifications", body)
    mine = await world.token("u_1")
    (inbox,) = (await world.get("/v1/conversations", mine))["data"]
    told = (await world.get(f"/v1/conversations/{inbox['id']}/messages", mine))["data"]
    said = {message["seq"]: message["body"] for message in told}
    assert [(said[seq]["title"], said[seq]["text"]) for seq in sorted(said)] == [
        (text, f"{text} / Ann") for text in hostile
    ]


@pytest.mark.parametrize(
    "web",
    [
        "https://",
        "https:///path",
        "https://[",
        "https://[::1",
        "https://oa.example.com:port/",
        "https://oa.example.com\\@evil.example/",
        "https://oa.example.com@evil.example/",
        "https://oa.example.com/a b",
        "https://oa.example.com/\r\nSet-Cookie: a=b",
        "//oa.example.com/",
        "HTTPS:oa.example.com",
        "data:text/html,x",
    ],
)
async def test_a_tasks_link_is_an_address_that_a_browser_reads_as_it_looks(world: World, web: str) -> None:
    task = {"instance": {"id": "i"}, "assignees": ["u_1"], "version": 1, "link": {"web": web}}
    answer = await world.call("PUT", "/v1/tasks/t", json=task)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text
    assert answer.json()["errors"][0]["pointer"] == "/link/web"


async def test_links_that_are_followed_again_and_again_do_not_fill_the_story(world: World) -> None:
    task = {
        "instance": {"id": "i"},
        "assignees": ["u_1"],
        "version": 1,
        "link": {"web": "https://oa.example.com/任务?a=b"},
    }
    await world.call("PUT", "/v1/tasks/t", json=task)
    path = "/t/" + (await world.post("/v1/tasks/t/links", {"user_id": "u_1"}))["url"].rpartition("/")[2]
    for number in range(30):
        answer = await world.call("GET", f"{path}?from=made_up_{number}", "")
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("https://oa.example.com/")
        assert answer.headers["location"].isascii()
    story = (await world.get("/v1/tasks/t/timeline"))["data"]
    assert len([one for one in story if one["event"] == "opened"]) == MOST


async def test_a_user_does_not_act_hand_on_or_take_back_for_another(world: World) -> None:
    task = {
        "instance": {"id": "i", "applicant": "u_9"},
        "assignees": ["u_1", "u_2"],
        "cc": ["u_3"],
        "actions": ["approve", "transfer"],
        "version": 1,
    }
    await world.call("PUT", "/v1/tasks/t", json=task)
    before = await world.get("/v1/tasks/t/timeline")
    tries = [
        ("u_1", "actions", {"action_id": "approve", "user_id": "u_2"}, 403),
        ("u_3", "actions", {"action_id": "approve", "user_id": "u_1"}, 403),
        ("u_3", "actions", {"action_id": "approve"}, 404),
        ("u_9", "actions", {"action_id": "approve"}, 404),
        ("u_1", "transfer", {"from": "u_2", "to": "u_9"}, 403),
        ("u_3", "transfer", {"to": "u_9"}, 404),
        ("u_1", "withdraw", {}, 403),
        ("u_3", "withdraw", {}, 403),
        ("u_1", "cc", {"users": ["u_9"]}, 403),
        ("u_1", "links", {}, 403),
        ("u_1", "actions/act_1/result", {"result": "applied"}, 403),
    ]
    for user, what, body, status in tries:
        answer = await world.call("POST", f"/v1/tasks/t/{what}", await world.token(user), json=body)
        assert answer.status_code == status, (user, what, answer.text)
    assert await world.get("/v1/tasks/t/timeline") == before


async def test_a_webhook_hears_nothing_of_another_app(world: World) -> None:
    ids, _ = await first_app(world)
    await world.users("u_1", key=world.their_key)
    theirs = await world.post("/v1/webhooks", {"url": "https://evil.example/hook"}, world.their_key)
    replayed = await world.post(
        f"/v1/webhooks/{theirs['id']}/replay", {"events": [ids["event_id"]]}, world.their_key
    )
    assert replayed == {"replayed": 0}
    told = {
        "to": [{"user_id": "u_1"}],
        "content": {"title": "t"},
        "callback": {"endpoint_id": ids["webhook_id"]},
    }
    answer = await world.call("POST", "/v1/notifications", world.their_key, json=told)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_unknown")
    task = {
        "instance": {"id": "i"},
        "assignees": ["u_1"],
        "version": 1,
        "callback": {"endpoint_id": ids["webhook_id"]},
    }
    put = await world.call("PUT", "/v1/tasks/t", world.their_key, json=task)
    if put.status_code == 201:
        acting = {"action_id": "approve", "user_id": "u_1"}
        await world.call("POST", "/v1/tasks/t/actions", world.their_key, json=acting)
    assert [one for one in world.hub.hooks.asked if one.app != "shop"] == []
    heard = await world.get(f"/v1/webhooks/{ids['webhook_id']}/deliveries")
    events = [await world.get(f"/v1/webhooks/events/{one['event']}") for one in heard["data"]]
    assert all(event["type"] != "task.decided" for event in events)


@pytest.mark.parametrize("description", ["a\r\nX-Evil: 1", "a\x00", "a\x1b[2J", "\u2028", "x" * 10_000])
async def test_what_a_webhook_is_called_is_one_line_of_text(world: World, description: str) -> None:
    hook = await world.post("/v1/webhooks", {"url": "https://oa.example.com/hook"})
    body = {"url": "https://oa.example.com/hook", "description": description}
    made = await world.call("POST", "/v1/webhooks", json=body)
    changed = await world.call("PATCH", f"/v1/webhooks/{hook['id']}", json={"description": description})
    assert (made.status_code, changed.status_code) == (422, 422)
