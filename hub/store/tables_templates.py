"""The tables of hub templates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import Table


class TemplateRow(Table, table=True):
    """A template of an app: which version is the newest, and that version's fingerprint."""

    __tablename__ = "template"
    app_id: str = Field(sa_type=String(40), primary_key=True)
    key: str = Field(sa_type=String(64), primary_key=True)
    latest: int = 0
    """0 while its first version is being written."""
    digest: str = Field(default="", sa_type=String(64))
    updated_at: datetime = Field(sa_type=UtcTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcTime)


class TemplateVersionRow(Table, table=True):
    """What a template said in one version. Never changed, never removed: notifications pin it."""

    __tablename__ = "template_version"
    app_id: str = Field(sa_type=String(40), primary_key=True)
    key: str = Field(sa_type=String(64), primary_key=True)
    version: int = Field(primary_key=True)
    body: str = Field(sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime)
    created_by: str = Field(default="", sa_type=String(128))
