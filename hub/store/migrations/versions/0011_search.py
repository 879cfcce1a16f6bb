"""Full-text search: terms of messages under each database's own index, and which batches have been indexed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FTS = "message_fts"
_INDEX = "ix_message_terms_words"
_SQLITE = (
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
_MAKING = {
    "sqlite": _SQLITE,
    "postgresql": (
        f"CREATE INDEX {_INDEX} ON message_terms USING gin (to_tsvector('simple'::regconfig, terms))",
    ),
    "mysql": (f"CREATE FULLTEXT INDEX {_INDEX} ON message_terms (terms)",),
}


def upgrade() -> None:
    op.create_table(
        "message_terms",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("conversation_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sender_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("terms", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_terms")),
        sa.UniqueConstraint("message_id", name=op.f("uq_message_terms_message_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    dialect = op.get_bind().dialect.name
    for statement in _MAKING["mysql" if dialect == "mariadb" else dialect]:
        op.execute(statement)
    with op.batch_alter_table("publish_batch") as batch:
        batch.add_column(sa.Column("indexed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.create_index(op.f("ix_publish_batch_indexed_created_at"), ["indexed", "created_at"])


def downgrade() -> None:
    with op.batch_alter_table("publish_batch") as batch:
        batch.drop_index(op.f("ix_publish_batch_indexed_created_at"))
        batch.drop_column("indexed")
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TABLE {_FTS}")
    op.drop_table("message_terms")
