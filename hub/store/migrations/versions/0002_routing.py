"""What routing schedules, gathers and counts, and what a delivery remembers of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_DELIVERY = ("priority", "tried_at", "doubt_since", "spent", "replayed_at", "callback")


def upgrade() -> None:
    _remember()
    _scheduled()
    _frequency()
    _digest()


def _remember() -> None:
    with op.batch_alter_table("notification") as notification:
        notification.add_column(sa.Column("thread", sa.String(length=200), nullable=True))
        notification.add_column(sa.Column("extras", _LONG_TEXT, nullable=True))
    op.create_index(
        op.f("ix_notification_app_id_collapse_key_id"), "notification", ["app_id", "collapse_key", "id"]
    )
    op.create_index(op.f("ix_notification_app_id_thread_id"), "notification", ["app_id", "thread", "id"])
    with op.batch_alter_table("delivery") as delivery:
        delivery.add_column(
            sa.Column("priority", sa.String(length=16), nullable=False, server_default="normal")
        )
        delivery.add_column(sa.Column("tried_at", sa.BigInteger(), nullable=True))
        delivery.add_column(sa.Column("doubt_since", sa.BigInteger(), nullable=True))
        delivery.add_column(sa.Column("spent", sa.Integer(), nullable=False, server_default="0"))
        delivery.add_column(sa.Column("replayed_at", sa.BigInteger(), nullable=True))
        delivery.add_column(sa.Column("callback", sa.String(length=64), nullable=True))
    op.create_index(
        op.f("ix_delivery_app_id_state_created_at"), "delivery", ["app_id", "state", "created_at"]
    )
    with op.batch_alter_table("receipt_parked") as parked:
        parked.add_column(sa.Column("about", sa.String(length=64), nullable=False, server_default=""))
    op.create_index(op.f("ix_receipt_parked_about_created_at"), "receipt_parked", ["about", "created_at"])
    with op.batch_alter_table("attempt") as attempt:
        attempt.add_column(sa.Column("code", sa.String(length=32), nullable=False, server_default=""))


def _scheduled() -> None:
    op.create_table(
        "scheduled",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("app_id", sa.String(length=40), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("send_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("draft", _LONG_TEXT, nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=True),
        sa.Column("idempotency_key", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled")),
        sa.UniqueConstraint("app_id", "dedupe_key", name=op.f("uq_scheduled_app_id_dedupe_key")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_scheduled_idempotency_key")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_scheduled_state_send_at"), "scheduled", ["state", "send_at"])


def _frequency() -> None:
    op.create_table(
        "frequency_use",
        sa.Column("user_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "rule", "window_start", name=op.f("pk_frequency_use")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_frequency_use_ends_at"), "frequency_use", ["ends_at"])
    op.create_table(
        "frequency_taken",
        sa.Column("delivery_id", sa.String(length=40), nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_frequency_taken")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_frequency_taken_at"), "frequency_taken", ["at"])


def _digest() -> None:
    op.create_table(
        "digest_window",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=240), nullable=False),
        sa.Column("slot", sa.String(length=40), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=False),
        sa.Column("sender_id", sa.String(length=40), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digest_window")),
        sa.UniqueConstraint(
            "user_id", "channel", "key", "slot", name=op.f("uq_digest_window_user_id_channel_key_slot")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_digest_window_closes_at"), "digest_window", ["closes_at"])
    op.create_table(
        "digest_member",
        sa.Column("delivery_id", sa.String(length=40), nullable=False),
        sa.Column("window_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_digest_member")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_digest_member_window_id"), "digest_member", ["window_id"])


def downgrade() -> None:
    for table in ("digest_member", "digest_window", "frequency_taken", "frequency_use", "scheduled"):
        op.drop_table(table)
    with op.batch_alter_table("attempt") as attempt:
        attempt.drop_column("code")
    op.drop_index(op.f("ix_receipt_parked_about_created_at"), "receipt_parked")
    with op.batch_alter_table("receipt_parked") as parked:
        parked.drop_column("about")
    op.drop_index(op.f("ix_delivery_app_id_state_created_at"), "delivery")
    with op.batch_alter_table("delivery") as delivery:
        for name in _DELIVERY:
            delivery.drop_column(name)
    op.drop_index(op.f("ix_notification_app_id_thread_id"), "notification")
    op.drop_index(op.f("ix_notification_app_id_collapse_key_id"), "notification")
    with op.batch_alter_table("notification") as notification:
        notification.drop_column("thread")
        notification.drop_column("extras")
