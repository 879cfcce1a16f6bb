"""Migrations bring every database to what the tables in code say, from anywhere and from several processes at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from hub.core.errors import Unavailable
from hub.settings import Settings
from hub.store.migrate import check, config, upgrade, with_connection
from hub.store.schema import metadata
from hub.store.sql_engine import open_database
from hub.store.tables_search import FTS

ROOT = Path(__file__).resolve().parents[2]
UPGRADE = "from hub.settings import Settings; from hub.store.migrate import upgrade; upgrade(Settings())"


def test_models_and_migrations_agree(bare_database_url: str) -> None:
    settings = Settings(database_url=bare_database_url)
    upgrade(settings)
    check(settings)


def test_twice_is_harmless_and_keeps_what_is_there(bare_database_url: str) -> None:
    settings = Settings(database_url=bare_database_url)
    upgrade(settings)

    async def count(statement: str) -> object:
        async with open_database(settings) as database, database.writing() as connection:
            return (
                (await connection.execute(text(statement))).scalar()
                if "SELECT" in statement
                else (await connection.execute(text(statement)))
            )

    asyncio.run(count("INSERT INTO app (id, name, settings, created_at) VALUES ('a', '名', '{}', 1)"))
    upgrade(settings)
    assert asyncio.run(count("SELECT name FROM app")) == "名"


def test_several_processes_from_another_folder_at_once(bare_database_url: str, tmp_path: Path) -> None:
    environment = {"HUB_DATABASE_URL": bare_database_url, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(3)
    ]
    words = [process.communicate(timeout=60)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], words
    check(Settings(database_url=bare_database_url))


def test_what_was_made_can_be_unmade(bare_database_url: str) -> None:
    settings = Settings(database_url=bare_database_url)
    upgrade(settings)

    def downgrade(connection: Connection) -> None:
        from alembic import command

        command.downgrade(config(connection), "base")

    def tables(connection: Connection) -> set[str]:
        names = set(inspect(connection).get_table_names())
        return {name for name in names if not name.startswith(FTS)}

    assert with_connection(settings, tables) == {*metadata.tables, "alembic_version"}
    with_connection(settings, downgrade)
    assert with_connection(settings, tables) == {"alembic_version"}
    upgrade(settings)


async def test_inside_a_running_loop(tmp_path: Path) -> None:
    upgrade(Settings(database_url=f"sqlite:///{tmp_path / 'hub.db'}"))


@pytest.mark.parametrize(
    "url", ["postgresql://hub:geheim@127.0.0.1:1/hub", "mysql://hub:geheim@127.0.0.1:1/hub"]
)
def test_a_database_that_is_away_is_told_without_its_password(url: str) -> None:
    with pytest.raises(Unavailable) as told:
        upgrade(Settings(database_url=url))
    assert "geheim" not in str(told.value)


@pytest.mark.parametrize("url", ["oracle://hub@localhost/hub", "sqlite://", "sqlite+aiosqlite:///:memory:"])
def test_databases_that_the_hub_does_not_run_on_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HUB_DATABASE_URL"):
        upgrade(Settings(database_url=url))
