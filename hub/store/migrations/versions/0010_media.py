"""Uploaded files."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("mime", sa.String(length=127), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_media_app_id_app")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_media_user_id_id"), "media", ["user_id", "id"], unique=False)
    op.create_index(op.f("ix_media_state_touched_at"), "media", ["state", "touched_at"], unique=False)
    op.create_table(
        "media_ref",
        sa.Column("media_id", sa.String(length=40), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("media_id", "message_id", name=op.f("pk_media_ref")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_media_ref_message_id"), "media_ref", ["message_id"], unique=False)
    op.create_index(op.f("ix_media_ref_created_at"), "media_ref", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_table("media_ref")
    op.drop_table("media")
