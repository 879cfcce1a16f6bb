"""Contacts, blocking, what a user keeps of a conversation, and the list: over REST on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, text

from hub.core.message import SYSTEM, ConversationId, UserKey
from hub.core.records import PageRequest
from hub.store.schema import metadata
from hub.store.sql_engine import Dialect
from tests.unit.api.harness import MINE, World, open_world


@pytest.fixture
async def world(storage: tuple[str, dict[str, Any]]) -> AsyncIterator[World]:
    """The API on an empty database of each kind."""
    async with open_world(storage[0], **storage[1]) as opened:
        await opened.users("ann", "bob", "eve")
        yield opened


async def _list(world: World, token: str) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in (await world.get("/v1/conversations", token))["data"]}


async def _say(world: World, token: str, to: dict[str, str], words: str, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = await world.post(
        "/v1/messages", {"to": to, "body": {"text": words}, **more}, token
    )
    return said


async def test_contacts_are_kept_found_and_forgotten(world: World) -> None:
    ann = await world.token("ann")
    await world.users("stranger")
    await world.group("ann", "bob", "eve")
    for unknown in ("stranger", "nobody"):
        answer = await world.call("PUT", f"/v1/me/contacts/{unknown}", ann, json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    await world.call("PUT", "/v1/users/bob", json={"name": "王小明"})
    made = await world.call(
        "PUT",
        "/v1/me/contacts/bob",
        ann,
        json={"kind": "customer", "alias": "ＶＩＰ王总", "tags": ["华东", "vip"]},
    )
    assert made.status_code == 201
    batch = {"contacts": [{"user_id": "eve", "kind": "family"}, {"user_id": "bob", "starred": True}]}
    told = (await world.post("/v1/me/contacts/batch", batch, ann))["data"]
    assert [(one["user_id"], one["created"]) for one in told] == [("eve", True), ("bob", False)]
    assert (told[1]["alias"], told[1]["starred"]) == ("ＶＩＰ王总", True)
    for query, found in {
        "": ["bob", "eve"],
        "?kind=family": ["eve"],
        "?tag=vip": ["bob"],
        "?tag=vi": [],
        "?q=vip": ["bob"],
        "?q=小明": ["bob"],
        "?q=%25": [],
        "?starred=false": ["eve"],
        "?limit=1": ["bob"],
    }.items():
        page = await world.get(f"/v1/me/contacts{query}", ann)
        assert [one["user_id"] for one in page["data"]] == found, query
    assert (await world.get("/v1/users/ann/contacts/bob"))["kind"] == "customer"
    assert (await world.call("PUT", "/v1/me/contacts/ann", ann, json={})).json()["code"] == "contact_self"
    assert (await world.call("DELETE", "/v1/me/contacts/eve", ann)).status_code == 204
    assert (await world.call("DELETE", "/v1/me/contacts/eve", ann)).json()["code"] == "contact_not_found"
    assert (await world.get("/v1/me/contacts", await world.token("bob")))["data"] == []
    owners = {user for users, _ in world.hub.frames for user in users}
    assert len(owners) == 1


@pytest.mark.parametrize("spoken", [False, True])
async def test_who_is_blocked_reaches_nobody_directly_and_everybody_in_groups(
    world: World, spoken: bool
) -> None:
    ann, bob = await world.token("ann"), await world.token("bob")
    group = await world.group("ann", "bob")
    if spoken:
        await _say(world, bob, {"user": "ann"}, "先")
    await world.call("PUT", "/v1/me/contacts/bob", ann, json={"blocked": True})
    refused = await world.call("POST", "/v1/messages", bob, json={"to": {"user": "ann"}, "body": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "blocked")
    assert "block" not in refused.json()["detail"]
    await _say(world, bob, {"conversation": group}, "群里照常")
    told = await world.get("/v1/presence?user=ann", bob)
    assert told["data"] == []
    assert len((await world.get("/v1/presence?user=bob", ann))["data"]) == 1
    keys = await world.hub.directory.user_keys(MINE, ["ann", "bob"])
    if not spoken:
        kinds = {one["kind"] for one in (await _list(world, bob)).values()}
        assert kinds == {"group"}
    else:
        (direct,) = [one for one in (await _list(world, bob)).values() if one["kind"] == "direct"]
        typing = await world.hub.people.members(ConversationId(direct["id"]), keys["bob"])
        assert typing == [keys["bob"]]
    await world.call("PATCH", "/v1/me/contacts/bob", ann, json={"blocked": False})
    await _say(world, bob, {"user": "ann"}, "又好了")


async def test_the_list_says_what_a_client_shows(world: World) -> None:
    ann, bob = await world.token("ann"), await world.token("bob")
    group = await world.group("ann", "bob")
    quiet = await world.group("ann", "bob", title="安静")
    for number in range(3):
        await _say(world, bob, {"conversation": group}, f"第 {number} 句")
    direct = (await _say(world, bob, {"user": "ann"}, "在吗"))["conversation"]
    listed = (await world.get("/v1/conversations", ann))["data"]
    assert [one["id"] for one in listed] == [direct, group, quiet]
    assert [one["mine"]["unread"] for one in listed] == [1, 3, 0]
    assert listed[0]["people"] == ["ann", "bob"]
    draft = {"text": "我想说", "at": [1, 2]}
    changed = await world.call(
        "PATCH", f"/v1/conversations/{quiet}/me", ann, json={"pinned": True, "draft": draft, "nickname": "静"}
    )
    assert changed.json()["rev"] == 1
    keys = await world.hub.directory.user_keys(MINE, ["ann"])
    assert world.hub.frames[-1] == ([keys["ann"]], changed.json())
    listed = (await world.get("/v1/conversations", ann))["data"]
    assert [one["id"] for one in listed] == [quiet, direct, group]
    assert (listed[0]["mine"]["draft"], listed[0]["mine"]["nickname"]) == (draft, "静")
    assert (await _list(world, bob))[quiet]["mine"]["draft"] is None
    await world.call("PATCH", f"/v1/conversations/{group}/me", ann, json={"cleared": True})
    mine = (await _list(world, ann))[group]
    assert (mine["last_message"], mine["mine"]["unread"]) == (None, 0)
    assert (await world.get(f"/v1/conversations/{group}/messages", ann))["data"] == []
    pulled = (await world.get("/v1/queue", ann))["data"]
    said = [
        one["message"]["conversation"]
        for one in pulled
        if one["message"] and not one["message"].get("control")
    ]
    assert direct in said
    assert "第 0 句" not in str(pulled)
    assert (await _list(world, bob))[group]["last_message"] is not None
    pages = [await world.get("/v1/conversations?limit=1", ann)]
    while (after := pages[-1]["page"]["next"]) is not None:
        pages.append(await world.get(f"/v1/conversations?limit=1&after={after}", ann))
    assert [one["id"] for page in pages for one in page["data"]] == [quiet, direct, group]


async def test_a_mute_ends_by_itself_and_a_draft_is_bounded(world: World) -> None:
    ann = await world.token("ann")
    group = await world.group("ann", "bob")
    path = f"/v1/conversations/{group}/me"
    until = (world.clock() + timedelta(minutes=20)).isoformat()
    await world.call("PATCH", path, ann, json={"muted": True, "muted_until": until})
    assert (await _list(world, ann))[group]["mine"]["muted"]
    world.clock.shift = timedelta(minutes=30)
    assert not (await _list(world, ann))[group]["mine"]["muted"]
    for wrong in ({"draft": "x" * 9_000}, {"muted_until": until}, {"nickname": "x" * 65}):
        assert (await world.call("PATCH", path, ann, json=wrong)).status_code == 422
    eve = await world.token("eve")
    assert (await world.call("PATCH", path, eve, json={"pinned": True})).status_code == 404


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def _fill(world: World, user: UserKey, other: UserKey, *, conversations: int, messages: int) -> None:
    tables = metadata.tables
    now = world.clock()
    made = [f"cnv_{number:05}" for number in range(conversations)]
    base = {"app_id": MINE, "kind": "group", "created_at": now, "member_count": 2, "title": ""}
    base |= {"fanout": "write", "version": 1, "metadata": "{}"}
    async with world.database.writing() as connection:
        await connection.execute(
            insert(tables["conversation"]),
            [
                {
                    **base,
                    "id": id_,
                    "member_count": 2,
                    "title": "",
                    "fanout": "write",
                    "version": 1,
                    "metadata": "{}",
                }
                for id_ in made
            ],
        )
        await connection.execute(
            insert(tables["member"]),
            [
                {"conversation_id": id_, "user_id": who, "role": "member", "joined_at": now}
                for id_ in made
                for who in (user, other)
            ],
        )
        rows = [
            {
                "id": f"msg_{id_}_{seq:06}",
                "app_id": MINE,
                "conversation_id": id_,
                "seq": seq,
                "sender_id": SYSTEM if seq % 2 else other,
                "kind": "text",
                "body": '{"text":"x"}',
                "created_at": now + timedelta(milliseconds=seq),
            }
            for id_ in made
            for seq in range(1, messages + 1)
        ]
        for start in range(0, len(rows), 5_000):
            await connection.execute(insert(tables["message"]), rows[start : start + 5_000])


@pytest.fixture
async def in_sql(database_url: str) -> AsyncIterator[World]:
    """The same where messages are rows."""
    async with open_world(database_url) as opened:
        await opened.users("ann", "bob", "eve")
        yield opened


async def test_a_page_costs_the_same_statements_and_no_scan(in_sql: World) -> None:
    world = in_sql
    keys = await world.hub.directory.user_keys(MINE, ["ann", "bob"])
    ann, bob = keys["ann"], keys["bob"]
    async with world.database.reading() as connection:
        engine = connection.sync_connection.engine if connection.sync_connection else None
    assert engine is not None
    counts: list[int] = []
    last: list[tuple[str, Any]] = []
    await _fill(world, ann, bob, conversations=60, messages=5)
    await world.hub.directory.conversations_of(MINE, ann, PageRequest(1))  # a connection may introduce itself
    for limit in (1, 50):
        with _statements(engine) as seen:
            page = await world.hub.directory.conversations_of(MINE, ann, PageRequest(limit))
        assert len(page.items) == limit
        counts.append(len(seen))
        last = seen
    assert counts[0] == counts[1] <= 8
    if world.database.dialect is not Dialect.SQLITE:
        return
    async with world.database.reading() as connection:
        for statement, parameters in last:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [str(row.detail) for row in plan]
            scans = [step for step in steps if step.startswith("SCAN") and not _harmless(step)]
            assert scans == [], statement


def _harmless(step: str) -> bool:
    """The list that was given as a parameter, and what was made on the way."""
    return any(name in step for name in ("json_each", "listed", "own", "newer", "CONSTANT"))


async def test_only_the_newest_messages_are_ever_looked_at(in_sql: World) -> None:
    """The counts of a conversation stop at the window, whatever lies below it."""
    world = in_sql
    keys = await world.hub.directory.user_keys(MINE, ["ann", "bob"])
    await _fill(world, keys["ann"], keys["bob"], conversations=1, messages=450)
    page = await world.hub.directory.conversations_of(MINE, keys["ann"], PageRequest(10))
    (view,) = page.items
    assert view.mine is not None
    assert view.mine.unread == 200
    if world.database.dialect is Dialect.SQLITE:
        async with world.database.writing() as connection:
            await connection.execute(text("UPDATE message SET control = 1 WHERE seq > 230"))
        page = await world.hub.directory.conversations_of(MINE, keys["ann"], PageRequest(10))
        assert page.items[0].last is None


async def test_the_inbox_has_its_place_in_the_list_whatever_the_pages(world: World) -> None:
    ann = await world.token("ann")
    rooms = [await world.group("ann", "bob", title=f"{number}") for number in range(5)]
    await world.post("/v1/notifications", {"to": [{"user_id": "ann"}], "content": {"title": "审批"}})
    (inbox,) = [id_ for id_, one in (await _list(world, ann)).items() if one["kind"] == "inbox"]

    async def pin(id_: str, pinned: bool) -> None:
        await world.call("PATCH", f"/v1/conversations/{id_}/me", ann, json={"pinned": pinned})

    async def listed(limit: int) -> list[str]:
        found: list[str] = []
        path = f"/v1/conversations?limit={limit}"
        page = await world.get(path, ann)
        while True:
            found += [one["id"] for one in page["data"]]
            if page["page"]["next"] is None:
                return found
            page = await world.get(f"{path}&after={page['page']['next']}", ann)

    whole: list[str] = []
    for id_, pinned in ((None, True), (rooms[1], True), (rooms[3], True), (inbox, True), (rooms[0], True)):
        if id_ is not None:
            await pin(id_, pinned)
        whole = await listed(100)
        assert len(whole) == 6
        for limit in (1, 2, 3, 4, 6):
            assert await listed(limit) == whole, (id_, limit)
    assert whole[:4] == [rooms[0], inbox, rooms[3], rooms[1]]
    await pin(inbox, False)
    assert (await listed(2))[:4] == [rooms[0], rooms[3], rooms[1], inbox]


async def test_who_hides_the_newest_message_has_the_conversation_where_the_last_one_that_is_left_puts_it(
    world: World,
) -> None:
    ann, bob = await world.token("ann"), await world.token("bob")
    one, other = await world.group("ann", "bob"), await world.group("ann", "bob")
    for place in (one, other):
        await _say(world, bob, {"conversation": place}, "先")
    newest = await _say(world, bob, {"conversation": one}, "后")
    first = [row["id"] for row in (await world.get("/v1/conversations", ann))["data"]]
    await world.post("/v1/messages/hide", {"messages": [newest["id"]]}, ann)
    rows = [row for row in (await world.get("/v1/conversations", ann))["data"] if row["kind"] == "group"]
    assert (first[0], [row["id"] for row in rows]) == (one, [other, one])
    assert [row["last_message"]["body"] for row in rows] == [{"text": "先"}] * 2
