"""The removal of a user on every database: nothing is left, in any table, whoever makes the next one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import BigInteger, Integer, String, Table, delete, func, insert, select

from hub.core.media import MediaId, MediaRecord, MediaState
from hub.core.message import Draft, MessageId, ToUser, UserKey
from hub.core.removal import SETTLED, STEPS, Removal
from hub.redis_link import open_redis
from hub.store.belongings import BELONGINGS, NO_USERS, Fate
from hub.store.hanging import HANGING, STAYING
from hub.store.schema import metadata
from tests.unit.api.harness import MINE, World, open_world

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
_PERSON = re.compile(
    r"(^|_)(user|sender|owner|person|uploader)_?(id|key)?$|_by$|^by_|^by$|^actor$|^requester$"
)


def test_every_column_that_holds_a_user_says_what_becomes_of_it() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if _PERSON.search(column.name) and f"{table.name}.{column.name}" not in NO_USERS
    }
    texts = {"task_action.person", "task_assignee.person", "task_cc.person"}
    assert found - texts == set(BELONGINGS), "tell hub/store/belongings.py what becomes of it"


def test_every_column_that_names_a_message_says_what_becomes_of_it() -> None:
    named = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if column.name == "message_id"
    }
    assert named <= set(HANGING) | set(STAYING), "tell hub/store/hanging.py what becomes of it"


@asynccontextmanager
async def hub_on(url: str, **of_plan: Any) -> AsyncIterator[World]:
    """A hub on this database, emptied first."""
    async with open_world(url, create=False, **of_plan) as town:
        yield town


@pytest.fixture
async def town(migrated_url: str, of_plan: dict[str, Any]) -> AsyncIterator[World]:
    from hub.settings import Settings
    from hub.store.sql_engine import make_engine

    engine = make_engine(Settings(database_url=migrated_url))
    async with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
    await engine.dispose()
    async with hub_on(migrated_url, **of_plan) as opened:
        yield opened


async def _lived(town: World) -> UserKey:
    """u_1 has done a bit of everything. Tables that nothing here fills get a row of theirs by hand."""
    await town.users("u_1", "u_2", "u_3")
    token = await town.token("u_1")
    room = await town.group("u_1", "u_2", "u_3")
    text = {"body": {"text": "秘密"}, "sender": "u_1"}
    sent = await town.post(f"/v1/conversations/{room}/messages", {**text, "client_msg_id": "c-1"})
    answer = {"body": {"text": "回答"}, "sender": "u_2", "mentions": ["u_1"], "reply_to": sent["id"]}
    await town.call("POST", f"/v1/conversations/{room}/messages", json=answer)
    await town.post("/v1/messages", {"to": {"user": "u_2"}, **text})
    await town.call("POST", "/v1/media", token, content=PNG, headers={"Content-Type": "image/png"})
    await town.call("PUT", "/v1/me/contacts/u_2", token, json={"alias": "小二"})
    await town.call("PUT", "/v1/me/contacts/u_1", await town.token("u_2"), json={"alias": "小一"})
    await town.post("/v1/queue/ack", {"seq": 1, "device": {"id": "phone-1", "name": "小米"}}, token)
    await town.post("/v1/users/u_1/sign-out", {})
    key = (await town.hub.directory.user_keys(MINE, ["u_1"]))["u_1"]
    while await town.hub.search.index(limit=100):
        pass
    for place, fate in BELONGINGS.items():
        table, _, column = place.partition(".")
        if fate is not Fate.ELSEWHERE:
            await _some_row(town, metadata.tables[table], column, key)
    return key


async def _some_row(town: World, table: Table, column: str, key: UserKey) -> None:
    """A row of this user's in the table, if there is none yet."""
    async with town.database.writing() as connection:
        mine = select(func.count()).select_from(table).where(table.c[column] == key)
        if await connection.scalar(mine) or table.foreign_keys:
            return
        await connection.execute(insert(table).values(_row(table, column, key)))


