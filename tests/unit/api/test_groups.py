"""Groups over REST: what each role may, what members are told, threads, and who gets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.harness import World, open_world, sqlite_url

CAST = {"own": "owner", "adm": "admin", "mem": "member", "ro": "readonly"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path), groups=True) as opened:
        yield opened


async def a_group(world: World, **fields: Any) -> str:
    """A group with one member of each role, and `low`, a second member."""
    await world.users(*CAST, "low", "eve", "new")
    members = [{"user_id": user, "role": role} for user, role in CAST.items()] + [{"user_id": "low"}]
    return str((await world.post("/v1/conversations", {"title": "群", "members": members, **fields}))["id"])


async def told(world: World, group: str) -> list[str]:
    """The events of a group, in their order."""
    page = await world.get(f"/v1/conversations/{group}/messages")
    return [message["body"]["event"] for message in page["data"] if message["kind"] == "notice"]


def verbs(world: World, group: str) -> dict[str, tuple[str, str, Any]]:
    path = f"/v1/conversations/{group}"
    until = (world.clock() + timedelta(hours=1)).isoformat()
    return {
        "invite": ("POST", f"{path}/members", {"members": [{"user_id": "new"}]}),
        "invite an admin": ("POST", f"{path}/members", {"members": [{"user_id": "new", "role": "admin"}]}),
        "kick a member": ("DELETE", f"{path}/members/low", None),
        "kick an admin": ("DELETE", f"{path}/members/adm", None),
        "kick the owner": ("DELETE", f"{path}/members/own", None),
        "silence a member": ("PUT", f"{path}/members/low/silence", {"until": until}),
        "let a member speak": ("DELETE", f"{path}/members/low/silence", None),
        "silence an admin": ("PUT", f"{path}/members/adm/silence", {"until": until}),
        "silence all": ("PUT", f"{path}/silence", None),
        "let all speak": ("DELETE", f"{path}/silence", None),
        "make an admin": ("PATCH", f"{path}/members/low", {"role": "admin"}),
        "make read-only": ("PATCH", f"{path}/members/low", {"role": "readonly"}),
        "rename": ("PATCH", path, {"title": "新"}),
        "set": ("PATCH", path, {"invite": "members"}),
        "announce": ("PUT", f"{path}/announcement", {"text": "周五"}),
        "transfer": ("PUT", f"{path}/owner", {"user_id": "low"}),
        "dissolve": ("POST", f"{path}/dissolve", None),
        "leave": ("POST", f"{path}/leave", {}),
    }


BY_ADMIN = {
    "invite",
    "kick a member",
    "silence a member",
    "let a member speak",
    "silence all",
    "let all speak",
    "make read-only",
    "rename",
    "announce",
    "leave",
}
BY_OWNER = (BY_ADMIN - {"leave"}) | {
    "invite an admin",
    "kick an admin",
    "silence an admin",
    "make an admin",
    "set",
    "transfer",
    "dissolve",
}
MATRIX = {"own": BY_OWNER, "adm": BY_ADMIN, "mem": {"leave"}, "ro": {"leave"}, "eve": set[str]()}
SELF = {("adm", "kick an admin"): 200, ("own", "kick the owner"): 409}
"""Taking out oneself is leaving."""


@pytest.mark.parametrize("who", MATRIX)
async def test_what_each_role_may(tmp_path: Path, who: str) -> None:
    async with open_world(sqlite_url(tmp_path)) as world:
        token = ""
        for name in verbs(world, "x"):
            group = await a_group(world, invite="admins")
            token = token or await world.token(who)
            method, path, body = verbs(world, group)[name]
            answer = await world.call(method, path, token, json=body)
            allowed = {200, 204} if name in MATRIX[who] else {404} if who == "eve" else {403, 409}
            expected = {SELF[who, name]} if (who, name) in SELF else allowed
            assert answer.status_code in expected, (who, name, answer.text)
            if answer.status_code == 409:
                assert answer.json()["code"] == "owner_must_transfer"
            if answer.status_code == 403:
                assert answer.json()["code"] == "role_too_low"
                state = await world.get(f"/v1/conversations/{group}")
                assert state["version"] == 1


async def test_a_business_system_may_all_of_it(tmp_path: Path) -> None:
    async with open_world(sqlite_url(tmp_path)) as world:
        for name in verbs(world, "x"):
            group = await a_group(world)
            method, path, body = verbs(world, group)[name]
            body = {"user": "low"} if name == "leave" else body
            answer = await world.call(method, path, json=body)
            assert answer.status_code in (200, 204), (name, answer.text)
            theirs = await world.call(method, path, world.their_key, json=body)
            assert theirs.status_code == 404, (name, theirs.text)


async def test_members_invite_where_the_group_says_so(world: World) -> None:
    group = await a_group(world, invite="members")
    path = f"/v1/conversations/{group}/members"
    member, readonly = await world.token("mem"), await world.token("ro")
    asked = {"members": [{"user_id": "new"}]}
    assert (await world.call("POST", path, readonly, json=asked)).status_code == 403
    assert (await world.post(path, asked, member))["member_count"] == 6
    # Inviting those who are in it gives nobody a role.
    asked = {"members": [{"user_id": "ro"}]}
    assert (await world.post(path, asked, member))["version"] == 2
    assert await told(world, group) == ["created", "joined"]


async def test_a_user_who_makes_a_group_owns_it(world: World) -> None:
    await world.users("a", "b")
    token = await world.token("a")
    made = await world.post(
        "/v1/conversations",
        {"title": "自己的", "members": [{"user_id": "b"}], "avatar": "https://x/y.png"},
        token,
    )
    assert (made["member_count"], made["group"]["avatar"], made["group"]["invite"]) == (
        2,
        "https://x/y.png",
        "members",
    )
    shown = await world.get(f"/v1/conversations/{made['id']}", token)
    assert (shown["mine"]["role"], shown["group"]["owner"]) == ("owner", "a")
    crowned = {"members": [{"user_id": "b", "role": "owner"}]}
    answer = await world.call("POST", "/v1/conversations", token, json=crowned)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low")
    two = {"members": [{"user_id": "a", "role": "owner"}, {"user_id": "b", "role": "owner"}]}
    answer = await world.call("POST", "/v1/conversations", json=two)
    assert (answer.status_code, answer.json()["code"]) == (409, "one_owner")


async def test_an_open_group_is_joined_and_a_closed_one_is_not_there(world: World) -> None:
    closed, opened = await a_group(world), await a_group(world, open=True)
    token = await world.token("eve")
    answer = await world.call("POST", f"/v1/conversations/{closed}/join", token, json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")
    for _ in range(2):
        joined = await world.post(f"/v1/conversations/{opened}/join", {}, token)
        assert joined["member_count"] == 6
    assert await told(world, opened) == ["created", "joined"]


async def test_silence_over_rest_says_until_when(world: World) -> None:
    group = await a_group(world)
    path = f"/v1/conversations/{group}"
    until = (world.clock() + timedelta(hours=1)).replace(microsecond=0)
    await world.call("PUT", f"{path}/members/mem/silence", json={"until": until.isoformat()})
    token = await world.token("mem")
    answer = await world.call("POST", f"{path}/messages", token, json={"body": {"text": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (403, "member_silenced")
    assert until.isoformat() in answer.json()["detail"]
    members = (await world.call("GET", f"{path}/members")).json()["data"]
    silent = {one["user_id"]: one["silenced_until"] for one in members}
    assert datetime.fromisoformat(silent["mem"]) == until
    assert silent["low"] is None
    assert not any("muted" in one for one in members), "who mutes a group is nobody else's business"
    await world.call("DELETE", f"{path}/members/mem/silence")
    answer = await world.call("PUT", f"{path}/members/mem/silence", json={"until": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["code"]) == (422, "expired_already")
    members = (await world.call("GET", f"{path}/members")).json()["data"]
    assert not any(one["silenced_until"] for one in members)
    answer = await world.call("POST", f"{path}/messages", token, json={"body": {"text": "x"}})
    assert answer.status_code == 201
    await world.call("PUT", f"{path}/silence")
    answer = await world.call("POST", f"{path}/messages", token, json={"body": {"text": "x"}})
    assert answer.json()["code"] == "group_silenced"
    await world.post(f"{path}/messages", {"body": {"text": "x"}}, await world.token("adm"))


async def test_an_announcement_is_for_members(world: World) -> None:
    group = await a_group(world)
    path = f"/v1/conversations/{group}/announcement"
    nothing = {"text": None, "by": None, "at": None}
    assert await world.get(path, await world.token("ro")) == nothing
    await world.call("PUT", path, await world.token("adm"), json={"text": "周五 📌"})
    shown = await world.get(path, await world.token("ro"))
    assert (shown["text"], shown["by"]) == ("周五 📌", "adm")
    assert (await world.call("GET", path, await world.token("eve"))).status_code == 404
    assert (await world.call("GET", path, world.their_key)).status_code == 404
    await world.call("PUT", path, json={"text": ""})
    assert await world.get(path) == nothing


async def test_a_dissolved_group_is_read_and_left(world: World) -> None:
    group = await a_group(world)
    path = f"/v1/conversations/{group}"
    await world.post(f"{path}/messages", {"body": {"text": "bleibt"}, "sender": "mem"})
    shown = await world.post(f"{path}/dissolve", None, await world.token("own"))
    assert shown["group"]["dissolved_at"] is not None
    token = await world.token("mem")
    assert "bleibt" in [m["body"].get("text") for m in (await world.get(f"{path}/messages", token))["data"]]
    for who in (token, world.key):
        answer = await world.call("POST", f"{path}/messages", who, json={"body": {"text": "x"}})
        assert (answer.status_code, answer.json()["code"]) == (409, "conversation_dissolved")
    assert (await world.call("POST", f"{path}/leave", await world.token("own"))).status_code == 204
    assert (await told(world, group))[-3:] == ["dissolved", "left", "owner"]


async def test_a_repeat_with_the_same_key_changes_nothing_more(world: World) -> None:
    group = await a_group(world)
    asked: dict[str, Any] = {"members": [{"user_id": "new"}]}
    headers = {"Idempotency-Key": "once"}
    one = await world.post(f"/v1/conversations/{group}/members", asked, headers=headers)
    two = await world.post(f"/v1/conversations/{group}/members", asked, headers=headers)
    assert (one["version"], one) == (2, two)
    assert await told(world, group) == ["created", "joined"]


async def test_the_thread_of_a_subject(world: World) -> None:
    await world.users("a", "b")
    asked = {"subject": "post:1", "title": "评论"}
    one = await world.call("PUT", "/v1/threads", json=asked)
    two = await world.call("PUT", "/v1/threads", json={**asked, "title": "anders"})
    assert (one.status_code, two.status_code) == (201, 200)
    assert one.json() == two.json()
    thread = one.json()
    assert (thread["kind"], thread["group"]["subject"], thread["title"]) == ("thread", "post:1", "评论")
    token = await world.token("a")
    assert (await world.call("PUT", "/v1/threads", token, json=asked)).status_code == 403
    assert (await world.get("/v1/threads?subject=post:1", token))["id"] == thread["id"]
    path = f"/v1/conversations/{thread['id']}"
    sent = await world.post(f"{path}/messages", {"body": {"text": "erster"}}, token)
    assert sent["conversation"] == thread["id"]
    reader = await world.token("b")
    assert "erster" in [m["body"].get("text") for m in (await world.get(f"{path}/messages", reader))["data"]]
    assert (await world.get("/v1/threads?subject=post:1"))["member_count"] == 1
    await world.post(f"{path}/join", {}, reader)
    await world.post(f"{path}/leave", {}, reader)
    assert (await world.get("/v1/threads?subject=post:1"))["member_count"] == 1


async def test_another_app_has_its_own_threads(world: World) -> None:
    await world.users("a", "b")
    await world.users("a", "b", key=world.their_key)
    mine = (await world.call("PUT", "/v1/threads", json={"subject": "post:1"})).json()["id"]
    theirs = (await world.call("PUT", "/v1/threads", world.their_key, json={"subject": "post:1"})).json()[
        "id"
    ]
    assert mine != theirs
    stranger = await world.token("a", world.their_key)
    path = f"/v1/conversations/{mine}"
    for method, aimed, body in (
        ("GET", f"{path}/messages", None),
        ("POST", f"{path}/messages", {"body": {"text": "x"}}),
        ("POST", f"{path}/join", {}),
        ("GET", f"{path}/announcement", None),
        ("POST", f"{path}/dissolve", None),
    ):
        for who in (stranger, world.their_key):
            answer = await world.call(method, aimed, who, json=body)
            assert answer.status_code in (404, 422), (method, aimed, answer.text)


async def test_a_closed_thread_is_found_by_its_members_only(world: World) -> None:
    await world.users("a", "b")
    asked = {"subject": "intern", "open": False}
    thread = (await world.call("PUT", "/v1/threads", json=asked)).json()["id"]
    await world.post(f"/v1/conversations/{thread}/members", {"members": [{"user_id": "a"}]})
    assert (await world.get("/v1/threads?subject=intern", await world.token("a")))["id"] == thread
    answer = await world.call("GET", "/v1/threads?subject=intern", await world.token("b"))
    assert (answer.status_code, answer.json()["code"]) == (404, "thread_not_found")
