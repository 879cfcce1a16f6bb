"""The tables. One shape of the data of three: values live in core, request and response schemas in api."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, ForeignKey, Index, MetaData, String, UniqueConstraint, false, text
from sqlmodel import Field, SQLModel

from hub.store.columns import BigKey, LongBinary, LongText, UtcTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Ids are case-sensitive text: MySQL's default collation would take 'b' for 'B'.
_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


class Table(SQLModel):
    """Base of all tables, on one naming convention, so that migrations can name what they change."""

    metadata: ClassVar[MetaData] = metadata
    __table_args__: ClassVar[Any] = _MYSQL


def _id(*, key: bool = False) -> Any:
    return Field(sa_type=String(40), primary_key=key)


def _given(value: str) -> dict[str, Any]:
    """What the database puts where an insert does not say it."""
    return {"server_default": text(value)}


class App(Table, table=True):
    """A tenant. Everything else belongs to exactly one."""

    __tablename__ = "app"
    id: str = _id(key=True)
    name: str = Field(sa_type=String(128))
    settings: str = Field(default="{}", sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime)


class ApiKey(Table, table=True):
    """A business system's key; only its SHA-256 is kept (the secret has 256 random bits)."""

    __tablename__ = "api_key"
    id: str = _id(key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False, index=True))
    name: str = Field(sa_type=String(128))
    hash: str = Field(sa_type=String(64), unique=True)
    scopes: str = Field(sa_type=String(512))
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcTime)


class SigningKey(Table, table=True):
    """What end-user tokens are checked against: the hub's own secret (encrypted) or a registered public key."""

    __tablename__ = "signing_key"
    kid: str = _id(key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False, index=True))
    alg: str = Field(sa_type=String(16))
    key: str = Field(sa_type=LongText)
    """HS256: the secret, encrypted with HUB_SECRET_KEY. Others: a PEM public key."""
    created_at: datetime = Field(sa_type=UtcTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcTime)


class User(Table, table=True):
    """A person of an app; `id` is the hub's own number, `user_id` the product's."""

    __tablename__ = "user"
    __table_args__ = (UniqueConstraint("app_id", "user_id"), _MYSQL)
    id: int | None = Field(default=None, sa_type=BigKey, primary_key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False))
    user_id: str = Field(sa_type=String(128))
    name: str = Field(default="", sa_type=String(128))
    locale: str = Field(default="zh-CN", sa_type=String(35))
    timezone: str = Field(default="Asia/Shanghai", sa_type=String(64))
    preferences: str = Field(default="{}", sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcTime)
    tokens_after: datetime | None = Field(default=None, sa_type=UtcTime)
    """Tokens issued before this are refused: one call signs a user out everywhere."""


class Device(Table, table=True):
    """A device of a user; `cursor` is the highest user_seq that it acknowledged. `kicked_at`: tokens from before it was
    shown out do not let it in."""

    __tablename__ = "device"
    __table_args__ = (UniqueConstraint("user_id", "device_id"), _MYSQL)
    id: int | None = Field(default=None, sa_type=BigKey, primary_key=True)
    user_id: int = Field(sa_column=Column(BigKey, ForeignKey("user.id"), nullable=False))
    device_id: str = Field(sa_type=String(128))
    platform: str = Field(sa_type=String(16))
    name: str = Field(default="", sa_type=String(128))
    cursor: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UtcTime)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcTime)
    kicked_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ConversationRow(Table, table=True):
    """A conversation; `version` moves with every change of membership, of fan-out or of who may speak. `owner_id`
    repeats the one member whose role is owner; up to `read_until` it was read-diffused once."""

    __tablename__ = "conversation"
    id: str = _id(key=True)
    app_id: str = Field(sa_column=Column(String(40), ForeignKey("app.id"), nullable=False, index=True))
    kind: str = Field(sa_type=String(16))
    title: str = Field(default="", sa_type=String(256))
    fanout: str = Field(default="write", sa_type=String(8))
    version: int = Field(default=1, sa_type=BigInteger)
    member_count: int = Field(default=0, sa_type=BigInteger)
    metadata_: str = Field(default="{}", sa_column=Column("metadata", LongText, nullable=False))
    created_at: datetime = Field(sa_type=UtcTime)
    avatar: str = Field(default="", sa_type=String(512), sa_column_kwargs=_given("''"))
    subject: str | None = Field(default=None, sa_type=String(200))
    invite: str = Field(default="admins", sa_type=String(8), sa_column_kwargs=_given("'admins'"))
    is_open: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    max_members: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_given("0"))
    silenced: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    dissolved_at: datetime | None = Field(default=None, sa_type=UtcTime)
    owner_id: int | None = Field(default=None, sa_type=BigInteger)
    read_until: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_given("0"))


