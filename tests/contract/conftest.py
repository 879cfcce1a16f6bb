"""The stores that the store contracts run over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.settings import Settings
from hub.store.migrate import upgrade
from tests.contract.books_world import BooksWorld, memory_world, populate, sql_books
from tests.contract.hooks_world import Hooks, MemoryHooks, sql_hooks
from tests.contract.store_world import MemoryWorld, World, sql_world
from tests.services import AnyRedis, DatabaseServer

SQL = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mysql", marks=pytest.mark.mysql),
]
PLAN1 = [
    "plan1",
    pytest.param("plan1-postgres", marks=pytest.mark.postgres),
    pytest.param("plan1-mysql", marks=pytest.mark.mysql),
]
"""Messages in Redis, over each kind of database."""
_SERVERS = {"postgres": "postgres_server", "mysql": "mariadb_server"}


@pytest.fixture(scope="session")
def migrated_urls() -> dict[str, str]:
    """The database of each kind that this session has migrated: one for all tests, each of which empties it."""
    return {}


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    """Which store; by default each in turn."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the contract run over all stores, those that ask for SQL over the databases."""
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", ["memory", *SQL, *PLAN1], indirect=True)
    elif {"shelf", "hooks"} & set(metafunc.fixturenames):
        metafunc.parametrize("store_kind", ["memory", *SQL], indirect=True)
    elif "of_plan" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", [*SQL, *PLAN1], indirect=True)
    elif "migrated_url" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", SQL, indirect=True)


@pytest.fixture
def migrated_url(
    request: pytest.FixtureRequest,
    store_kind: str,
    migrated_urls: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The URL of a migrated database of this kind."""
    if store_kind not in migrated_urls:
        behind = store_kind.removeprefix("plan1").removeprefix("-") or "sqlite"
        if behind == "sqlite":
            url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('store') / 'hub.db'}"
        else:
            server: DatabaseServer = request.getfixturevalue(_SERVERS[behind])
            url = server.fresh_database()
        upgrade(Settings(database_url=url))
        migrated_urls[store_kind] = url
    return migrated_urls[store_kind]


@pytest.fixture
def of_plan(request: pytest.FixtureRequest, store_kind: str) -> dict[str, Any]:
    """The settings of the storage plan of this kind; plan 1 has an empty Redis."""
    if not store_kind.startswith("plan1"):
        return {}
    server: AnyRedis = request.getfixturevalue("plan1_redis")
    return {"store": "redis", "redis_url": server.url}


@pytest.fixture
async def world(request: pytest.FixtureRequest, store_kind: str) -> AsyncIterator[World]:
    """A store of each kind, with a few people."""
    if store_kind == "memory":
        yield MemoryWorld()
        return
    url = request.getfixturevalue("migrated_url")
    if store_kind.startswith("plan1"):
        server: AnyRedis = request.getfixturevalue("plan1_redis")
        async with sql_world(url, redis_url=server.url) as made:
            yield made
        return
    async with sql_world(url) as made:
        yield made


@pytest.fixture
async def shelf(request: pytest.FixtureRequest, store_kind: str) -> AsyncIterator[BooksWorld]:
    """Books of each kind, with a few accounts."""
    if store_kind == "memory":
        world = memory_world()
        await populate(world)
        yield world
        return
    async with sql_books(request.getfixturevalue("migrated_url")) as world:
        await populate(world)
        yield world


@pytest.fixture
async def hooks(request: pytest.FixtureRequest, store_kind: str) -> AsyncIterator[Hooks]:
    """A book of webhooks of each kind, with two apps."""
    if store_kind == "memory":
        yield MemoryHooks()
        return
    async with sql_hooks(request.getfixturevalue("migrated_url")) as made:
        yield made
