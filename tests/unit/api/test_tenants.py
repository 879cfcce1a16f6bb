"""Every route of the description, tried by everybody who should not: a new route without a check fails here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx2
import pytest

from tests.unit.api.harness import World
from tests.unit.api.trespass import (
    MARK,
    OWN_APP,
    OWN_SELF,
    PUBLIC,
    REFUSED,
    Operation,
    first_app,
    nowhere,
    operations,
    state,
    tried,
)


async def _attack(
    world: World, token: str, allowed: set[str], ids: Mapping[str, str], *, user: bool
) -> list[str]:
    wrong: list[str] = []
    # Allowed ones last: they make things in the attacker's own app, under the same ids.
    for operation in sorted(operations(world.app.openapi(), ids), key=lambda one: one.id in allowed):
        if operation.id in PUBLIC:
            continue
        answer = await tried(world, operation, token, user=user)
        speaks = operation.by_user if user else operation.by_key
        may = operation.id in allowed and speaks
        if MARK in answer.text:
            wrong.append(f"{operation.id}: shows what is not the caller's")
        if answer.status_code not in REFUSED and not (may and answer.status_code < 500):
            wrong.append(f"{operation.id}: answered {answer.status_code} {answer.text[:200]}")
        if not speaks and answer.status_code != 403:
            wrong.append(f"{operation.id}: answered {answer.status_code} to the wrong kind of caller")
    return wrong


@pytest.mark.parametrize("choice", [0, 1])
async def test_another_apps_key_gets_nothing(world: World, choice: int) -> None:
    ids = (await first_app(world))[choice]
    before = await state(world, ids)
    assert await _attack(world, world.their_key, OWN_APP, ids, user=False) == []
    assert await state(world, ids) == before


async def test_another_apps_user_gets_nothing_even_under_the_same_id(world: World) -> None:
    choices = await first_app(world)
    await world.users("u_1024", "u_9", key=world.their_key)
    stranger = await world.token("u_1024", world.their_key)
    for ids in choices:
        before = await state(world, ids)
        assert await _attack(world, stranger, OWN_SELF, ids, user=True) == []
        assert await state(world, ids) == before


async def test_another_user_of_the_same_app_gets_nothing(world: World) -> None:
    choices = await first_app(world)
    await world.users("eve")
    eve = await world.token("eve")
    for ids in choices:
        before = await state(world, ids)
        # Eve may write to u_1024: that is chat. It is the one thing here that she may do to others.
        assert await _attack(world, eve, OWN_SELF - {"sendMessage"}, ids, user=True) == []
        assert await state(world, ids) == before


_MAKING = (
    (OWN_APP | OWN_SELF) - {"sendEvent", "checkTasks", "reportConsents", "bindByCode", "replayDeliveries"}
) | {
    "createConversation",
    "putDirectConversation",
    "signOutUser",
    "deleteUser",
    "putContact",
}
"""These change the attacker's own things, and answer otherwise the second time."""


def _told(answer: httpx2.Response, ids: Mapping[str, str]) -> tuple[int, str]:
    """An answer without what differs from one request to the next, and with names in place of the ids."""
    text = answer.text
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>") if len(value) > len("inst-778") else text
    text = re.sub(r"(req|evt|act|ntf|msg|tsk|dlv|acc|whe|key)_[0-9a-f]{32}", r"<\1>", text)
    return answer.status_code, re.sub(
        r'"(instance|created_at|updated_at|[a-z_]*at)":"[^"]*"', r'"\1":"…"', text
    )


async def _differences(
    world: World, token: str, ids: Mapping[str, str], *, user: bool, own: frozenset[str] = frozenset()
) -> list[str]:
    """Which requests answer otherwise about what is somebody else's than about what is not there. `own` are ids that
    the caller may know."""

    def aimed(at: Mapping[str, str]) -> list[Operation]:
        found = operations(world.app.openapi(), at)
        return [
            one for one in found if one.id not in PUBLIC and (one.method == "GET" or one.id not in _MAKING)
        ]

    ghosts = nowhere(ids, own)
    wrong: list[str] = []
    for real, ghost in zip(aimed(ids), aimed(ghosts), strict=True):
        here = _told(await tried(world, real, token, user=user), ids)
        there = _told(await tried(world, ghost, token, user=user), ghosts)
        if here != there:
            wrong.append(f"{real.id}: {here} is not {there}")
    return wrong


async def test_what_is_anothers_is_no_other_than_what_is_not_there(world: World) -> None:
    choices = await first_app(world)
    await world.users("u_1024", "u_9", key=world.their_key)
    await world.users("eve")
    stranger, eve = await world.token("u_1024", world.their_key), await world.token("eve")
    for ids in choices:
        assert await _differences(world, world.their_key, ids, user=False) == []
        assert await _differences(world, stranger, ids, user=True) == []
        own = frozenset({"account_id"})
        assert await _differences(world, eve, ids, user=True, own=own) == []
    await world.get("/v1/me", stranger)
    await world.get("/v1/me", eve)


async def test_without_a_valid_token_everything_is_401(world: World) -> None:
    ids, _ = await first_app(world)
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
    ids, _ = await first_app(world)
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
    ids, _ = await first_app(world)
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
    await first_app(world)
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
