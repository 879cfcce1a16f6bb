"""The tables of approvals: tasks, who is asked, what they did, who holds a card, and what is still to be done."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, UniqueConstraint
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import _MYSQL, Table, _id


class TaskRow(Table, table=True):
    """A task. `version` is the business system's, `rev` the hub's. `body` is JSON of core.task.Content."""

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("app_id", "business_id"),
        Index(None, "app_id", "instance_id"),
        Index(None, "app_id", "state", "id"),
        _MYSQL,
    )
    id: str = _id(key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False))
    business_id: str = Field(sa_type=String(128))
    instance_id: str = Field(sa_type=String(128))
    sign_mode: str = Field(sa_type=String(8))
    state: str = Field(sa_type=String(16))
    version: int = Field(sa_type=BigInteger)
    rev: int = 1
    body: str = Field(sa_type=LongText)
    due_at: datetime | None = Field(default=None, sa_type=UtcTime)
    decided_by: str | None = Field(default=None, sa_type=String(40))
    """The task_action that ended it."""
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class TaskAssignee(Table, table=True):
    """Somebody who is (or was) asked. `person` repeats the product's id, so that no list needs a join."""

    __tablename__ = "task_assignee"
    __table_args__ = (Index(None, "user_id", "state", "task_id"), _MYSQL)
    task_id: str = Field(
        sa_column=Column(String(40), ForeignKey("task.id"), primary_key=True, nullable=False)
    )
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    position: int
    person: str = Field(sa_type=String(128))
    state: str = Field(sa_type=String(16))
    given_by: str | None = Field(default=None, sa_type=String(128))
    action: str | None = Field(default=None, sa_type=String(64))
    comment: str = Field(default="", sa_type=LongText)
    acted_at: datetime | None = Field(default=None, sa_type=UtcTime)


class TaskCc(Table, table=True):
    """Somebody who hears of a task and cannot act."""

    __tablename__ = "task_cc"
    __table_args__ = (Index(None, "user_id", "task_id"), _MYSQL)
    task_id: str = Field(
        sa_column=Column(String(40), ForeignKey("task.id"), primary_key=True, nullable=False)
    )
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    position: int
    person: str = Field(sa_type=String(128))


class TaskAction(Table, table=True):
    """A decision. (task, slot) is the fence: of all who act at once one is stored. A decision that the business
    system refused gives its slot up, and NULLs do not clash."""

    __tablename__ = "task_action"
    __table_args__ = (
        UniqueConstraint("task_id", "slot"),
        UniqueConstraint("task_id", "client_action_id", "user_id"),
        _MYSQL,
    )
    id: str = _id(key=True)
    task_id: str = Field(sa_column=Column(String(40), ForeignKey("task.id"), nullable=False))
    slot: str | None = Field(default=None, sa_type=String(40))
    user_id: int = Field(sa_type=BigInteger)
    person: str = Field(sa_type=String(128))
    action: str = Field(sa_type=String(64))
    effect: str = Field(sa_type=String(16))
    comment: str = Field(default="", sa_type=LongText)
    client_action_id: str | None = Field(default=None, sa_type=String(64))
    version: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=String(24))
    reason: str = Field(default="", sa_type=LongText)
    acted_from: str = Field(default="", sa_type=String(32))
    created_at: datetime = Field(sa_type=UtcTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcTime)


class TaskHolder(Table, table=True):
    """Who was sent which card of a task."""

    __tablename__ = "task_holder"
    __table_args__ = (Index(None, "message_id"), _MYSQL)
    task_id: str = Field(
        sa_column=Column(String(40), ForeignKey("task.id"), primary_key=True, nullable=False)
    )
    notification_id: str = _id(key=True)
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    message_id: str = Field(sa_type=String(40))
    cc: bool = False


class TaskTimer(Table, table=True):
    """What is to happen to a task by itself."""

    __tablename__ = "task_timer"
    task_id: str = Field(
        sa_column=Column(String(40), ForeignKey("task.id"), primary_key=True, nullable=False)
    )
    name: str = Field(sa_type=String(32), primary_key=True)
    due_at: datetime = Field(sa_type=UtcTime, index=True)


class TaskEventRow(Table, table=True):
    """A task's story, append-only. `detail` is a JSON object of texts."""

    __tablename__ = "task_event"
    task_id: str = Field(
        sa_column=Column(String(40), ForeignKey("task.id"), primary_key=True, nullable=False)
    )
    id: str = _id(key=True)
    at: datetime = Field(sa_type=UtcTime)
    name: str = Field(sa_type=String(48))
    actor: str = Field(default="", sa_type=String(128))
    detail: str = Field(default="{}", sa_type=LongText)


class TaskFollowUp(Table, table=True):
    """The outbox of approvals: committed with its change, gone when done. `what` is JSON of core.task.FollowUp."""

    __tablename__ = "task_follow_up"
    id: str = _id(key=True)
    app_id: str = Field(sa_type=String(40))
    task_id: str = Field(sa_column=Column(String(40), ForeignKey("task.id"), nullable=False, index=True))
    what: str = Field(sa_type=LongText)
    tries: int = 0
    due_at: datetime = Field(sa_type=UtcTime, index=True)
    created_at: datetime = Field(sa_type=UtcTime)


class TaskReminder(Table, table=True):
    """Somebody was pressed, by whom and how hard."""

    __tablename__ = "task_reminder"
    __table_args__ = (Index(None, "user_id", "at"), Index(None, "task_id"), _MYSQL)
    id: str = _id(key=True)
    task_id: str = Field(sa_column=Column(String(40), ForeignKey("task.id"), nullable=False))
    requester: str = Field(sa_type=String(140))
    user_id: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcTime)
    level: int
