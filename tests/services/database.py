"""What PostgreSQL and MariaDB have in common in tests: an admin's URL and fresh databases."""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.services.process import Process


class DatabaseServer:
    """A server with its admin's SQLAlchemy async URL; `process` is None where it is not ours to stop."""

    def __init__(self, url: str, process: Process | None = None) -> None:
        self.url = url
        self.process = process
        self._made: list[str] = []

    def fresh_database(self) -> str:
        """Makes an empty database under a random name; its URL. May be called inside a running loop."""
        name = f"hub_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name}")
        self._made.append(name)
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def drop_databases(self) -> None:
        """Removes what fresh_database has made."""
        while self._made:
            self._execute(f"DROP DATABASE IF EXISTS {self._made.pop()}")

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

    def _execute(self, statement: str) -> None:
        # In a thread of its own: the caller may be inside a running loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _execute(self.url, statement)).result()


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
