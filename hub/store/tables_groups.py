"""The tables of groups beside conversation and member: announcements, and notices that are still to be sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import _MYSQL, Table


class AnnouncementRow(Table, table=True):
    """What stands at the top of a group; `by_user` is the product's user id, or the business system."""

    __tablename__ = "announcement"
    conversation_id: str = Field(
        sa_column=Column(String(40), ForeignKey("conversation.id"), primary_key=True, nullable=False)
    )
    text: str = Field(sa_type=LongText)
    by_user: str | None = Field(default=None, sa_type=String(128))
    at: datetime = Field(sa_type=UtcTime)


class GroupBar(Table, table=True):
    """What stays of somebody who is in a conversation no more: that they were taken out, or are silenced. Leaving and
    coming back undoes neither."""

    __tablename__ = "group_bar"
    conversation_id: str = Field(sa_type=String(40), primary_key=True)
    user_id: int = Field(sa_type=BigInteger, primary_key=True, index=True)
    removed: bool = False
    silenced_until: datetime | None = Field(default=None, sa_type=UtcTime)


class NoticeRow(Table, table=True):
    """The outbox of notices. In the order of (`version`, `place`) they become messages; then the row goes."""

    __tablename__ = "notice"
    __table_args__ = (Index(None, "conversation_id", "version", "place"), Index(None, "created_at"), _MYSQL)
    id: str = Field(sa_type=String(64), primary_key=True)
    app_id: str = Field(sa_type=String(40))
    conversation_id: str = Field(sa_type=String(40))
    version: int = Field(sa_type=BigInteger)
    place: int
    body: str = Field(sa_type=LongText)
    also: str = Field(sa_type=LongText)
    """A JSON list of user numbers: who must hear of it without being a member, or without references."""
    created_at: datetime = Field(sa_type=UtcTime)
