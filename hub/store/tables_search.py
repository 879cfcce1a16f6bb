"""Terms of messages, for full-text search, and each database's own index over them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import DDL, BigInteger, String, Table, event
from sqlmodel import Field

from hub.store.columns import BigKey, LongText, UtcTime
from hub.store.tables import _MYSQL, metadata
from hub.store.tables import Table as Base

INDEX: Final = "ix_message_terms_words"
"""The index over `terms`; alembic leaves it alone, since it is another thing on every database."""
FTS: Final = "message_fts"
"""SQLite's index is a table, with tables of its own."""

_SQLITE: Final = (
    "CREATE VIRTUAL TABLE message_fts USING fts5"
    "(terms, content='message_terms', content_rowid='id', tokenize='ascii', detail='none')",
    "CREATE TRIGGER message_fts_in AFTER INSERT ON message_terms BEGIN "
    "INSERT INTO message_fts(rowid, terms) VALUES (new.id, new.terms); END",
    "CREATE TRIGGER message_fts_out AFTER DELETE ON message_terms BEGIN "
    "INSERT INTO message_fts(message_fts, rowid, terms) VALUES ('delete', old.id, old.terms); END",
    "CREATE TRIGGER message_fts_new AFTER UPDATE OF terms ON message_terms BEGIN "
    "INSERT INTO message_fts(message_fts, rowid, terms) VALUES ('delete', old.id, old.terms); "
    "INSERT INTO message_fts(rowid, terms) VALUES (new.id, new.terms); END",
)
MAKING: Final[Mapping[str, tuple[str, ...]]] = {
    "sqlite": _SQLITE,
    "postgresql": (
        f"CREATE INDEX {INDEX} ON message_terms USING gin (to_tsvector('simple'::regconfig, terms))",
    ),
    "mysql": (f"CREATE FULLTEXT INDEX {INDEX} ON message_terms (terms)",),
}
"""How each database's own index is made, when the table is there."""
UNMAKING: Final[Mapping[str, tuple[str, ...]]] = {"sqlite": (f"DROP TABLE IF EXISTS {FTS}",)}
"""What does not go with the table."""


class MessageTerms(Base, table=True):
    """What a message says, as encoded words, beside all that a search asks for: no other table is needed to find it.

    Of two versions the higher holds: 0 is the message as it was sent, then the number of the control message that
    changed it; a message that was taken back keeps an empty row, so that nobody who is late puts its words back.
    """

    __tablename__ = "message_terms"
    __table_args__ = (_MYSQL,)
    id: int | None = Field(default=None, sa_type=BigKey, primary_key=True)
    message_id: str = Field(sa_type=String(40), unique=True)
    app_id: str = Field(sa_type=String(40))
    conversation_id: str = Field(sa_type=String(40))
    seq: int = Field(sa_type=BigInteger)
    sender_id: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=String(32))
    created_at: datetime = Field(sa_type=UtcTime)
    version: int = Field(default=0, sa_type=BigInteger)
    terms: str = Field(sa_type=LongText)


def _with_its_index(table: Table) -> None:
    for dialect, statements in MAKING.items():
        for statement in statements:
            _listen(table, "after_create", statement, dialect)
    for dialect, statements in UNMAKING.items():
        for statement in statements:
            _listen(table, "before_drop", statement, dialect)


def _listen(table: Table, when: str, statement: str, dialect: str) -> None:
    for name in (dialect, "mariadb") if dialect == "mysql" else (dialect,):
        made = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
        event.listen(table, when, made.execute_if(dialect=name))


_with_its_index(metadata.tables["message_terms"])
