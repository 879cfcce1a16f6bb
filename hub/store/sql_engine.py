"""The database: bounded connections, transactions that may be run again, errors in the hub's own words."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection, Executable, Row, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hub.core.errors import Unavailable
from hub.settings import Settings
from hub.store import sqlite_driver
from hub.store.sql_errors import ERRORS, Fault, fault, lost_connection, name

log = logging.getLogger("hub.store")
Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]


class Dialect(StrEnum):
    """What differs between databases is looked up by this. MariaDB counts as MySQL."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"


_DRIVERS: Mapping[str, str] = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
_WRITE = "hub_write"
# PostgreSQL: one round trip instead of three. MySQL has to be told of AUTOCOMMIT, which costs what it saves.
_READ_OPTIONS: Mapping[Dialect, Mapping[str, Any]] = {
    Dialect.SQLITE: {},
    Dialect.POSTGRESQL: {"isolation_level": "AUTOCOMMIT"},
    Dialect.MYSQL: {},
}
# A deadlock ends when one of those in it begins again; whoever loses four times has met something else.
_TRIES = 4
_CONNECT_SECONDS = 5
_SWITCH_SECONDS = 0.000_5
# Servers end connections that are idle for hours, what stands between may do so earlier.
_RECYCLE_SECONDS = 1_800


class Database:
    """One database. Every verb ends within the time-out, and raises `errors.Unavailable` where it could not be done.

    `work` may be run more than once, each time in a transaction of its own: it must have no other effects.
    """

    def __init__(self, engine: AsyncEngine, *, timeout: timedelta) -> None:
        self.dialect = dialect_of(engine.url)
        self._timeout = timeout.total_seconds()
        self._reader = engine.execution_options(**_READ_OPTIONS[self.dialect])
        self._writer = engine.execution_options(**{_WRITE: True})
        # SQLite has one writer. Waiting here is fair and holds no connection; its own waiting is neither.
        self._turn = asyncio.Semaphore(1 if self.dialect is Dialect.SQLITE else 1_000_000)

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """The rows of one SELECT."""

        async def work(connection: AsyncConnection) -> Sequence[Row[Any]]:
            return (await connection.execute(statement, parameters)).all()

        return await self.read(work)

    async def read(self, work: Work[Result]) -> Result:
        """Run SELECTs, each of which sees what is committed when it starts. Waits for no writer."""
        return await self._repeated(self._read_only, work)

    async def write(self, work: Work[Result]) -> Result:
        """Run `work` in one transaction and commit; again after a deadlock, or where the connection was lost before
        the commit. What fails in the commit is not repeated: nobody knows whether it was done.
        """
        return await self._repeated(self._transaction, work)

    async def script(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """SQLite only: `work` as one transaction in the connection's own thread, without coming back in between.

        A thread cannot be cancelled: where nobody waits for it any more, it undoes what it did.
        """
        given_up = threading.Event()

        def transaction(driver: sqlite3.Connection) -> Result:
            driver.execute("BEGIN IMMEDIATE")
            try:
                result = work(driver)
                if given_up.is_set():
                    raise TimeoutError
                driver.commit()
            except BaseException:
                driver.rollback()
                raise
            return result

        async with self._bounded(), self._turn, self._reader.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            try:
                return await cast("sqlite_driver.Connection", driver).run(transaction)
            except asyncio.CancelledError:
                given_up.set()
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """`read` as a context, without its second tries."""
        async with self._bounded(), self._read_only() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """`write` as a context, without its second tries. Do not nest: SQLite has one writer."""
        async with self._bounded(), self._transaction() as connection:
            yield connection

    def _read_only(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._reader.connect()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._turn, self._writer.begin() as connection:
            yield connection

    async def _repeated(
        self, transaction: Callable[[], AbstractAsyncContextManager[AsyncConnection]], work: Work[Result]
    ) -> Result:
        tries = 0
        async with self._bounded():
            while True:
                tries += 1
                worked = False
                try:
                    async with transaction() as connection:
                        result = await work(connection)
                        worked = True
                    return result
                except DBAPIError as error:
                    again = fault(error) is Fault.AGAIN or (lost_connection(error) and not worked)
                    if not again or tries == _TRIES:
                        raise
                    log.info("store.again", extra={"error": name(error), "tries": tries})
                await asyncio.sleep(0.005 * tries)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """The time-out, and errors translated: what a driver's words may hold (hosts, users) goes no further."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        before = task.cancelling()
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except ERRORS as error:
            _heed(task, before)
            if fault(error) not in (Fault.AWAY, Fault.AGAIN):
                raise
            log.warning("store.unavailable", extra={"error": name(error)})
            detail = f"The database did not do it ({name(error)}). Try again shortly."
            raise Unavailable("store_unavailable", detail) from None
        _heed(task, before)


def _heed(task: asyncio.Task[Any], before: int) -> None:
    """Until Python 3.12 `wait_for`, in which MySQL's driver reads, loses a cancellation that comes with the answer: who
    waits for the end of a cancelled task would wait for ever.
    """
    if task.cancelling() > before:
        raise asyncio.CancelledError


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of these settings; its connections are made when they are needed, and closed at the end."""
    engine = make_engine(settings)
    try:
        yield Database(engine, timeout=settings.database_timeout)
    finally:
        await engine.dispose()


def database_url(settings: Settings) -> URL:
    """The URL with the driver that the hub uses, whatever driver it names. Raises ValueError for other databases."""
    url = make_url(settings.database)
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        message = f"HUB_DATABASE_URL: expected one of {', '.join(_DRIVERS)}, got {url.get_backend_name()!r}"
        raise ValueError(message)
    if driver == _DRIVERS["sqlite"] and url.database in (None, "", ":memory:"):
        message = "HUB_DATABASE_URL: SQLite needs a file, several processes share it"
        raise ValueError(message)
    return url.set(drivername=driver)


def dialect_of(url: URL) -> Dialect:
    """The kind of database behind a URL."""
    return Dialect(make_url(url).set(drivername=_DRIVERS[url.get_backend_name()]).get_backend_name())


def make_engine(settings: Settings) -> AsyncEngine:
    """An engine with every wait bounded. Values of statements are kept out of errors and logs."""
    url = database_url(settings)
    dialect = dialect_of(url)
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=settings.database_pool,
        max_overflow=settings.database_overflow,
        pool_timeout=settings.database_timeout.total_seconds(),
        pool_recycle=_RECYCLE_SECONDS,
        **_OPTIONS[dialect](url, settings),
    )
    if dialect is Dialect.SQLITE:
        _prepare_sqlite(engine, settings, Path(url.database or ""))
    return engine


def _prepare_sqlite(engine: AsyncEngine, settings: Settings, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # A loop that is never idle lets go of the interpreter's lock for microseconds at a time, and every time begins
    # the others' wait of this interval anew: at the default of 5 ms commits were seen to wait for 2 seconds.
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, record: Any) -> None:  # noqa: ARG001
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={settings.sqlite_synchronous}",
            "foreign_keys=ON",
            "cache_size=-32000",
            # A commit of 256 chats touches 800 pages: at 1,000 each commit would copy them all into the file.
            "wal_autocheckpoint=4000",
            "journal_size_limit=67108864",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    # A write that begins as a read and upgrades can fail at once, whatever the busy time-out; this one waits.
    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITE):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock_seconds(settings: Settings) -> float:
    """Within the time-out, and enough of it left to do something afterwards. SQLite's own waiting cannot be ended."""
    return settings.database_timeout.total_seconds() / 2


