"""The tables of what people do to messages: reactions, pins, mentions, what one user hid.

None refers to `message` by a foreign key: with another storage plan bodies are not in SQL.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlmodel import Field

from hub.store.columns import UtcTime
from hub.store.tables import Table

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


class MentionRow(Table, table=True):
    """A member who is mentioned by the message with this seq; user 0 stands for everybody."""

    __tablename__ = "mention"
    __table_args__ = (Index("ix_mention_seq", "conversation_id", "seq"), _MYSQL)
    conversation_id: str = Field(sa_type=String(40), primary_key=True)
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)


class ReactionRow(Table, table=True):
    """A user and an emoji at a message. What was taken back stays, not `added`: `seq` is the control message's that
    said so last, and of two the higher holds, whichever is committed first."""

    __tablename__ = "reaction"
    __table_args__ = (Index("ix_reaction_user", "user_id", "message_id"), _MYSQL)
    message_id: str = Field(sa_type=String(40), primary_key=True)
    emoji: str = Field(sa_type=String(32), primary_key=True)
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    added: bool = False
    seq: int = Field(default=0, sa_type=BigInteger)


class ReactionCountRow(Table, table=True):
    """How many users put an emoji to a message: a page of history counts nothing itself."""

    __tablename__ = "reaction_count"
    message_id: str = Field(sa_type=String(40), primary_key=True)
    emoji: str = Field(sa_type=String(32), primary_key=True)
    count: int = Field(default=0, sa_type=BigInteger)


class PinRow(Table, table=True):
    """A message that is, or was, pinned in its conversation. `seq` as with reactions."""

    __tablename__ = "pin"
    conversation_id: str = Field(sa_type=String(40), primary_key=True)
    message_id: str = Field(sa_type=String(40), primary_key=True)
    added: bool = False
    seq: int = Field(default=0, sa_type=BigInteger)
    by_id: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UtcTime)


class HiddenRow(Table, table=True):
    """A message that one user does not want to see any more."""

    __tablename__ = "hidden"
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    conversation_id: str = Field(sa_type=String(40), primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)


class MessageEditRow(Table, table=True):
    """The control messages that edited a message: they hold its text too, and lose it when it is recalled."""

    __tablename__ = "message_edit"
    message_id: str = Field(sa_type=String(40), primary_key=True)
    control_id: str = Field(sa_type=String(40), primary_key=True)
