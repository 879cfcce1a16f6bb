"""What a database error means for the caller, by the databases' own codes. Their words never leave the log.

SQLite: primary result codes. PostgreSQL: the class (first two characters) or the whole of the SQLSTATE.
MySQL and MariaDB: error numbers, else the class of the SQLSTATE.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import Enum, auto

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Fault(Enum):
    """What to do about it."""

    TAKEN = auto()
    """A key exists already."""
    AGAIN = auto()
    """Rolled back for the sake of another transaction: begin again."""
    AWAY = auto()
    """The database cannot do it now."""
    BUG = auto()
    """Ours."""


_SQLITE: Mapping[int, Fault] = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: Fault.TAKEN,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: Fault.TAKEN,
    sqlite3.SQLITE_CONSTRAINT: Fault.BUG,
    sqlite3.SQLITE_ERROR: Fault.BUG,
    sqlite3.SQLITE_TOOBIG: Fault.BUG,
    sqlite3.SQLITE_MISMATCH: Fault.BUG,
    sqlite3.SQLITE_MISUSE: Fault.BUG,
    sqlite3.SQLITE_RANGE: Fault.BUG,
}
_POSTGRESQL: Mapping[str, Fault] = {
    "23505": Fault.TAKEN,
    "40001": Fault.AGAIN,
    "40P01": Fault.AGAIN,
    "55P03": Fault.AGAIN,
    "0A": Fault.BUG,
    "22": Fault.BUG,
    "23": Fault.BUG,
    "26": Fault.BUG,
    "42": Fault.BUG,
}
_MYSQL: Mapping[int, Fault] = {
    1062: Fault.TAKEN,
    1203: Fault.AWAY,
    1205: Fault.AGAIN,
    1213: Fault.AGAIN,
    1226: Fault.AWAY,
}
# Classes of SQLSTATE that MySQL's driver calls operational, though the statement is at fault.
_MYSQL_BUGS = ("21", "22", "42")
# Where a code is not in the tables above, the driver's class decides; all other classes are AWAY.
_BUGS = (IntegrityError, ProgrammingError, DataError, NotSupportedError)


def fault(error: BaseException) -> Fault:
    """What this error means."""
    if isinstance(error, DBAPIError):
        return _known(error.orig) or (Fault.BUG if _is_ours(error) else Fault.AWAY)
    if isinstance(error, sqlite3.Error):
        return _known(error) or Fault.AWAY
    return Fault.AWAY if isinstance(error, PoolTimeout | OSError | TimeoutError) else Fault.BUG


def lost_connection(error: BaseException) -> bool:
    """Whether the connection went away under the statement."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


# What a database verb can raise: SQLAlchemy's, sqlite3's own from bulk inserts, and the network's.
ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError)


def name(error: BaseException) -> str:
    """The error's class and code: enough to look it up, with nothing in it that somebody typed."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = _sqlite_code(cause) or _sqlstate(cause) or _mysql_number(cause)
    return type(cause).__name__ if code is None else f"{type(cause).__name__} {code}"


def _known(cause: BaseException | None) -> Fault | None:
    if isinstance(cause, sqlite3.Error):
        code = _sqlite_code(cause) or 0
        return _SQLITE.get(code) or _SQLITE.get(code & 0xFF)
    if (sqlstate := _sqlstate(cause)) is not None:
        return _POSTGRESQL.get(sqlstate) or _POSTGRESQL.get(sqlstate[:2])
    known = _MYSQL.get(_mysql_number(cause) or 0)
    ours = (getattr(cause, "sqlstate", None) or "")[:2] in _MYSQL_BUGS
    return known or (Fault.BUG if ours else None)


def _sqlite_code(cause: BaseException | None) -> int | None:
    # What the module itself finds ("no active connection") carries no code.
    return getattr(cause, "sqlite_errorcode", None)


def _sqlstate(cause: BaseException | None) -> str | None:
    return getattr(cause, "pgcode", None)


def _mysql_number(cause: BaseException | None) -> int | None:
    number = cause.args[0] if cause is not None and cause.args else None
    return number if isinstance(number, int) else None


def _is_ours(error: DBAPIError) -> bool:
    """By the driver's class, for codes that are in no table. asyncpg calls a wrong argument an InterfaceError."""
    wrong_argument = isinstance(getattr(error.orig, "orig", None), ValueError | TypeError)
    return wrong_argument or (isinstance(error, _BUGS) and not error.connection_invalidated)
