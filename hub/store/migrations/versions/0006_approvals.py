"""Tasks that people decide."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
_TABLES = (
    "task_reminder",
    "task_follow_up",
    "task_event",
    "task_timer",
    "task_holder",
    "task_action",
    "task_cc",
    "task_assignee",
    "task",
)


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")


def _string(name: str, length: int, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=null)


def _long(name: str) -> sa.Column[str]:
    return sa.Column(name, _text(), nullable=False)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _table(name: str, *columns: sa.Column[int] | sa.Column[str] | sa.Column[bool], key: tuple[str, ...]) -> None:
    """Everything but the task itself belongs to one."""
    op.create_table(
        name,
        _string("task_id", 40),
        *columns,
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f(f"fk_{name}_task_id_task")),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")),
        **_MYSQL,
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns), unique=False)


def upgrade() -> None:
    op.create_table(
        "task",
        _string("id", 40),
        _string("app_id", 40),
        _string("business_id", 128),
        _string("instance_id", 128),
        _string("sign_mode", 8),
        _string("state", 16),
        _big("version"),
        _number("rev"),
        _long("body"),
        _big("due_at", null=True),
        _string("decided_by", 40, null=True),
        _big("created_at"),
        _big("updated_at"),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_task_app_id_app")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("app_id", "business_id", name=op.f("uq_task_app_id_business_id")),
        **_MYSQL,
    )
    _index("task", "app_id", "instance_id")
    _index("task", "app_id", "state", "id")
    _people()
    _actions()
    _table("task_timer", _string("name", 32), _big("due_at"), key=("task_id", "name"))
    _index("task_timer", "due_at")
    _table(
        "task_event",
        _string("id", 40),
        _big("at"),
        _string("name", 48),
        _string("actor", 128),
        _long("detail"),
        key=("task_id", "id"),
    )
    _work()


def _people() -> None:
    _table(
        "task_assignee",
        _big("user_id"),
        _number("position"),
        _string("person", 128),
        _string("state", 16),
        _string("given_by", 128, null=True),
        _string("action", 64, null=True),
        _long("comment"),
        _big("acted_at", null=True),
        key=("task_id", "user_id"),
    )
    _index("task_assignee", "user_id", "state", "task_id")
    _table("task_cc", _big("user_id"), _number("position"), _string("person", 128), key=("task_id", "user_id"))
    _index("task_cc", "user_id", "task_id")
    _table(
        "task_holder",
        _string("notification_id", 40),
        _big("user_id"),
        _string("message_id", 40),
        sa.Column("cc", sa.Boolean(), nullable=False),
        key=("task_id", "notification_id", "user_id"),
    )
    _index("task_holder", "message_id")


def _actions() -> None:
    op.create_table(
        "task_action",
        _string("id", 40),
        _string("task_id", 40),
        _string("slot", 40, null=True),
        _big("user_id"),
        _string("person", 128),
        _string("action", 64),
        _string("effect", 16),
        _long("comment"),
        _string("client_action_id", 64, null=True),
        _big("version"),
        _string("state", 24),
        _long("reason"),
        _string("acted_from", 32),
        _big("created_at"),
        _big("settled_at", null=True),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_task_action_task_id_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_action")),
        sa.UniqueConstraint("task_id", "slot", name=op.f("uq_task_action_task_id_slot")),
        sa.UniqueConstraint(
            "task_id",
            "client_action_id",
            "user_id",
            name=op.f("uq_task_action_task_id_client_action_id_user_id"),
        ),
        **_MYSQL,
    )


def _work() -> None:
    _table(
        "task_follow_up",
        _string("id", 40),
        _string("app_id", 40),
        _long("what"),
        _number("tries"),
        _big("due_at"),
        _big("created_at"),
        key=("id",),
    )
    _index("task_follow_up", "task_id")
    _index("task_follow_up", "due_at")
    _table(
        "task_reminder",
        _string("id", 40),
        _string("requester", 140),
        _big("user_id"),
        _big("at"),
        _number("level"),
        key=("id",),
    )
    _index("task_reminder", "user_id", "at")
    _index("task_reminder", "task_id")


def downgrade() -> None:
    for name in _TABLES:
        op.drop_table(name)
