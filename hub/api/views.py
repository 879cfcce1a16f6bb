"""Messages on their way out, by the short way: structs around a body that is already JSON."""

from __future__ import annotations

from datetime import datetime

from msgspec import Raw, Struct

from hub.core.conversation import ConversationKind
from hub.core.message import Accepted, Entry, Message
from hub.core.records import ConversationView


class MessageOut(Struct, frozen=True, omit_defaults=True):
    """schemas_chat.MessageShown."""

    id: str
    conversation: str
    seq: int
    sender: str | None
    kind: str
    body: Raw
    at: datetime
    client_msg_id: str | None = None
    mentions: tuple[str, ...] | None = None
    notification: str | None = None
    expires_at: datetime | None = None


class EntryOut(Struct, frozen=True):
    """schemas_chat.QueueEntryShown."""

    q: int
    message: MessageOut | None


class AcceptedOut(Struct, frozen=True):
    """schemas_chat.MessageAccepted."""

    id: str
    conversation: str
    seq: int
    at: datetime
    duplicate: bool


class OwnPartOut(Struct, frozen=True):
    """schemas_chat.OwnPartShown."""

    role: str
    read_seq: int
    muted: bool
    unread: int


class ConversationOut(Struct, frozen=True):
    """schemas_chat.ConversationShown."""

    id: str
    kind: ConversationKind
    title: str
    fanout: str
    member_count: int
    version: int
    metadata: Raw
    created_at: datetime
    people: tuple[str, ...]
    last_message: MessageOut | None
    mine: OwnPartOut | None


def message_out(message: Message) -> MessageOut:
    """A message as clients see it."""
    return MessageOut(
        id=message.id,
        conversation=message.conversation,
        seq=message.seq,
        sender=message.sender_id,
        kind=message.kind,
        body=Raw(message.body.encode()),
        at=message.created_at,
        client_msg_id=message.client_msg_id,
        mentions=message.mentions or None,
        notification=message.notification,
        expires_at=message.expires_at,
    )


def entry_out(entry: Entry, message: Message | None) -> EntryOut:
    """One number of a queue."""
    return EntryOut(entry.user_seq, None if message is None else message_out(message))


def accepted_out(accepted: Accepted) -> AcceptedOut:
    """The answer to a message."""
    return AcceptedOut(accepted.message, accepted.conversation, accepted.seq, accepted.at, accepted.duplicate)


def conversation_out(view: ConversationView) -> ConversationOut:
    """A conversation in a list."""
    record, mine = view.record, view.mine
    return ConversationOut(
        id=record.id,
        kind=record.kind,
        title=record.title,
        fanout=record.fanout,
        member_count=record.member_count,
        version=record.version,
        metadata=Raw(record.metadata.encode()),
        created_at=record.created_at,
        people=view.people,
        last_message=None if view.last is None else message_out(view.last),
        mine=None if mine is None else OwnPartOut(mine.role, mine.read_seq, mine.muted, mine.unread),
    )
