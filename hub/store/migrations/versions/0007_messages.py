"""Messages that tell of changes, answers, forwards and edits; reactions, pins, mentions, what one user hid."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_TABLES = ("message_edit", "hidden", "pin", "reaction_count", "reaction", "mention")


def _id(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=40), nullable=False)


def _emoji() -> sa.Column[str]:
    return sa.Column("emoji", sa.String(length=32), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _added() -> sa.Column[bool]:
    return sa.Column("added", sa.Boolean(), nullable=False)


def _table(
    name: str, *columns: sa.Column[int] | sa.Column[str] | sa.Column[bool], key: tuple[str, ...]
) -> None:
    op.create_table(name, *columns, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")), **_MYSQL)


def upgrade() -> None:
    with op.batch_alter_table("message") as message:
        message.add_column(sa.Column("control", sa.Boolean(), nullable=False, server_default=sa.false()))
        message.add_column(sa.Column("reply_to", sa.String(length=40), nullable=True))
        message.add_column(sa.Column("forward_of", sa.String(length=40), nullable=True))
        message.add_column(sa.Column("edited_at", sa.BigInteger(), nullable=True))
        message.add_column(sa.Column("changed_seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_member_read", "member", ["conversation_id", "read_seq", "user_id"])
    _table(
        "mention",
        _id("conversation_id"),
        _big("user_id"),
        _big("seq"),
        key=("conversation_id", "user_id", "seq"),
    )
    op.create_index("ix_mention_seq", "mention", ["conversation_id", "seq"])
    _table(
        "reaction",
        _id("message_id"),
        _emoji(),
        _big("user_id"),
        _added(),
        _big("seq"),
        key=("message_id", "emoji", "user_id"),
    )
    op.create_index("ix_reaction_user", "reaction", ["user_id", "message_id"])
    _table("reaction_count", _id("message_id"), _emoji(), _big("count"), key=("message_id", "emoji"))
    _table(
        "pin",
        _id("conversation_id"),
        _id("message_id"),
        _added(),
        _big("seq"),
        _big("by_id"),
        _big("created_at"),
        key=("conversation_id", "message_id"),
    )
    _table(
        "hidden",
        _big("user_id"),
        _id("conversation_id"),
        _big("seq"),
        key=("user_id", "conversation_id", "seq"),
    )
    _table("message_edit", _id("message_id"), _id("control_id"), key=("message_id", "control_id"))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ix_member_read", table_name="member")
    with op.batch_alter_table("message") as message:
        for column in ("changed_seq", "edited_at", "forward_of", "reply_to", "control"):
            message.drop_column(column)
