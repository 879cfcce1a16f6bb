"""Contacts: whom a user knows, as what, and whom she will not hear of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, String
from sqlmodel import Field

from hub.store.columns import BigKey, LongText, UtcTime
from hub.store.tables import _MYSQL, Table


class ContactRow(Table, table=True):
    """One user in the contacts of another. `tags` is a JSON list; `folded` is the alias as it is searched for."""

    __tablename__ = "contact"
    __table_args__ = (Index(None, "user_id", "blocked"), _MYSQL)
    owner_id: int = Field(sa_column=Column(BigKey, ForeignKey("user.id"), primary_key=True, nullable=False))
    user_id: int = Field(sa_column=Column(BigKey, ForeignKey("user.id"), primary_key=True, nullable=False))
    app_id: str = Field(sa_type=String(40))
    kind: str = Field(sa_type=String(32))
    alias: str = Field(default="", sa_type=String(128))
    folded: str = Field(default="", sa_type=String(512))
    note: str = Field(default="", sa_type=LongText)
    tags: str = Field(default="[]", sa_type=LongText)
    starred: bool = False
    blocked: bool = False
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)
