"""Retention by app, removal of users."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def upgrade() -> None:
    op.create_table(
        "user_removal",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("name_hash", sa.String(length=64), nullable=False),
        sa.Column("messages", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_removal")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_user_removal_state_due_at"), "user_removal", ["state", "due_at"], unique=False)
    op.create_index(op.f("ix_user_removal_name_hash"), "user_removal", ["name_hash"], unique=False)
    op.create_index(op.f("ix_user_removal_app_id_id"), "user_removal", ["app_id", "id"], unique=False)
    # The old messages of one app, by their ids, which sort by time.
    op.create_index(op.f("ix_message_app_id_id"), "message", ["app_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_message_app_id_id"), table_name="message")
    op.drop_table("user_removal")
