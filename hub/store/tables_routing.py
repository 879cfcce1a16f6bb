"""The tables of routing: what is scheduled, gathered and counted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import _MYSQL, Table


class Scheduled(Table, table=True):
    """A notification that is sent later. `id` is the notification's; the draft is JSON."""

    __tablename__ = "scheduled"
    __table_args__ = (
        UniqueConstraint("app_id", "dedupe_key"),
        UniqueConstraint("idempotency_key"),
        Index(None, "state", "send_at"),
        _MYSQL,
    )
    id: str = Field(sa_type=String(40), primary_key=True)
    app_id: str = Field(sa_type=String(40))
    message_id: str = Field(sa_type=String(40))
    state: str = Field(sa_type=String(16))
    """scheduled, sending, sent, canceled or refused; only the first two change any more."""
    send_at: datetime = Field(sa_type=UtcTime)
    lease_until: datetime | None = Field(default=None, sa_type=UtcTime)
    """Until when somebody is submitting it."""
    draft: str = Field(sa_type=LongText)
    dedupe_key: str | None = Field(default=None, sa_type=String(200))
    idempotency_key: str | None = Field(default=None, sa_type=String(64))
    fingerprint: str | None = Field(default=None, sa_type=String(64))
    detail: str = Field(default="", sa_type=String(200))
    """Why it was refused when its time came."""
    created_at: datetime = Field(sa_type=UtcTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)


class FrequencyUse(Table, table=True):
    """How often a cap of an app was used for one user in one of its windows."""

    __tablename__ = "frequency_use"
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    rule: str = Field(sa_type=String(64), primary_key=True)
    window_start: datetime = Field(sa_type=UtcTime, primary_key=True)
    used: int = 0
    ends_at: datetime = Field(sa_type=UtcTime, index=True)


class FrequencyTaken(Table, table=True):
    """Deliveries that have been counted against the caps, so that none is counted twice."""

    __tablename__ = "frequency_taken"
    delivery_id: str = Field(sa_type=String(40), primary_key=True)
    token: str = Field(sa_type=String(40))
    """Whose counting it was."""
    at: datetime = Field(sa_type=UtcTime, index=True)


class DigestWindow(Table, table=True):
    """Sends of one user on one channel that are to become one. `slot` is `open` until the window is closed, then the
    window's own id: at most one is open for a key."""

    __tablename__ = "digest_window"
    __table_args__ = (UniqueConstraint("user_id", "channel", "key", "slot"), _MYSQL)
    id: str = Field(sa_type=String(40), primary_key=True)
    user_id: int = Field(sa_type=BigInteger)
    channel: str = Field(sa_type=String(32))
    key: str = Field(sa_type=String(240))
    slot: str = Field(sa_type=String(40))
    closes_at: datetime = Field(sa_type=UtcTime, index=True)
    sender_id: str | None = Field(default=None, sa_type=String(40))
    """The delivery that is sent for all of them."""
    size: int = 0
    """How many notifications it stands for, once there is a sender."""


class DigestMember(Table, table=True):
    """A delivery that has joined a window, once."""

    __tablename__ = "digest_member"
    delivery_id: str = Field(sa_type=String(40), primary_key=True)
    window_id: str = Field(sa_type=String(40), index=True)
