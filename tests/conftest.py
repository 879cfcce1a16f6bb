"""Real servers, started once a session, for whoever asks. HUB_REQUIRE_SERVICES=1: a missing one is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.services import (
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

if os.environ.get("HUB_TEST_REDIS") == "cluster":
    os.environ.setdefault("HUB_BROKER_URL", "memory://")  # Celery cannot use a Cluster


_REDIS = {"standalone": "redis_server", "sentinel": "redis_sentinels", "cluster": "redis_cluster"}
_REDIS_KIND = os.environ.get("HUB_TEST_REDIS", "")
"""One of them for all tests that take any Redis; empty: what each test says."""


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RedisServer]:
    """A real engine, shared by the session: flush() it first where its emptiness matters."""
    if _REDIS_KIND not in {"", "standalone"}:
        yield request.getfixturevalue(_REDIS[_REDIS_KIND])  # it has what AnyRedis has
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


@pytest.fixture(params=[_REDIS_KIND] if _REDIS_KIND else list(_REDIS))
def any_redis(request: pytest.FixtureRequest) -> AnyRedis:
    """An empty Redis of each kind that the hub runs on."""
    server: AnyRedis = request.getfixturevalue(_REDIS[request.param])
    server.flush()
    return server


@pytest.fixture(
    params=[
        *(("sqlite", kind) for kind in ([_REDIS_KIND] if _REDIS_KIND else _REDIS)),
        pytest.param(("postgres", _REDIS_KIND or "standalone"), marks=pytest.mark.postgres),
        pytest.param(("mysql", _REDIS_KIND or "standalone"), marks=pytest.mark.mysql),
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
    """A real PostgreSQL; fresh_database() gives each test its own."""
    yield from _started(start_postgres, tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A real MariaDB; fresh_database() gives each test its own."""
    yield from _started(start_mariadb, tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("mysql", marks=pytest.mark.mysql),
    ]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind the hub runs on."""
    return _database(request.param, tmp_path, request.getfixturevalue)


def _database(kind: str, folder: Path, fixture: Callable[[str], Any]) -> str:
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'hub.db'}"
    server: DatabaseServer = fixture({"postgres": "postgres_server", "mysql": "mariadb_server"}[kind])
    return server.fresh_database()


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