def _row(table: Table, column: str, key: UserKey) -> dict[str, Any]:
    row: dict[str, Any] = {column: int(key)}
    for one in table.columns:
        if one.name in row or one.nullable or (one.primary_key and one.autoincrement is True):
            continue
        match one.type:
            case String() as kind:
                known = {"policy": "{}", "state": "closed", "added": "x"}
                row[one.name] = known.get(one.name, "x")[: kind.length or 1]
            case Integer() | BigInteger():
                row[one.name] = 7
            case kind if kind.python_type is bool:
                row[one.name] = False
            case _:
                row[one.name] = world_time()
    return row


def world_time() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 3, 1, tzinfo=UTC)


async def _left(town: World, key: UserKey, *, texts: tuple[str, ...] = ()) -> list[str]:
    """Columns that still hold the user's number, or one of these texts."""
    found = []
    for table in metadata.sorted_tables:
        for column in table.columns:
            place = f"{table.name}.{column.name}"
            if place in BELONGINGS:
                query = select(func.count()).select_from(table).where(column == key)
                if (await town.database.rows(query))[0][0]:
                    found.append(place)
            if isinstance(column.type, String) and texts:
                for text in texts:
                    query = select(func.count()).select_from(table).where(column == text)
                    if (await town.database.rows(query))[0][0]:
                        found.append(f"{place}={text}")
    shell = (
        select(func.count()).select_from(metadata.tables["user"]).where(metadata.tables["user"].c.id == key)
    )
    if (await town.database.rows(shell))[0][0]:
        found.append("user.id")
    return found + await _left_in_redis(town, key, texts)


async def _left_in_redis(town: World, key: UserKey, texts: tuple[str, ...]) -> list[str]:
    """Keys of plan 1 that hold one of these texts, or whose messages say that they are this user's."""
    if town.hub.settings.store == "sql" or not texts:
        return []
    found = []
    async with open_redis(town.hub.settings.redis) as link:
        for name in await link.ask("KEYS", "hub:p1:*"):
            match await link.ask("TYPE", name):
                case b"hash":
                    kept = await link.ask("HVALS", name)
                case b"zset":
                    kept = await link.ask("ZRANGE", name, 0, -1)
                case b"list":
                    kept = await link.ask("LRANGE", name, 0, -1)
                case b"set":
                    kept = await link.ask("SMEMBERS", name)
                case _:
                    kept = [await link.ask("GET", name)]
            marks = [text.encode() for text in texts if not text.endswith("u_1")]
            marks += [f',{key},"u_1"'.encode(), f":{key}:".encode()]
            # What is on its way to sockets is forgotten after minutes, and holds no more than numbers.
            if b"batches" not in name and any(mark in one for mark in marks for one in kept):
                found.append(name.decode())
    return found


async def _swept(town: World) -> None:
    for _ in range(20):
        town.clock.shift += timedelta(minutes=2)
        if await town.hub.keeping.removals.sweep():
            return


async def test_nothing_is_left_in_any_table(town: World) -> None:
    key = await _lived(town)
    assert len(await _left(town, key)) > 10, "or this test shows nothing"
    begun = await town.call("DELETE", "/v1/users/u_1?messages=erase")
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    await _swept(town)
    assert await _left(town, key, texts=("u_1", "user:u_1", "秘密")) == []
    done = await town.get(f"/v1/removals/{begun.json()['id']}")
    assert done["state"] == "done"
    assert done["removed"] > 10


async def test_what_was_written_to_others_stays_on_demand(town: World) -> None:
    key = await _lived(town)
    await town.call("DELETE", "/v1/users/u_1")
    await _swept(town)
    assert set(await _left(town, key)) <= {"message.sender_id", "message_terms.sender_id"}
    rooms = (await town.get("/v1/conversations?user=u_2"))["data"]
    texts = [room["last_message"]["body"] for room in rooms if room["last_message"]]
    assert {"text": "秘密"} in texts


async def test_the_user_is_gone_from_the_answer_on(town: World) -> None:
    await _lived(town)
    token = await town.token("u_1")
    await town.call("DELETE", "/v1/users/u_1")
    assert (await town.call("GET", "/v1/me", token)).status_code == 401
    assert (await town.call("GET", "/v1/users/u_1")).status_code == 404
    assert (await town.call("DELETE", "/v1/users/u_1")).status_code == 404
    shown = [user["user_id"] for user in (await town.get("/v1/users"))["data"]]
    assert shown == ["u_2", "u_3"]
    answer = await town.call(
        "POST", "/v1/messages", json={"to": {"user": "u_1"}, "body": {}, "sender": "u_2"}
    )
    assert answer.status_code == 404


