"""A database that is away, hangs, is full or is read-only: told in bounded time, in the hub's words, and mended."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from hub.core.errors import Unavailable
from hub.core.message import SeqKey, UserKey
from hub.settings import Settings
from hub.store.migrate import upgrade
from hub.store.sql import SqlStore, open_store
from tests.contract.store_builders import batch, direct, item
from tests.contract.store_world import SqlWorld, sql_world
from tests.services import DatabaseServer, ServiceMissing, start_mariadb, start_postgres

LIMIT = timedelta(seconds=1)
KEY = SeqKey.of_user(UserKey(1))


@pytest.fixture(
    params=[
        pytest.param(start_postgres, marks=pytest.mark.postgres, id="postgres"),
        pytest.param(start_mariadb, marks=pytest.mark.mysql, id="mysql"),
    ]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseServer]:
    """A server of the test's own, to be stopped."""
    try:
        with request.param(tmp_path) as running:
            if running.process is None:
                pytest.skip("the server was given by a URL, and is not ours to stop")
            yield running
    except ServiceMissing as missing:
        if os.environ.get("HUB_REQUIRE_SERVICES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
async def store(server: DatabaseServer) -> AsyncIterator[SqlStore]:
    """A store on it, with a group of one and a time-out of a second."""
    url = server.fresh_database()
    upgrade(Settings(database_url=url))
    async with sql_world(url) as world:
        await prepare(world)
    async with open_store(Settings(database_url=url, database_timeout=LIMIT)) as made:
        yield made


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and its children live, and answer nothing: PostgreSQL has a process for each connection."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    everybody = [pid, *map(int, children)]
    for each in everybody:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in everybody:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


async def prepare(world: SqlWorld) -> None:
    one = world.people[0]
    await world.store.commit(batch(item(direct(one, one).id, 1, {one: 1}), made=[direct(one, one)]))


async def refused_within(store: SqlStore, seconds: float) -> Unavailable:
    """Reads and writes are refused, soon, with nothing in the words that the driver said."""
    room = direct(UserKey(1), UserKey(1)).id
    refusals = []
    for attempt in (store.heads([KEY]), store.commit(batch(item(room, 99, {}))), store.heads([KEY])):
        begun = time.monotonic()
        with pytest.raises(Unavailable) as refusal:
            await attempt
        assert time.monotonic() - begun < seconds
        refusals.append(refusal.value)
        assert refusal.value.code == "store_unavailable"
        assert refusal.value.__cause__ is None
        assert "hub" not in refusal.value.detail
        assert "/" not in refusal.value.detail
    return refusals[0]


async def works(store: SqlStore, number: int) -> None:
    """All is as before."""
    room = direct(UserKey(1), UserKey(1)).id
    await store.commit(batch(item(room, number, {UserKey(1): number})))
    assert await store.heads([KEY]) == {KEY: number}


async def test_a_stopped_server_is_unavailable_until_it_is_back(
    store: SqlStore, server: DatabaseServer
) -> None:
    await works(store, 2)
    server.stop()
    await refused_within(store, 4)
    server.start()
    await works(store, 3)


async def test_connections_that_died_with_the_server_are_replaced_unnoticed(
    store: SqlStore, server: DatabaseServer
) -> None:
    await asyncio.gather(*(store.heads([KEY]) for _ in range(4)))
    server.kill()
    server.start()
    await asyncio.gather(works(store, 2), *(store.floor(SeqKey.of_user(UserKey(1))) for _ in range(4)))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the server's processes in /proc")
async def test_a_server_that_answers_nothing_is_unavailable_in_bounded_time(
    store: SqlStore, server: DatabaseServer
) -> None:
    await works(store, 2)
    assert server.process is not None
    with frozen(server.process.pid):
        await refused_within(store, 6)
    await works(store, 3)


@pytest.fixture
async def sqlite_file(tmp_path: Path) -> Path:
    """A prepared SQLite database."""
    file = tmp_path / "hub.db"
    upgrade(Settings(database_url=f"sqlite:///{file}"))
    async with sql_world(f"sqlite:///{file}") as world:
        await prepare(world)
    return file


async def test_a_locked_file_is_unavailable_for_writers_only(sqlite_file: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{sqlite_file}", database_timeout=LIMIT)
    async with open_store(settings) as store:
        with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            writers = [works(store, number) for number in (2, 3)]
            answers = await asyncio.gather(*writers, store.heads([KEY]), return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable, Unavailable, dict]
            assert time.monotonic() - begun < 2
            other.execute("ROLLBACK")
        await asyncio.sleep(0.1)
        await works(store, 2)


async def test_a_full_disk_is_unavailable_and_nothing_is_half_done(sqlite_file: Path) -> None:
    async with open_store(Settings(database_url=f"sqlite:///{sqlite_file}", database_pool=1)) as store:
        async with store.database.writing() as connection:
            pages = await connection.exec_driver_sql("PRAGMA page_count")
            await connection.exec_driver_sql(f"PRAGMA max_page_count={pages.scalar_one() + 2}")
        large = item(direct(UserKey(1), UserKey(1)).id, 2, {UserKey(1): 2}, body='"' + "x" * 60_000 + '"')
        with pytest.raises(Unavailable):
            await store.commit(batch(large))
        assert await store.heads([KEY]) == {KEY: 1}
        async with store.database.writing() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        await store.commit(batch(large))


async def test_a_read_only_database_is_unavailable_for_writers_only(sqlite_file: Path) -> None:
    async with open_store(Settings(database_url=f"sqlite:///{sqlite_file}", database_pool=1)) as store:
        async with store.database.reading() as connection:
            await connection.exec_driver_sql("PRAGMA query_only=ON")
        with pytest.raises(Unavailable):
            await works(store, 2)
        assert await store.heads([KEY]) == {KEY: 1}
        async with store.database.reading() as connection:
            await connection.exec_driver_sql("PRAGMA query_only=OFF")
        await works(store, 2)


async def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "a" / "b")
    upgrade(settings)
    async with open_store(settings) as store:
        assert await store.heads([KEY]) == {KEY: 0}
