"""How long things live: the removal of users, step by step."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlmodel import Field

from hub.store.columns import UtcTime
from hub.store.tables import _MYSQL, Table


class UserRemoval(Table, table=True):
    """The removal of a user: a job that any process goes on with. `user_id` is 0 once nothing of the user is left."""

    __tablename__ = "user_removal"
    __table_args__ = (Index(None, "state", "due_at"), Index(None, "app_id", "id"), _MYSQL)
    id: str = Field(sa_type=String(40), primary_key=True)
    app_id: str = Field(sa_type=String(40))
    user_id: int = Field(sa_type=BigInteger)
    name: str = Field(default="", sa_type=String(128))
    """The product's id of the user, while it is still needed."""
    name_hash: str = Field(sa_type=String(64), index=True)
    messages: str = Field(sa_type=String(8))
    state: str = Field(sa_type=String(16))
    step: int = 0
    removed: int = Field(default=0, sa_type=BigInteger)
    due_at: datetime = Field(sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)
