"""Groups and threads: announcement, silence, dissolution, how far read diffusion reached; notices to be sent."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_COLUMNS = (
    "read_until",
    "owner_id",
    "dissolved_at",
    "silenced",
    "max_members",
    "is_open",
    "invite",
    "subject",
    "avatar",
)


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")


def _string(name: str, length: int, given: str | None = None, *, null: bool = False) -> sa.Column[str]:
    default = None if given is None else sa.text(f"'{given}'")
    return sa.Column(name, sa.String(length=length), nullable=null, server_default=default)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))


def _maybe(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=True)


def upgrade() -> None:
    with op.batch_alter_table("conversation") as conversation:
        conversation.add_column(_string("avatar", 512, ""))
        conversation.add_column(_string("subject", 200, null=True))
        conversation.add_column(_string("invite", 8, "admins"))
        conversation.add_column(_flag("is_open"))
        conversation.add_column(_number("max_members"))
        conversation.add_column(_flag("silenced"))
        conversation.add_column(_maybe("dissolved_at"))
        conversation.add_column(_maybe("owner_id"))
        conversation.add_column(_number("read_until"))
    with op.batch_alter_table("member") as member:
        member.add_column(_maybe("silenced_until"))
    _one_owner_each()
    op.create_table(
        "announcement",
        _string("conversation_id", 40),
        sa.Column("text", _text(), nullable=False),
        _string("by_user", 128, null=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.id"],
            name=op.f("fk_announcement_conversation_id_conversation"),
        ),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_announcement")),
        **_MYSQL,
    )
    op.create_table(
        "group_bar",
        _string("conversation_id", 40),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        _maybe("silenced_until"),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_group_bar")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_group_bar_user_id"), "group_bar", ["user_id"])
    op.create_table(
        "notice",
        _string("id", 64),
        _string("app_id", 40),
        _string("conversation_id", 40),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("body", _text(), nullable=False),
        sa.Column("also", _text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        **_MYSQL,
    )
    op.create_index(
        op.f("ix_notice_conversation_id_version_place"), "notice", ["conversation_id", "version", "place"]
    )
    op.create_index(op.f("ix_notice_created_at"), "notice", ["created_at"])


def _one_owner_each() -> None:
    """Of several owners the one who is a user for longest stays it; the others go on as admins."""
    op.execute(
        "UPDATE conversation SET owner_id = (SELECT MIN(member.user_id) FROM member "
        "WHERE member.conversation_id = conversation.id AND member.role = 'owner') WHERE kind = 'group'"
    )
    op.execute(
        "UPDATE member SET role = 'admin' WHERE role = 'owner' AND user_id <> "
        "(SELECT conversation.owner_id FROM conversation WHERE conversation.id = member.conversation_id)"
    )


def downgrade() -> None:
    op.drop_table("notice")
    op.drop_table("group_bar")
    op.drop_table("announcement")
    with op.batch_alter_table("member") as member:
        member.drop_column("silenced_until")
    with op.batch_alter_table("conversation") as conversation:
        for column in _COLUMNS:
            conversation.drop_column(column)
