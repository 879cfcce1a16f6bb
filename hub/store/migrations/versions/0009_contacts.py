"""Contacts, and what a member keeps of a conversation: pinned, draft, cleared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "contact",
        sa.Column("owner_id", _KEY, nullable=False),
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("alias", sa.String(length=128), nullable=False),
        sa.Column("folded", sa.String(length=512), nullable=False),
        sa.Column("note", _TEXT, nullable=False),
        sa.Column("tags", _TEXT, nullable=False),
        sa.Column("starred", sa.Boolean(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_contact_owner_id_user")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_contact_user_id_user")),
        sa.PrimaryKeyConstraint("owner_id", "user_id", name=op.f("pk_contact")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_contact_user_id_blocked"), "contact", ["user_id", "blocked"])
    with op.batch_alter_table("member") as member:
        member.add_column(sa.Column("pinned_at", sa.BigInteger(), nullable=True))
        member.add_column(sa.Column("muted_until", sa.BigInteger(), nullable=True))
        member.add_column(sa.Column("draft", _TEXT, nullable=True))
        member.add_column(sa.Column("draft_at", sa.BigInteger(), nullable=True))
        member.add_column(sa.Column("cleared_seq", sa.BigInteger(), nullable=False, server_default="0"))
        member.add_column(sa.Column("marked_unread", sa.Boolean(), nullable=False, server_default=sa.false()))
        member.add_column(sa.Column("nickname", sa.String(length=64), nullable=False, server_default=""))
        member.add_column(sa.Column("blocked", sa.Boolean(), nullable=False, server_default=sa.false()))
        member.add_column(sa.Column("state_rev", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("member") as member:
        for column in (
            "state_rev",
            "blocked",
            "nickname",
            "marked_unread",
            "cleared_seq",
            "draft_at",
            "draft",
            "muted_until",
            "pinned_at",
        ):
            member.drop_column(column)
    op.drop_table("contact")