async def test_the_next_of_the_same_name_is_somebody_else(town: World) -> None:
    key = await _lived(town)
    old = await town.token("u_1")
    await town.call("DELETE", "/v1/users/u_1")
    assert (await town.call("GET", "/v1/me", old)).json()["code"] == "token_revoked"
    await town.users("u_1")
    assert (await town.call("GET", "/v1/me", old)).json()["code"] == "token_revoked"
    assert (await town.call("GET", "/v1/me", await town.token("u_1"))).status_code == 200
    await _swept(town)
    new = (await town.hub.directory.user_keys(MINE, ["u_1"]))["u_1"]
    assert new != key
    assert (await town.get("/v1/queue?user=u_1"))["data"] == []


async def test_an_owners_group_gets_the_next_one_as_its_owner(town: World) -> None:
    await town.users("u_1", "u_2", "u_3")
    members = [{"user_id": "u_1", "role": "owner"}, {"user_id": "u_2", "role": "admin"}, {"user_id": "u_3"}]
    room = (await town.post("/v1/conversations", {"title": "群", "members": members}))["id"]
    await town.call("DELETE", "/v1/users/u_1")
    await _swept(town)
    roles = {
        one["user_id"]: one["role"] for one in (await town.get(f"/v1/conversations/{room}/members"))["data"]
    }
    assert roles == {"u_2": "owner", "u_3": "member"}


@pytest.mark.parametrize("dies_at", [0, 2, 4, len(STEPS) - 1])
async def test_who_dies_in_the_middle_leaves_the_rest_to_the_next(
    town: World, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await _lived(town)
    await town.call("DELETE", "/v1/users/u_1?messages=erase")
    removals = town.hub.keeping.removals
    real = removals._portion
    town.clock.shift += SETTLED

    async def dying(step: Any, removal: Removal) -> int:
        gone = await real(step, removal)
        if removal.step == dies_at:
            raise RuntimeError
        return gone

    monkeypatch.setattr(removals, "_portion", dying)
    with pytest.raises(RuntimeError):
        await removals.sweep()
    monkeypatch.setattr(removals, "_portion", real)
    assert await removals.sweep() == 0, "under the lease of who died"
    await _swept(town)
    assert await _left(town, key, texts=("u_1", "秘密")) == []


async def test_the_audit_knows_that_and_not_whom(town: World) -> None:
    await _lived(town)
    await town.call("DELETE", "/v1/users/u_1?messages=erase")
    await _swept(town)
    entries = (await town.get("/v1/audit"))["data"]
    removed = [entry for entry in entries if entry["action"] == "user.remove"]
    assert len(removed) == 1
    assert "u_1" not in str(entries)


async def test_what_was_on_its_way_when_its_steps_were_done_goes_with_the_last(town: World) -> None:
    """For some seconds another node takes the token, and for two minutes the name, for the user who is gone."""
    key = await _lived(town)
    await town.call("DELETE", "/v1/users/u_1?messages=erase")
    await town.hub.keeping.removals.sweep()
    stranger = (await town.hub.directory.ensure_users(MINE, ["u_9"]))["u_9"]
    late = Draft(
        id=MessageId("msg_late"),
        app=MINE,
        sender=key,
        sender_id="u_1",
        to=ToUser(stranger),
        kind="text",
        body='{"text":"秘密, spät"}',
        created_at=town.clock(),
    )
    accepted = await town.hub.engine.submit(late)
    file = MediaRecord(
        MediaId("med_" + "0" * 32), MINE, key, "x", "image/png", 1, "", MediaState.READY, town.clock()
    )
    await town.hub.keeping.media.book.add(file)
    await _swept(town)
    assert await _left(town, key, texts=("u_1", "秘密", '{"text":"秘密, spät"}')) == []
    page = await town.hub.engine.history(
        accepted.conversation, reader=stranger, after=0, before=None, limit=9
    )
    assert [(one.kind, one.body) for one in page.messages] == [("recalled", "{}")]
