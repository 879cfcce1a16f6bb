"""The newest of many queues in one statement: a range of an index for each, with a limit of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, TextClause, bindparam, text

from hub.core.message import QueueSpan
from hub.store.sql_engine import Dialect

SPANS: Final = 64
"""Spans that one statement reads at most."""


class Spans:
    """Statements for powers of two, so that few are compiled and prepared. MariaDB knows no LATERAL, and a join with a
    listing would let MySQL read whole queues."""

    def __init__(self, dialect: Dialect) -> None:
        self._hint = " FORCE INDEX (PRIMARY)" if dialect is Dialect.MYSQL else ""
        self._statements: dict[int, TextClause] = {}

    def of(self, wants: Sequence[QueueSpan]) -> tuple[TextClause, dict[str, Any]]:
        """The statement and its parameters. Rows tell the span's `place`, and come in any order."""
        size = 1 << (len(wants) - 1).bit_length()
        statement = self._statements.get(size)
        if statement is None:
            statement = self._statements[size] = self._statement(size)
        parameters: dict[str, Any] = {}
        for place in range(size):
            # What is too many asks for nothing.
            user, after, limit = wants[place] if place < len(wants) else (wants[0].user, 0, 0)
            parameters |= {f"user{place}": user, f"after{place}": after, f"most{place}": limit}
        return statement, parameters

    def _statement(self, size: int) -> TextClause:
        parts = (
            f"SELECT * FROM (SELECT {place} AS place, user_seq, message_id, inbox_seq "  # noqa: S608
            f"FROM queue_entry{self._hint} WHERE user_id = :user{place} AND user_seq > :after{place} "
            f"ORDER BY user_seq LIMIT :most{place}) AS span{place}"
            for place in range(size)
        )
        names = (f"{name}{place}" for place in range(size) for name in ("user", "after", "most"))
        return text(" UNION ALL ".join(parts)).bindparams(
            *(bindparam(name, type_=BigInteger) for name in names)
        )
