"""The tables of webhooks: endpoints, events, and each one's way there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, String
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import _MYSQL, Table


class WebhookEndpointRow(Table, table=True):
    """Where an app wants to hear of what happens. `secrets` is sealed: a JSON list of [secret, microseconds or null],
    the newest first. Secrets that are past their time are left out when the list is written next."""

    __tablename__ = "webhook_endpoint"
    id: str = Field(sa_type=String(40), primary_key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False, index=True))
    url: str = Field(sa_type=String(2048))
    events: str = Field(sa_type=LongText)
    description: str = Field(default="", sa_type=String(256))
    secrets: str = Field(sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcTime)
    disabled_reason: str = Field(default="", sa_type=String(256))


class WebhookEventRow(Table, table=True):
    """Something that happened, once, however many endpoints hear of it. `data` is JSON."""

    __tablename__ = "webhook_event"
    id: str = Field(sa_type=String(64), primary_key=True)
    app_id: str = Field(sa_type=String(40))
    type: str = Field(sa_type=String(128))
    at: datetime = Field(sa_type=UtcTime, index=True)
    data: str = Field(sa_type=LongText)
    endpoint_id: str | None = Field(default=None, sa_type=String(40))


class WebhookDeliveryRow(Table, table=True):
    """One event on its way to one endpoint: the outbox of webhooks. While somebody tries, `due_at` is the end of the
    lease. Pending without `due_at`: the endpoint is disabled."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_due", "endpoint_id", "due_at"),
        Index("ix_webhook_delivery_listed", "endpoint_id", "created_at", "event_id"),
        Index("ix_webhook_delivery_state", "endpoint_id", "state", "updated_at"),
        _MYSQL,
    )
    event_id: str = Field(sa_type=String(64), primary_key=True)
    endpoint_id: str = Field(sa_type=String(40), primary_key=True)
    state: str = Field(sa_type=String(16))
    attempts: int = 0
    due_at: datetime | None = Field(default=None, sa_type=UtcTime)
    status: int | None = None
    error: str = Field(default="", sa_type=String(512))
    version: int = 0
    created_at: datetime = Field(sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)
