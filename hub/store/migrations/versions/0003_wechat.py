"""Accounts at WeChat, their templates, addresses and subscriptions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_TABLES = (
    "wechat_account",
    "wechat_binding",
    "wechat_ticket",
    "wechat_template",
    "wechat_grant",
    "wechat_grant_hold",
    "wechat_grant_once",
)


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")


def upgrade() -> None:
    _accounts()
    _bindings()
    _templates()
    _grants()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


def _accounts() -> None:
    op.create_table(
        "wechat_account",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("options", _text(), nullable=False),
        sa.Column("secrets", _text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_wechat_account_app_id_app")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wechat_account")),
        sa.UniqueConstraint(
            "app_id", "channel", "external_id", name=op.f("uq_wechat_account_app_id_channel_external_id")
        ),
        **_OPTIONS,
    )


def _bindings() -> None:
    op.create_table(
        "wechat_binding",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("union_id", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("proved_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "address", name=op.f("pk_wechat_binding")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_wechat_binding_union_id"), "wechat_binding", ["union_id"], unique=False)
    op.create_index(
        op.f("ix_wechat_binding_user_id_account_id"),
        "wechat_binding",
        ["user_id", "account_id"],
        unique=False,
    )
    op.create_table(
        "wechat_ticket",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("return_to", _text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_wechat_ticket")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_wechat_ticket_expires_at"), "wechat_ticket", ["expires_at"], unique=False)


def _templates() -> None:
    op.create_table(
        "wechat_template",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("template_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("title", sa.String(length=256), nullable=False),
        sa.Column("content", _text(), nullable=False),
        sa.Column("fields", _text(), nullable=False),
        sa.Column("enums", _text(), nullable=False),
        sa.Column("example", _text(), nullable=False),
        sa.Column("synced_at", sa.BigInteger(), nullable=True),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "template_id", name=op.f("pk_wechat_template")),
        **_OPTIONS,
    )


def _grants() -> None:
    op.create_table(
        "wechat_grant",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("template_id", sa.String(length=128), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("unlimited", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "address", "template_id", name=op.f("pk_wechat_grant")),
        **_OPTIONS,
    )
    op.create_table(
        "wechat_grant_hold",
        sa.Column("delivery_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("template_id", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("reserved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_wechat_grant_hold")),
        **_OPTIONS,
    )
    op.create_index(
        op.f("ix_wechat_grant_hold_account_id_address_template_id"),
        "wechat_grant_hold",
        ["account_id", "address", "template_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_wechat_grant_hold_state_reserved_at"),
        "wechat_grant_hold",
        ["state", "reserved_at"],
        unique=False,
    )
    op.create_table(
        "wechat_grant_once",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_wechat_grant_once")),
        **_OPTIONS,
    )
    op.create_index(
        op.f("ix_wechat_grant_once_account_id"), "wechat_grant_once", ["account_id"], unique=False
    )
    op.create_index(
        op.f("ix_wechat_grant_once_created_at"), "wechat_grant_once", ["created_at"], unique=False
    )
