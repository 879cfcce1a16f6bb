"""Column types that behave the same on SQLite, PostgreSQL and MySQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, LargeBinary, Text
from sqlalchemy.dialects.mysql import MEDIUMBLOB, MEDIUMTEXT
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=value)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime kept as microseconds since the epoch.

    MySQL's DATETIME drops microseconds and SQLite's comes back naive; a number is exact, small and sorts.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Aware datetime to number; a naive one is refused by the subtraction."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Number to aware UTC datetime."""
        return None if value is None else from_micros(int(value))


# SQLite autoincrements only an INTEGER primary key.
BigKey = BigInteger().with_variant(Integer(), "sqlite")
# MySQL's TEXT and BLOB end at 65,535 bytes.
LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
LongBinary = LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb")
