"""Real servers, started once a session, for whoever asks. HUB_REQUIRE_SERVICES=1: a missing one is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hub.settings import Settings
from hub.store.migrate import upgrade
from tests.services import (
    KIND,
    AnyRedis,
    DatabaseServer,
    RedisCluster,
    RedisSentinels,
    RedisServer,
    ServiceMissing,
    start_mariadb,
    start_postgres,
    start_redis,
    start_redis_cluster,
    start_redis_sentinels,
)

T = TypeVar("T")

if KIND == "cluster":
    # Celery cannot use a Cluster. Processes that a test starts are told of a broker of their own.
    os.environ.setdefault("HUB_BROKER_URL", "memory://")

_SERVERS = {"postgres": "postgres_server", "mysql": "mariadb_server"}
_DATABASES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mysql", marks=pytest.mark.mysql),
]
_REDIS = {"standalone": "redis_server", "sentinel": "redis_sentinels", "cluster": "redis_cluster"}


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RedisServer]:
    """A real engine, shared by the session: flush() it first where its emptiness matters."""
    if KIND not in {"", "standalone"}:
        yield request.getfixturevalue(_REDIS[KIND])  # it has what AnyRedis has
        return
    yield from _started(start_redis, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters and a replica, shared by the session: nobody is killed in it."""
    yield from _started(start_redis_cluster, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="session")
def redis_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    """A master, a replica and three Sentinels, shared by the session: nobody is killed among them."""
    yield from _started(start_redis_sentinels, tmp_path_factory.mktemp("sentinels"))


@pytest.fixture(params=[KIND] if KIND else list(_REDIS))
def any_redis(request: pytest.FixtureRequest) -> AnyRedis:
    """An empty Redis of each kind that the hub runs on."""
    server: AnyRedis = request.getfixturevalue(_REDIS[request.param])
    server.flush()
    return server


@pytest.fixture
def plan1_redis(request: pytest.FixtureRequest) -> RedisServer:
    """An empty Redis whose scripts may take any keys, as those of plan 1 do."""
    if KIND == "cluster":
        pytest.skip("plan 1 is refused on a Cluster (docs/decisions/0019)")
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    return server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a hub run with both storage plans, unless their module names one (PLANS) or they name it themselves."""
    own = any(mark.args[0] == "plan" for mark in metafunc.definition.iter_markers("parametrize"))
    if "plan" in metafunc.fixturenames and not own:
        plans = getattr(metafunc.module, "PLANS", ["plan2", "plan1"])
        metafunc.parametrize("plan", plans, indirect=True)


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a storage plan; with plan 1 on a Redis that is empty."""
    return _plan(request.param, request.getfixturevalue)


@pytest.fixture(
    params=[
        ("sqlite", "plan2"),
        ("sqlite", "plan1"),
        *([] if KIND else [("sqlite", "cluster")]),
        pytest.param(("postgres", "plan2"), marks=pytest.mark.postgres),
        pytest.param(("mysql", "plan2"), marks=pytest.mark.mysql),
    ],
    ids="-".join,
)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """An empty database of each kind, and the settings of a storage plan, or of plan 2 with a Redis Cluster in place of
    `redis_server`: each of all, not each with each."""
    database, plan = request.param
    return _database(database, tmp_path, request.getfixturevalue), _plan(plan, request.getfixturevalue)


@pytest.fixture(
    params=[
        *(("sqlite", kind) for kind in ([KIND] if KIND else _REDIS)),
        pytest.param(("postgres", KIND or "standalone"), marks=pytest.mark.postgres),
        pytest.param(("mysql", KIND or "standalone"), marks=pytest.mark.mysql),
    ],
    ids="-".join,
)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, AnyRedis]:
    """An empty database and an empty Redis: each kind of both, not each with each."""
    database, kind = request.param
    server: AnyRedis = request.getfixturevalue(_REDIS[kind])
    server.flush()
    return _database(database, tmp_path, request.getfixturevalue), server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A real PostgreSQL; a test that breaks its database asks for a fresh_database()."""
    yield from _started(start_postgres, tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A real MariaDB; a test that breaks its database asks for a fresh_database()."""
    yield from _started(start_mariadb, tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with tables and no rows, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "hub.db"
    upgrade(Settings(database_url=f"sqlite:///{file}"))
    return file


@pytest.fixture(params=_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind the hub runs on, with tables and no rows."""
    return _database(request.param, tmp_path, request.getfixturevalue)


@pytest.fixture(params=_DATABASES)
def bare_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind the hub runs on, without tables."""
    if request.param == "sqlite":
        return _sqlite(tmp_path)
    server: DatabaseServer = request.getfixturevalue(_SERVERS[request.param])
    return server.fresh_database()


def _plan(plan: str, fixture: Callable[[str], Any]) -> dict[str, Any]:
    if plan == "plan2":
        return {}
    if plan == "cluster":
        nodes: RedisCluster = fixture("redis_cluster")
        nodes.flush()
        return {"redis_url": nodes.url, "broker_url": "memory://"}
    return {"store": "redis", "redis_url": fixture("plan1_redis").url}


def _database(kind: str, folder: Path, fixture: Callable[[str], Any]) -> str:
    if kind == "sqlite":
        shutil.copy(fixture("migrated_file"), folder / "hub.db")
        return _sqlite(folder)
    server: DatabaseServer = fixture(_SERVERS[kind])
    return server.clean_database()


def _sqlite(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'hub.db'}"


def _started(start: Callable[[Path], AbstractContextManager[T]], folder: Path) -> Iterator[T]:
    try:
        running = start(folder)
        server = running.__enter__()
    except ServiceMissing as missing:
        if os.environ.get("HUB_REQUIRE_SERVICES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        running.__exit__(None, None, None)