class Member(Table, table=True):
    """A user in a conversation. `joined_seq`: messages up to it are not theirs. `read_seq` only moves forward."""

    __tablename__ = "member"
    __table_args__ = (
        Index(None, "user_id", "conversation_id"),
        Index("ix_member_read", "conversation_id", "read_seq", "user_id"),
        _MYSQL,
    )
    conversation_id: str = Field(
        sa_column=Column(String(40), ForeignKey("conversation.id"), primary_key=True, nullable=False)
    )
    user_id: int = Field(sa_column=Column(BigKey, ForeignKey("user.id"), primary_key=True, nullable=False))
    role: str = Field(default="member", sa_type=String(16))
    joined_seq: int = Field(default=0, sa_type=BigInteger)
    read_seq: int = Field(default=0, sa_type=BigInteger)
    muted: bool = False
    joined_at: datetime = Field(sa_type=UtcTime)
    silenced_until: datetime | None = Field(default=None, sa_type=UtcTime)
    # What the user keeps of the conversation; `state_rev` rises with every change of it. `blocked`: the other one of a
    # direct conversation does not want to hear of this user.
    pinned_at: datetime | None = Field(default=None, sa_type=UtcTime)
    muted_until: datetime | None = Field(default=None, sa_type=UtcTime)
    draft: str | None = Field(default=None, sa_type=LongText)
    draft_at: datetime | None = Field(default=None, sa_type=UtcTime)
    cleared_seq: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_given("0"))
    marked_unread: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    nickname: str = Field(default="", sa_type=String(64), sa_column_kwargs=_given("''"))
    blocked: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    state_rev: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_given("0"))


class MessageRow(Table, table=True):
    """A body, once. Written by the group commit; `sender_id` 0 is the business system."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        UniqueConstraint("app_id", "sender_id", "client_msg_id"),
        Index(None, "app_id", "id"),
        _MYSQL,
    )
    id: str = _id(key=True)
    app_id: str = Field(sa_type=String(40))
    conversation_id: str = Field(sa_type=String(40))
    seq: int = Field(sa_type=BigInteger)
    sender_id: int = Field(sa_type=BigInteger)
    sender: str | None = Field(default=None, sa_type=String(128))
    """The product's id of the sender, repeated here so that a page of history needs no join."""
    client_msg_id: str | None = Field(default=None, sa_type=String(64))
    kind: str = Field(sa_type=String(32))
    body: str = Field(sa_type=LongText)
    mentions: str | None = Field(default=None, sa_type=LongText)
    notification_id: str | None = Field(default=None, sa_type=String(40))
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    control: bool = False
    reply_to: str | None = Field(default=None, sa_type=String(40))
    forward_of: str | None = Field(default=None, sa_type=String(40))
    edited_at: datetime | None = Field(default=None, sa_type=UtcTime)
    changed_seq: int = Field(default=0, sa_type=BigInteger)
    """The number of the control message that changed the body last: of two changes the later one holds."""


class QueueEntry(Table, table=True):
    """A reference: user_seq of this user is that message. A closed gap has no message."""

    __tablename__ = "queue_entry"
    __table_args__ = (
        Index(
            "ix_queue_entry_inbox",
            "user_id",
            "inbox_seq",
            sqlite_where=Column("inbox_seq").is_not(None),
            postgresql_where=Column("inbox_seq").is_not(None),
        ),
        {**_MYSQL, "sqlite_with_rowid": False},
    )
    user_id: int = Field(sa_type=BigInteger, primary_key=True)
    user_seq: int = Field(sa_type=BigInteger, primary_key=True)
    message_id: str | None = Field(default=None, sa_type=String(40))
    inbox_seq: int | None = Field(default=None, sa_type=BigInteger)


class PublishBatch(Table, table=True):
    """A commit and whether it has been published. Kept for some minutes, to be published again after a failover.

    `refs` is JSON: [[message id, grew, [user, user_seq, inbox_seq], …], …].
    """

    __tablename__ = "publish_batch"
    __table_args__ = (Index(None, "published", "created_at"), Index(None, "indexed", "created_at"), _MYSQL)
    id: str = _id(key=True)
    created_at: datetime = Field(sa_type=UtcTime)
    published: bool = False
    indexed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    refs: bytes = Field(sa_column=Column(LongBinary, nullable=False))


