"""What a Database promises to those who work with it, on every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from sqlalchemy import Executable, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.settings import Settings
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database, open_database
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata
from tests.contract.store_world import APP, NOW, sql_world

APPS = metadata.tables["app"]
POLICY = metadata.tables["policy"]
EVENT = metadata.tables["delivery_event"]


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """A database with one app in it."""
    async with sql_world(migrated_url), open_database(Settings(database_url=migrated_url)) as made:
        yield made


async def put_counter(database: Database, *names: str) -> None:
    rows = [{"app_id": APP, "name": name, "body": "0", "updated_at": NOW} for name in names]
    async with database.writing() as connection:
        await connection.execute(insert(POLICY), rows)


async def bump(connection: AsyncConnection, name: str) -> None:
    """Read, think, write: what loses updates where reading does not lock."""
    mine = (POLICY.c.app_id == APP) & (POLICY.c.name == name)
    body = await connection.scalar(select(POLICY.c.body).where(mine).with_for_update())
    await asyncio.sleep(0)
    await connection.execute(update(POLICY).where(mine).values(body=str(int(body or 0) + 1)))


async def test_no_update_is_lost_between_writers(database: Database) -> None:
    await put_counter(database, "n")
    await asyncio.gather(*(database.write(lambda c: bump(c, "n")) for _ in range(40)))
    rows = await database.rows(select(POLICY.c.body))
    assert rows[0].body == "40"


async def test_a_deadlock_begins_again(database: Database) -> None:
    await put_counter(database, "a", "b")
    met = asyncio.Barrier(2)
    tries = 0

    async def cross(first: str, second: str) -> None:
        async def work(connection: AsyncConnection) -> None:
            nonlocal tries
            tries += 1
            await bump(connection, first)
            if database.dialect != "sqlite" and tries <= 2:
                await met.wait()
            await bump(connection, second)

        await database.write(work)

    await asyncio.gather(cross("a", "b"), cross("b", "a"))
    rows = await database.rows(select(POLICY.c.body))
    assert [row.body for row in rows] == ["2", "2"]
    assert tries == (2 if database.dialect == "sqlite" else 3)


async def test_a_cancellation_that_a_driver_has_lost_is_heeded(database: Database) -> None:
    """Python 3.11's wait_for loses one that comes together with the answer."""
    begun = asyncio.Event()

    async def deaf(connection: AsyncConnection) -> str:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return str(await connection.scalar(select(APPS.c.id)))

    for verb in (database.read, database.write):
        begun.clear()
        asked = asyncio.create_task(verb(deaf))
        await begun.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert await database.read(lambda connection: connection.scalar(select(APPS.c.id))) == APP


async def test_what_fails_leaves_nothing(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(APPS).values(id="app_2", name="", created_at=NOW))
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(work)
    assert len(await database.rows(select(APPS))) == 1


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(APPS).values(id="app_2", name="", settings="{}", created_at=NOW))
        async with asyncio.timeout(2):
            assert len(await database.rows(select(APPS))) == 1
    assert len(await database.rows(select(APPS))) == 2


async def test_mistakes_of_ours_are_not_taken_for_a_database_that_is_away(database: Database) -> None:
    with pytest.raises(SQLAlchemyError) as missing:
        await database.rows(select(func.no_such_function(1)))
    assert fault(missing.value) is Fault.BUG
    orphan = {"id": 10**6, "app_id": "app_none", "user_id": "u", "created_at": NOW}
    assert fault(await refusal(database, insert(metadata.tables["user"]).values(orphan))) is Fault.BUG
    twice = {"id": APP, "name": "", "settings": "{}", "created_at": NOW}
    assert fault(await refusal(database, insert(APPS).values(twice))) is Fault.TAKEN


async def refusal(database: Database, statement: Executable) -> Exception:
    """What is raised for it."""
    try:
        await database.write(lambda connection: connection.execute(statement))
    except SQLAlchemyError as error:
        return error
    raise AssertionError


async def test_secrets_and_bodies_stay_out_of_errors(database: Database) -> None:
    row = {"id": APP, "name": "geheim", "settings": "{}", "created_at": NOW}
    assert "geheim" not in str(await refusal(database, insert(APPS).values(row)))


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 2_500])
async def test_bulk_inserts_of_any_size(database: Database, count: int) -> None:
    columns = ("delivery_id", "version", "at", "state", "reason")
    rows = [(f"dlv_{n}", 0, n, "排队 %s '\\ 🎉", None if n % 2 else "r") for n in range(count)]
    failing = Insertion(EVENT, columns)
    ignoring = Insertion(EVENT, columns, Clash.IGNORE)
    updating = Insertion(EVENT, columns, Clash.UPDATE, ("state",))
    async with database.writing() as connection:
        await failing.run(connection, database.dialect, rows)
        await ignoring.run(connection, database.dialect, [(*row[:3], "other", "x") for row in rows])
    stored = await database.rows(select(EVENT).order_by(EVENT.c.at))
    assert [(row.delivery_id, row.state, row.reason) for row in stored] == [(r[0], *r[3:]) for r in rows]
    async with database.writing() as connection:
        await updating.run(connection, database.dialect, [(*row[:3], "other", "x") for row in rows])
    stored = await database.rows(select(EVENT).order_by(EVENT.c.at))
    assert [(row.state, row.reason) for row in stored] == [("other", r[4]) for r in rows]


async def test_lists_of_any_length_are_one_parameter(database: Database) -> None:
    names = ["a'b", "中文", 'q"', "back\\slash", "%s", ":x", "B", "🎉"]
    await put_counter(database, *names)
    texts = Listing(database.dialect, id=str)
    query = select(POLICY.c.name).where(POLICY.c.name.in_(texts.select))
    for some in ([], names[:1], names, names * 500, ["b", *names]):
        rows = await database.rows(query, texts.of(some))
        assert {row.name for row in rows} == {*some} - {"b"}
    pairs = Listing(database.dialect, name=str, number=int)
    listed = pairs.select.subquery("listed")
    joined = select(POLICY.c.name, listed.c.number).join(listed, listed.c.name == POLICY.c.name)
    assert await database.rows(joined, pairs.of([])) == []
    rows = await database.rows(joined, pairs.of([("中文", 2**53 + 1), ("none", 1), ("B", -1)]))
    assert {(row.name, row.number) for row in rows} == {("中文", 2**53 + 1), ("B", -1)}
