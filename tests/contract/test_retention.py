"""Retention by app on every store: each app's own time, and everything that hangs on a message goes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from hub.core.keeping import Retention
from hub.settings import Settings
from hub.store.schema import metadata
from hub.store.sql_engine import make_engine
from tests.unit.api.harness import World, open_world

HOUR = timedelta(hours=1)


@pytest.fixture
async def town(migrated_url: str, of_plan: dict[str, Any]) -> AsyncIterator[World]:
    engine = make_engine(Settings(database_url=migrated_url))
    async with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
    await engine.dispose()
    async with open_world(migrated_url, create=False, **of_plan) as opened:
        yield opened


async def said(town: World, key: str, text: str, *, count: int = 1) -> tuple[str, list[str]]:
    await town.users("u_1", "u_2", key=key)
    room = await town.group("u_1", "u_2", key=key)
    ids = []
    for number in range(count):
        body = {"body": {"text": f"{text} {number}"}, "sender": "u_1", "mentions": ["u_2"]}
        ids.append((await town.post(f"/v1/conversations/{room}/messages", body, key))["id"])
    return room, ids


async def left(town: World, table: str) -> int:
    rows = await town.database.rows(select(func.count()).select_from(metadata.tables[table]))
    return int(rows[0][0])


async def test_each_app_keeps_for_its_own_time(town: World) -> None:
    mine, _ = await said(town, town.key, "一", count=3)
    theirs, _ = await said(town, town.their_key, "二", count=3)
    settings = {"settings": {"retention": "P30D"}}
    await town.call("PATCH", "/v1/apps/shop", town.admin, json=settings)
    retention = Retention(town.hub.directory, town.hub.engine._ports.parking, keep=None)
    assert await retention.expire(town.clock() + timedelta(days=29)) == 0
    assert await retention.expire(town.clock() + timedelta(days=31)) == 3
    assert (await town.get(f"/v1/conversations/{mine}/messages"))["data"] == []
    kept = (await town.get(f"/v1/conversations/{theirs}/messages", town.their_key))["data"]
    assert len(kept) == 3


async def test_without_its_own_an_app_keeps_as_long_as_the_hub(town: World) -> None:
    await said(town, town.key, "一")
    await said(town, town.their_key, "二")
    settings = {"settings": {"retention": "P900D"}}
    await town.call("PATCH", "/v1/apps/shop", town.admin, json=settings)
    retention = Retention(town.hub.directory, town.hub.engine._ports.parking, keep=timedelta(days=7))
    assert await retention.expire(town.clock() + timedelta(days=8)) == 1


async def test_what_hangs_on_old_messages_goes_with_them(town: World) -> None:
    room, _ = await said(town, town.key, "旧", count=5)
    while await town.hub.search.index(limit=100):
        pass
    searched = town.hub.settings.store == "sql"
    assert await left(town, "message_terms") >= 5 * searched
    moment = town.clock() + HOUR
    retention = Retention(town.hub.directory, town.hub.engine._ports.parking, keep=HOUR)
    await retention.expire(moment + HOUR)
    for table in ("message_terms", "mention", "reaction", "pin", "hidden", "media_ref", "delivery"):
        assert await left(town, table) == 0, table
    if searched:
        assert (await town.get("/v1/search/messages?q=旧&user=u_1"))["data"] == []
    assert (await town.get(f"/v1/conversations/{room}/messages"))["data"] == []


async def test_clients_behind_what_is_kept_begin_again_and_numbers_do_not(town: World) -> None:
    room, _ = await said(town, town.key, "旧", count=5)
    retention = Retention(town.hub.directory, town.hub.engine._ports.parking, keep=HOUR)
    await retention.expire(town.clock() + 2 * HOUR)
    sent = await town.post(f"/v1/conversations/{room}/messages", {"body": {"text": "新"}, "sender": "u_1"})
    assert sent["seq"] == 6
    page = await town.get("/v1/queue?user=u_2&after=1")
    assert page["rebase"] is True
    shown = await town.get(f"/v1/conversations/{room}/messages")
    assert [one["seq"] for one in shown["data"]] == [6]


@pytest.mark.parametrize("length", ["PT5M", "P0D", "P40000D", "one day", "P1M", 7])
async def test_a_retention_that_makes_no_sense_is_refused(town: World, length: object) -> None:
    settings = {"settings": {"retention": length}}
    assert (await town.call("PATCH", "/v1/apps/shop", town.admin, json=settings)).status_code == 422


async def test_a_retention_is_shown_as_it_was_set(town: World) -> None:
    for length, shown in (("P30D", "P30D"), ("PT36H", "PT36H"), ("PT48H", "P2D"), (None, None)):
        settings = {"settings": {"retention": length}}
        answer = await town.call("PATCH", "/v1/apps/shop", town.admin, json=settings)
        assert answer.json()["settings"]["retention"] == shown
