"""The tables of accounts at WeChat: secrets encrypted, addresses, templates, subscriptions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, UniqueConstraint
from sqlmodel import Field

from hub.store.columns import LongText, UtcTime
from hub.store.tables import _MYSQL, Table, _id


class WeChatAccount(Table, table=True):
    """An account of an app. `secrets` is JSON, sealed with HUB_SECRET_KEY; `options` is JSON of AccountOptions."""

    __tablename__ = "wechat_account"
    __table_args__ = (UniqueConstraint("app_id", "channel", "external_id"), _MYSQL)
    id: str = _id(key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False))
    channel: str = Field(sa_type=String(32))
    name: str = Field(sa_type=String(128))
    external_id: str = Field(sa_type=String(64))
    options: str = Field(sa_type=LongText)
    secrets: str = Field(sa_type=LongText)
    enabled: bool = True
    created_at: datetime = Field(sa_type=UtcTime)


class WeChatBinding(Table, table=True):
    """An address at an account. `proved_at`: when somebody last showed whose it is, or that it is nobody's."""

    __tablename__ = "wechat_binding"
    __table_args__ = (Index(None, "user_id", "account_id"), _MYSQL)
    account_id: str = _id(key=True)
    address: str = Field(sa_type=String(128), primary_key=True)
    user_id: int | None = Field(default=None, sa_type=BigInteger)
    union_id: str | None = Field(default=None, sa_type=String(128), index=True)
    state: str = Field(sa_type=String(16))
    source: str = Field(sa_type=String(16))
    proved_at: datetime | None = Field(default=None, sa_type=UtcTime)
    updated_at: datetime = Field(sa_type=UtcTime)


class WeChatTicket(Table, table=True):
    """A one-time ticket; only the SHA-256 of its token is kept."""

    __tablename__ = "wechat_ticket"
    hash: str = Field(sa_type=String(64), primary_key=True)
    kind: str = Field(sa_type=String(16))
    account_id: str = _id()
    user_id: int = Field(sa_type=BigInteger)
    return_to: str = Field(sa_type=LongText)
    expires_at: datetime = Field(sa_type=UtcTime, index=True)


class WeChatTemplate(Table, table=True):
    """A template as the provider had it at `synced_at`; `fields` and `enums` are JSON."""

    __tablename__ = "wechat_template"
    account_id: str = _id(key=True)
    template_id: str = Field(sa_type=String(128), primary_key=True)
    kind: str = Field(sa_type=String(16))
    title: str = Field(sa_type=String(256))
    content: str = Field(sa_type=LongText)
    fields: str = Field(sa_type=LongText)
    enums: str = Field(sa_type=LongText)
    example: str = Field(sa_type=LongText)
    synced_at: datetime | None = Field(default=None, sa_type=UtcTime)
    gone: bool = False


class WeChatGrant(Table, table=True):
    """How many messages of a template an address still allows. `epoch` moves when the provider says that none is left:
    what was reserved in an earlier one is not given back."""

    __tablename__ = "wechat_grant"
    account_id: str = _id(key=True)
    address: str = Field(sa_type=String(128), primary_key=True)
    template_id: str = Field(sa_type=String(128), primary_key=True)
    remaining: int = Field(default=0, sa_type=BigInteger)
    unlimited: bool = False
    epoch: int = Field(default=0, sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=UtcTime)


class WeChatGrantHold(Table, table=True):
    """A grant set aside for a delivery (held) or used by it (spent). A spent row stays, to answer repeats."""

    __tablename__ = "wechat_grant_hold"
    __table_args__ = (
        Index(None, "account_id", "address", "template_id"),
        Index(None, "state", "reserved_at"),
        _MYSQL,
    )
    delivery_id: str = _id(key=True)
    account_id: str = _id()
    address: str = Field(sa_type=String(128))
    template_id: str = Field(sa_type=String(128))
    state: str = Field(sa_type=String(8))
    epoch: int = Field(sa_type=BigInteger)
    counted: bool = True
    reserved_at: datetime = Field(sa_type=UtcTime)


class WeChatGrantOnce(Table, table=True):
    """An agreement that was counted: SHA-256 of the key and what identifies the agreement."""

    __tablename__ = "wechat_grant_once"
    __table_args__ = (Index(None, "account_id"), _MYSQL)
    hash: str = Field(sa_type=String(64), primary_key=True)
    account_id: str = _id()
    created_at: datetime = Field(sa_type=UtcTime, index=True)
