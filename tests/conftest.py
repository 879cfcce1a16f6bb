"""Real servers, started once a session, for whoever asks. HUB_REQUIRE_SERVICES=1: a missing one is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.services import (
    DatabaseServer,
    RedisServer,
    ServiceMissing,
    start_mariadb,
    start_postgres,
    start_redis,
)

T = TypeVar("T")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real engine, shared by the session: flush() it first where its emptiness matters."""
    yield from _started(start_redis, tmp_path_factory.mktemp("redis"))


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
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    name = {"postgres": "postgres_server", "mysql": "mariadb_server"}[request.param]
    server: DatabaseServer = request.getfixturevalue(name)
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
