"""What PostgreSQL and MariaDB have in common in tests: an admin's URL, fresh databases and a clean one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from hub.settings import Settings
from hub.store.migrate import upgrade
from tests.services.process import Process


class DatabaseServer:
    """A server with its admin's SQLAlchemy async URL; `process` is None where it is not ours to stop."""

    def __init__(self, url: str, process: Process | None = None) -> None:
        self.url = url
        self.process = process
        self._made: list[str] = []
        self._clean: str | None = None

    def fresh_database(self) -> str:
        """Makes an empty database under a random name; its URL. May be called inside a running loop."""
        name = f"hub_{secrets.token_hex(6)}"
        _run(_execute(self.url, f"CREATE DATABASE {name}"))
        self._made.append(name)
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def clean_database(self) -> str:
        """The URL of a migrated database without rows, always the same one: whoever still had it is thrown out. To
        migrate a fresh one takes a second. May be called inside a running loop.
        """
        if self._clean is None:
            url = self.fresh_database()
            upgrade(Settings(database_url=url))
            self._clean = url
        else:
            _run(_empty(self._clean))
        return self._clean

    def drop_databases(self) -> None:
        """Removes what fresh_database has made."""
        while self._made:
            _run(_execute(self.url, f"DROP DATABASE IF EXISTS {self._made.pop()}"))

    def kill(self) -> None:
        """SIGKILL to the server."""
        self._own().kill()

    def start(self) -> None:
        """Starts a killed or stopped server, with what it had."""
        self._own().start()

    def stop(self) -> None:
        """Asks the server to end."""
        self._own().stop()

    def restart(self) -> None:
        """Stops the server if it runs, and starts it again."""
        self._own().restart()

    def _own(self) -> Process:
        assert self.process is not None, "the server was given by a URL, and is not ours to stop"
        return self.process


def _run(work: Coroutine[Any, Any, None]) -> None:
    # In a thread of its own: the caller may be inside a running loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()


_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type = 'BASE TABLE'"
)


async def _empty(url: str) -> None:
    """Ends all other connections to the database, and takes every row out; what counts ids begins again at 1."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    mysql = engine.dialect.name == "mysql"
    try:
        async with engine.connect() as connection:
            await (_kill_mysql if mysql else _kill_postgres)(connection)
            found = await connection.exec_driver_sql(
                _TABLES.format("DATABASE()" if mysql else "current_schema()")
            )
            quote = engine.dialect.identifier_preparer.quote_identifier
            tables = [quote(name) for (name,) in found if name != "alembic_version"]
            asking = ", ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables)
            used = (await connection.exec_driver_sql(f"SELECT {asking}")).one()
            full = [table for table, has_rows in zip(tables, used, strict=True) if has_rows]
            if mysql:
                await connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
                for table in full:
                    await connection.exec_driver_sql(f"TRUNCATE TABLE {table}")
            elif full:
                await connection.exec_driver_sql(f"TRUNCATE {', '.join(full)} RESTART IDENTITY CASCADE")
    finally:
        await engine.dispose()


async def _kill_postgres(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def _kill_mysql(connection: AsyncConnection) -> None:
    others = await connection.exec_driver_sql(
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    )
    for (number,) in others:
        with suppress(DBAPIError):  # it went by itself
            await connection.exec_driver_sql(f"KILL {number}")
