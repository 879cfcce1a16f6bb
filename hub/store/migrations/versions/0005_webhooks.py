"""Webhooks: endpoints, events, and each one's way there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _long_text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("events", _long_text(), nullable=False),
        sa.Column("description", sa.String(length=256), nullable=False),
        sa.Column("secrets", _long_text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("disabled_reason", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_webhook_endpoint_app_id_app")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_webhook_endpoint_app_id"), "webhook_endpoint", ["app_id"], unique=False)
    op.create_table(
        "webhook_event",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", _long_text(), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_event")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_webhook_event_at"), "webhook_event", ["at"], unique=False)
    op.create_table(
        "webhook_delivery",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=512), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "endpoint_id", name=op.f("pk_webhook_delivery")),
        **_MYSQL,
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["endpoint_id", "due_at"], unique=False)
    op.create_index(
        "ix_webhook_delivery_listed",
        "webhook_delivery",
        ["endpoint_id", "created_at", "event_id"],
        unique=False,
    )
    op.create_index(
        "ix_webhook_delivery_state",
        "webhook_delivery",
        ["endpoint_id", "state", "updated_at"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook_event")
    op.drop_table("webhook_endpoint")