class Notification(Table, table=True):
    """A message with a policy. `recipients` is a JSON list of user numbers, in the order asked for."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("app_id", "dedupe_key"),
        Index(None, "app_id", "collapse_key", "id"),
        Index(None, "app_id", "thread", "id"),
        _MYSQL,
    )
    id: str = _id(key=True)
    app_id: str = Field(sa_type=String(40))
    message_id: str = Field(sa_type=String(40), index=True)
    type: str = Field(sa_type=String(128))
    category: str = Field(sa_type=String(64))
    priority: str = Field(sa_type=String(16))
    policy: str = Field(sa_type=LongText)
    dedupe_key: str | None = Field(default=None, sa_type=String(200))
    collapse_key: str | None = Field(default=None, sa_type=String(200))
    metadata_: str | None = Field(default=None, sa_column=Column("metadata", LongText, nullable=True))
    thread: str | None = Field(default=None, sa_type=String(200))
    extras: str | None = Field(default=None, sa_type=LongText)
    """JSON of what is never searched for: digest_key, template, data, callback, task."""
    recipients: str = Field(sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)


class DeliveryRow(Table, table=True):
    """One message to one user through one hop. This row is the outbox: `due_at` says when to look at it."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("message_id", "user_id", "hop"),
        Index(None, "due_at"),
        Index("ix_delivery_open", "user_id", "state", "due_at"),
        Index(None, "app_id", "state", "created_at"),
        Index(None, "channel", "provider_id"),
        _MYSQL,
    )
    id: str = _id(key=True)
    app_id: str = Field(sa_type=String(40))
    notification_id: str | None = Field(default=None, sa_type=String(40), index=True)
    message_id: str = Field(sa_type=String(40))
    conversation_id: str = Field(sa_type=String(40))
    seq: int = Field(sa_type=BigInteger)
    user_id: int = Field(sa_type=BigInteger)
    user_seq: int = Field(sa_type=BigInteger)
    hop: int
    channel: str = Field(sa_type=String(32))
    state: str = Field(sa_type=String(16))
    version: int = 0
    attempts: int = 0
    due_at: datetime | None = Field(default=None, sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    reason: str | None = Field(default=None, sa_type=String(32))
    provider_id: str | None = Field(default=None, sa_type=String(128))
    escalated: bool = False
    read: bool = False
    priority: str = Field(default="normal", sa_type=String(16))
    tried_at: datetime | None = Field(default=None, sa_type=UtcTime)
    doubt_since: datetime | None = Field(default=None, sa_type=UtcTime)
    spent: int = 0
    replayed_at: datetime | None = Field(default=None, sa_type=UtcTime)
    callback: str | None = Field(default=None, sa_type=String(64))
    created_at: datetime = Field(sa_type=UtcTime)


class DeliveryEvent(Table, table=True):
    """Append-only: every state a delivery has been in. (delivery, version) is its key."""

    __tablename__ = "delivery_event"
    delivery_id: str = _id(key=True)
    version: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcTime)
    state: str = Field(sa_type=String(16))
    reason: str | None = Field(default=None, sa_type=String(32))


class AttemptRow(Table, table=True):
    """One try, written before the call and completed after it."""

    __tablename__ = "attempt"
    delivery_id: str = _id(key=True)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)
    outcome: str | None = Field(default=None, sa_type=String(16))
    reason: str | None = Field(default=None, sa_type=String(32))
    provider_id: str | None = Field(default=None, sa_type=String(128))
    detail: str = Field(default="", sa_type=String(512))
    code: str = Field(default="", sa_type=String(32))
    """The provider's own code."""


class ReceiptParked(Table, table=True):
    """A receipt that came before its provider id was saved. `about` says what it is about, where a lost send could be
    known by that."""

    __tablename__ = "receipt_parked"
    __table_args__ = (Index(None, "about", "created_at"), _MYSQL)
    channel: str = Field(sa_type=String(32), primary_key=True)
    provider_id: str = Field(sa_type=String(128), primary_key=True)
    outcome: str = Field(sa_type=LongText)
    about: str = Field(default="", sa_type=String(64))
    created_at: datetime = Field(sa_type=UtcTime, index=True)


class Idempotency(Table, table=True):
    """An Idempotency-Key that was used: what was asked (fingerprint) and what came of it."""

    __tablename__ = "idempotency"
    key: str = Field(sa_type=String(64), primary_key=True)
    """SHA-256 of app, route and key."""
    fingerprint: str = Field(sa_type=String(64))
    resource_id: str = Field(default="", sa_type=String(40))
    status: int = 0
    response: str = Field(default="", sa_type=LongText)
    created_at: datetime = Field(sa_type=UtcTime, index=True)


class RetentionFloor(Table, table=True):
    """The highest number of a sequence that retention has removed: what is missing up to it is no gap."""

    __tablename__ = "retention_floor"
    kind: str = Field(sa_type=String(1), primary_key=True)
    id: str = _id(key=True)
    seq: int = Field(sa_type=BigInteger)


class PolicyRow(Table, table=True):
    """A named policy of an app."""

    __tablename__ = "policy"
    app_id: str = _id(key=True)
    name: str = Field(sa_type=String(64), primary_key=True)
    body: str = Field(sa_type=LongText)
    updated_at: datetime = Field(sa_type=UtcTime)


class Audit(Table, table=True):
    """Who did what to the configuration."""

    __tablename__ = "audit"
    id: str = _id(key=True)
    app_id: str = Field(sa_type=String(40), index=True)
    at: datetime = Field(sa_type=UtcTime)
    actor: str = Field(sa_type=String(128))
    action: str = Field(sa_type=String(64))
    target: str = Field(default="", sa_type=String(200))
    detail: str = Field(default="{}", sa_type=LongText)
