"""Uploaded files and the messages that refer to them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String
from sqlmodel import Field

from hub.store.columns import UtcTime
from hub.store.tables import _MYSQL, Table


class MediaRow(Table, table=True):
    """A file; its bytes are in the media store under `id`. `user_id` 0: the business system uploaded it. `touched_at`
    moves with every reference, so that a file which is just being referred to is not taken for unused."""

    __tablename__ = "media"
    __table_args__ = (
        Index(None, "user_id", "id"),
        Index(None, "state", "touched_at"),
        _MYSQL,
    )
    id: str = Field(sa_type=String(40), primary_key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False))
    user_id: int = Field(default=0, sa_type=BigInteger)
    name: str = Field(default="", sa_type=String(255))
    mime: str = Field(sa_type=String(127))
    size: int = Field(default=0, sa_type=BigInteger)
    sha256: str = Field(default="", sa_type=String(64))
    state: str = Field(sa_type=String(16))
    created_at: datetime = Field(sa_type=UtcTime)
    touched_at: datetime = Field(sa_type=UtcTime)


class MediaRef(Table, table=True):
    """A message that shows a file. Written before the message is committed: one whose message never came is swept."""

    __tablename__ = "media_ref"
    __table_args__ = (Index(None, "message_id"), Index(None, "created_at"), _MYSQL)
    media_id: str = Field(sa_type=String(40), primary_key=True)
    message_id: str = Field(sa_type=String(40), primary_key=True)
    created_at: datetime = Field(sa_type=UtcTime)