def _sqlite_options(url: URL, settings: Settings) -> dict[str, Any]:
    arguments = {"isolation_level": None, "timeout": _lock_seconds(settings), "cached_statements": 512}
    return {"async_creator": partial(sqlite_driver.connect, url.database or "", **arguments)}


def _postgresql_options(url: URL, settings: Settings) -> dict[str, Any]:  # noqa: ARG001
    seconds = settings.database_timeout.total_seconds()
    arguments = {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": seconds,
        "server_settings": {
            "application_name": "hub",
            "statement_timeout": str(round(seconds * 1_000)),
            # A node that hangs in the middle must not hold its locks for ever.
            "idle_in_transaction_session_timeout": str(round(seconds * 2_000)),
            "jit": "off",
        },
    }
    return {"connect_args": arguments}


def _mysql_options(url: URL, settings: Settings) -> dict[str, Any]:  # noqa: ARG001
    seconds = settings.database_timeout.total_seconds()
    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": seconds,
        # The comment is read by MariaDB only.
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {max(1, round(_lock_seconds(settings)))} "
        f"/*M!100100 , SESSION max_statement_time = {seconds} */",
    }
    return {"connect_args": arguments, "isolation_level": "READ COMMITTED"}


_OPTIONS: Mapping[Dialect, Callable[[URL, Settings], dict[str, Any]]] = {
    Dialect.SQLITE: _sqlite_options,
    Dialect.POSTGRESQL: _postgresql_options,
    Dialect.MYSQL: _mysql_options,
}
