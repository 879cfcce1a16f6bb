"""Many rows in few statements: lists as one parameter, inserts in the shape that each driver is fastest with."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import Any, TypeAlias, cast

import msgspec
from sqlalchemy import BigInteger, String, Table, TextualSelect, column, text
from sqlalchemy import Dialect as SqlDialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import sqlite_driver
from hub.store.sql_engine import Dialect

Rows: TypeAlias = Sequence[tuple[Any, ...]]

# Measured with 1,000 rows of four columns: one step of SQLite takes and gives back the interpreter's lock once, so
# that executemany (a step a row) fell to a tenth beside a busy event loop; beyond 100 rows a statement, parsing
# costs more than it saves.
_SQLITE_ROWS = 100
_SQLITE: SqlDialect = sqlite.dialect()


class Clash(StrEnum):
    """What happens to a row whose key is there already."""

    FAIL = "fail"
    IGNORE = "ignore"
    UPDATE = "update"


@dataclass(frozen=True)
class Insertion:
    """An INSERT. Rows are tuples in the order of `columns`, in the database's own values (times as numbers).

    UPDATE overwrites the `update` columns of the row with the same `key`; the key is also what IGNORE names on
    MySQL, where every unique key counts as on the others.
    """

    table: Table
    columns: tuple[str, ...]
    clash: Clash = Clash.FAIL
    update: tuple[str, ...] = field(default=())

    async def run(self, connection: AsyncConnection, dialect: Dialect, rows: Rows) -> None:
        """Insert the rows, in their order."""
        await insert_all(connection, dialect, [(self, rows)])


async def insert_all(
    connection: AsyncConnection, dialect: Dialect, insertions: Iterable[tuple[Insertion, Rows]]
) -> None:
    """Run these, one after the other; those without rows are left out."""
    await _RUNNERS[dialect](connection, [(insertion, rows) for insertion, rows in insertions if rows])


async def _run_sqlite(connection: AsyncConnection, insertions: Sequence[tuple[Insertion, Rows]]) -> None:
    """All in one visit to the connection's thread, past SQLAlchemy: its errors are sqlite3's own."""

    def script(driver: sqlite3.Connection) -> None:
        for statement, values in sqlite_statements(insertions):
            driver.execute(statement, values)

    if insertions:
        driver = (await connection.get_raw_connection()).driver_connection
        await cast("sqlite_driver.Connection", driver).run(script)


def sqlite_statements(
    insertions: Iterable[tuple[Insertion, Rows]],
) -> Iterable[tuple[str, Sequence[Any]]]:
    """The same as statements for sqlite3."""
    for insertion, rows in insertions:
        for start in range(0, len(rows), _SQLITE_ROWS):
            some = rows[start : start + _SQLITE_ROWS]
            yield _sqlite_text(insertion, len(some), _SQLITE), list(chain.from_iterable(some))


async def _run_postgresql(connection: AsyncConnection, insertions: Sequence[tuple[Insertion, Rows]]) -> None:
    for insertion, rows in insertions:
        arrays = tuple(list(values) for values in zip(*rows, strict=True))
        await connection.exec_driver_sql(_postgresql_text(insertion, connection.dialect), arrays)


async def _run_mysql(connection: AsyncConnection, insertions: Sequence[tuple[Insertion, Rows]]) -> None:
    for insertion, rows in insertions:
        # The driver makes statements of many rows of this, each below the server's packet limit.
        await connection.exec_driver_sql(_mysql_text(insertion, connection.dialect), list(rows))


_RUNNERS: Mapping[Dialect, Callable[..., Awaitable[None]]] = {
    Dialect.SQLITE: _run_sqlite,
    Dialect.POSTGRESQL: _run_postgresql,
    Dialect.MYSQL: _run_mysql,
}


@cache
def _sqlite_text(insertion: Insertion, rows: int, dialect: SqlDialect) -> str:
    one = "(" + ",".join("?" * len(insertion.columns)) + ")"
    return f"{_head(insertion, dialect)} VALUES {','.join([one] * rows)}{_on_conflict(insertion, dialect)}"


@cache
def _postgresql_text(insertion: Insertion, dialect: SqlDialect) -> str:
    kinds = [insertion.table.c[name].type.compile(dialect) for name in insertion.columns]
    arrays = ",".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds, 1))
    clash = _on_conflict(insertion, dialect)
    return f"{_head(insertion, dialect)} SELECT * FROM unnest({arrays}){clash}"  # noqa: S608


@cache
def _mysql_text(insertion: Insertion, dialect: SqlDialect) -> str:
    places = ",".join(["%s"] * len(insertion.columns))
    clash = _on_duplicate(insertion, dialect)
    return f"{_head(insertion, dialect)} VALUES ({places}){clash}"


def _on_duplicate(insertion: Insertion, dialect: SqlDialect) -> str:
    quote = dialect.identifier_preparer.quote
    match insertion.clash:
        case Clash.FAIL:
            return ""
        case Clash.IGNORE:
            # Not INSERT IGNORE, which forgives values that do not fit, too.
            first = quote(insertion.columns[0])
            return f" ON DUPLICATE KEY UPDATE {first} = {first}"
        case Clash.UPDATE if getattr(dialect, "is_mariadb", False):
            changes = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in insertion.update)
            return f" ON DUPLICATE KEY UPDATE {changes}"
        case Clash.UPDATE:
            # MariaDB does not know this, and MySQL warns of the other, which is a round trip more each time.
            changes = ", ".join(f"{quote(name)} = fresh.{quote(name)}" for name in insertion.update)
            return f" AS fresh ON DUPLICATE KEY UPDATE {changes}"


def _head(insertion: Insertion, dialect: SqlDialect) -> str:
    prepare = dialect.identifier_preparer
    names = ",".join(prepare.quote(name) for name in insertion.columns)
    return f"INSERT INTO {prepare.format_table(insertion.table)} ({names})"


def _on_conflict(insertion: Insertion, dialect: SqlDialect) -> str:
    quote = dialect.identifier_preparer.quote
    match insertion.clash:
        case Clash.FAIL:
            return ""
        case Clash.IGNORE:
            return " ON CONFLICT DO NOTHING"
        case Clash.UPDATE:
            key = ", ".join(quote(part.name) for part in insertion.table.primary_key.columns)
            changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in insertion.update)
            return f" ON CONFLICT ({key}) DO UPDATE SET {changes}"


class Listing:
    """A list of values, or of rows of values, as one parameter: `id.in_(listing.select)`, or to join with.

    A statement stays the same whatever the list's length, so that it is compiled and prepared once.
    """

    def __init__(self, dialect: Dialect, **columns: type[int] | type[str]) -> None:
        self._columns = columns
        self._dialect = dialect
        typed = [column(name, BigInteger if kind is int else String) for name, kind in columns.items()]
        self.select: TextualSelect = text(_LISTS[dialect](columns)).columns(*typed)

    def of(self, rows: Sequence[Any]) -> dict[str, Any]:
        """The parameters for these rows: tuples, or plain values where there is one column."""
        if self._dialect is not Dialect.POSTGRESQL:
            return {"listing": msgspec.json.encode(rows).decode()}
        if len(self._columns) == 1:
            return {f"listing_{name}": list(rows) for name in self._columns}
        values = zip(*rows, strict=True) if rows else ((),) * len(self._columns)
        return {f"listing_{name}": list(some) for name, some in zip(self._columns, values, strict=True)}


@cache
def numbers(dialect: Dialect) -> Listing:
    """A list of numbers."""
    return Listing(dialect, id=int)


@cache
def names(dialect: Dialect) -> Listing:
    """A list of texts."""
    return Listing(dialect, id=str)


def _paths(columns: Mapping[str, type]) -> Sequence[tuple[str, type, str]]:
    if len(columns) == 1:
        return [(name, kind, "$") for name, kind in columns.items()]
    return [(name, kind, f"$[{place}]") for place, (name, kind) in enumerate(columns.items())]


def _sqlite_list(columns: Mapping[str, type]) -> str:
    if len(columns) == 1:
        return f"SELECT value AS {next(iter(columns))} FROM json_each(:listing)"  # noqa: S608
    values = ", ".join(f"json_extract(value, '{path}') AS {name}" for name, _, path in _paths(columns))
    return f"SELECT {values} FROM json_each(:listing)"  # noqa: S608


def _postgresql_list(columns: Mapping[str, type]) -> str:
    arrays = ", ".join(
        f"CAST(:listing_{name} AS {'bigint' if kind is int else 'text'}[])" for name, kind in columns.items()
    )
    return f"SELECT * FROM unnest({arrays}) AS listed({', '.join(columns)})"  # noqa: S608


def _mysql_list(columns: Mapping[str, type]) -> str:
    values = ", ".join(
        f"{name} {'BIGINT' if kind is int else 'VARCHAR(200) CHARACTER SET utf8mb4'} PATH '{path}'"
        for name, kind, path in _paths(columns)
    )
    names = ", ".join(f"listed.{name}" for name in columns)
    return f"SELECT {names} FROM JSON_TABLE(:listing, '$[*]' COLUMNS ({values})) AS listed"  # noqa: S608


_LISTS: Mapping[Dialect, Callable[[Mapping[str, type]], str]] = {
    Dialect.SQLITE: _sqlite_list,
    Dialect.POSTGRESQL: _postgresql_list,
    Dialect.MYSQL: _mysql_list,
}
