"""Database errors mean one of four things, by their codes."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.store.sql_errors import Fault, fault, lost_connection, name


class PgError(Exception):
    """As SQLAlchemy's asyncpg adapter has it."""

    def __init__(self, pgcode: str | None, orig: Exception | None = None) -> None:
        super().__init__("password=geheim")
        self.pgcode = pgcode
        self.orig = orig


class WrongArgument(ValueError):
    """As asyncpg.DataError, which is an InterfaceError and a ValueError."""


def sqlite_error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("secret words")
    error.sqlite_errorcode = code
    return error


def wrapped(cause: Exception, kind: type[DBAPIError] = DBAPIError, *, lost: bool = False) -> DBAPIError:
    return kind("SELECT 1", None, cause, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (sqlite_error(sqlite3.IntegrityError, 2067), Fault.TAKEN),
        (sqlite_error(sqlite3.IntegrityError, 1555), Fault.TAKEN),
        (sqlite_error(sqlite3.IntegrityError, 787), Fault.BUG),
        (sqlite_error(sqlite3.OperationalError, 1), Fault.BUG),
        (sqlite_error(sqlite3.OperationalError, 5), Fault.AWAY),
        (sqlite_error(sqlite3.OperationalError, 517), Fault.AWAY),
        (sqlite_error(sqlite3.OperationalError, 13), Fault.AWAY),
        (sqlite_error(sqlite3.OperationalError, 8), Fault.AWAY),
        (sqlite_error(sqlite3.DatabaseError, 11), Fault.AWAY),
    ],
)
def test_sqlite_wrapped_or_not(error: sqlite3.Error, meaning: Fault) -> None:
    assert fault(error) is meaning
    assert fault(wrapped(error)) is meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("23505", Fault.TAKEN),
        ("23503", Fault.BUG),
        ("40P01", Fault.AGAIN),
        ("40001", Fault.AGAIN),
        ("42P01", Fault.BUG),
        ("22021", Fault.BUG),
        ("53100", Fault.AWAY),
        ("25006", Fault.AWAY),
        ("57014", Fault.AWAY),
        ("57P01", Fault.AWAY),
        ("08006", Fault.AWAY),
        ("28P01", Fault.AWAY),
    ],
)
def test_postgresql(code: str, meaning: Fault) -> None:
    assert fault(wrapped(PgError(code))) is meaning


@pytest.mark.parametrize(
    ("number", "kind", "meaning"),
    [
        (1062, IntegrityError, Fault.TAKEN),
        (1452, IntegrityError, Fault.BUG),
        (1213, OperationalError, Fault.AGAIN),
        (1205, OperationalError, Fault.AGAIN),
        (1045, OperationalError, Fault.AWAY),
        (2003, OperationalError, Fault.AWAY),
        (2013, OperationalError, Fault.AWAY),
        (1290, OperationalError, Fault.AWAY),
        (1146, ProgrammingError, Fault.BUG),
        (2006, ProgrammingError, Fault.BUG),
    ],
)
def test_mysql(number: int, kind: type[DBAPIError], meaning: Fault) -> None:
    assert fault(wrapped(Exception(number, "words"), kind)) is meaning


def test_a_lost_connection_is_away_whatever_its_class() -> None:
    error = wrapped(Exception(2006, "gone"), ProgrammingError, lost=True)
    assert fault(error) is Fault.AWAY
    assert lost_connection(error)
    assert not lost_connection(OSError())


def test_what_the_driver_refuses_to_send_is_ours() -> None:
    assert fault(wrapped(PgError(None, WrongArgument()), InterfaceError)) is Fault.BUG
    assert fault(wrapped(PgError(None, Exception()), InterfaceError)) is Fault.AWAY


def test_time_outs_and_the_network_are_away() -> None:
    for error in (TimeoutError(), ConnectionRefusedError(), PoolTimeout()):
        assert fault(error) is Fault.AWAY
    assert fault(ValueError()) is Fault.BUG


def test_names_tell_the_code_and_no_words() -> None:
    assert name(wrapped(PgError("57P01"))) == "PgError 57P01"
    assert name(wrapped(Exception(2003, "root@10.0.0.1"))) == "Exception 2003"
    assert name(sqlite_error(sqlite3.OperationalError, 5)) == "OperationalError 5"
    assert name(ConnectionRefusedError(111, "10.0.0.1")) == "ConnectionRefusedError 111"
    assert name(TimeoutError()) == "TimeoutError"
