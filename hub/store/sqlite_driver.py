"""aiosqlite with one visit to its thread a statement, where SQLAlchemy's adapter makes four.

Each visit hands the interpreter's lock over and back: beside a busy event loop that is what a statement costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import aiosqlite

T = TypeVar("T")
_Parameters = Sequence[Any]


class _Done(NamedTuple):
    rows: list[Any]
    description: Any
    rowcount: int
    lastrowid: int | None


_NOTHING = _Done([], None, -1, None)


class Cursor:
    """What SQLAlchemy's adapter uses of a cursor. A statement's rows are fetched as it is executed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._done = _NOTHING
        self.arraysize = 1

    async def __aenter__(self) -> Cursor:
        return self

    @property
    def description(self) -> Any:
        """As in PEP 249."""
        return self._done.description

    @property
    def rowcount(self) -> int:
        """As in PEP 249."""
        return self._done.rowcount

    @property
    def lastrowid(self) -> int | None:
        """As in PEP 249."""
        return self._done.lastrowid

    async def execute(self, statement: str, parameters: _Parameters = ()) -> Cursor:
        """Run one statement and fetch what it returns."""

        def run(connection: sqlite3.Connection) -> _Done:
            cursor = connection.execute(statement, parameters)
            return _Done(cursor.fetchall(), cursor.description, cursor.rowcount, cursor.lastrowid)

        self._done = await self._connection.run(run)
        return self

    async def executemany(self, statement: str, parameters: Sequence[_Parameters]) -> Cursor:
        """Run one statement for each set of parameters."""

        def run(connection: sqlite3.Connection) -> _Done:
            cursor = connection.executemany(statement, parameters)
            return _Done([], None, cursor.rowcount, cursor.lastrowid)

        self._done = await self._connection.run(run)
        return self

    async def fetchall(self) -> list[Any]:
        """All rows of the last statement."""
        return self._done.rows

    async def close(self) -> None:
        """Nothing is left open."""


class Connection(aiosqlite.Connection):
    """A connection with such cursors."""

    def cursor(self) -> Any:
        """A cursor; it costs nothing until it executes."""
        return Cursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` makes of the connection, in the connection's own thread."""
        return await self._execute(work, self._conn)  # type: ignore[no-any-return,no-untyped-call]

    async def rollback(self) -> None:
        """Undo what is not committed; where nothing is, the thread is left alone."""
        if self.in_transaction:
            await super().rollback()


def connect(database: str, **options: Any) -> Connection:
    """A connection to await, as `aiosqlite.connect` makes it."""

    def connector() -> sqlite3.Connection:
        opened: sqlite3.Connection = sqlite3.connect(database, **options)
        return opened

    made = Connection(connector, iter_chunk_size=64)
    made._thread.daemon = True  # noqa: SLF001  (as SQLAlchemy does with those that it makes)
    return made
