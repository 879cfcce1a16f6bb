"""Messages on their way out, by the short way: structs around a body that is already JSON."""

from __future__ import annotations

from datetime import datetime

from msgspec import Raw, Struct

from hub.core.conversation import ConversationKind
from hub.core.message import Accepted, Entry, Message, ReactionCount
from hub.core.records import ConversationRecord, ConversationView, OwnPart


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
    control: bool = False
    reply_to: str | None = None
    forward_of: str | None = None
    edited_at: datetime | None = None
    reactions: tuple[ReactionCount, ...] | None = None


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
    mention: int
    marked_unread: bool
    pinned_at: datetime | None
    muted_until: datetime | None
    draft: Raw | None
    draft_at: datetime | None
    cleared_seq: int
    nickname: str
    rev: int


class GroupOut(Struct, frozen=True):
    """schemas_groups.GroupShown."""

    avatar: str
    subject: str | None
    invite: str
    open: bool
    max_members: int
    silenced: bool
    dissolved_at: datetime | None
    owner: str | None


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
    group: GroupOut | None
    people: tuple[str, ...]
    last_message: MessageOut | None
    mine: OwnPartOut | None
    announced: bool


def message_out(message: Message, reactions: tuple[ReactionCount, ...] = ()) -> MessageOut:
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
        control=message.control,
        reply_to=message.reply_to,
        forward_of=message.forward_of,
        edited_at=message.edited_at,
        reactions=reactions or None,
    )


def entry_out(entry: Entry, message: Message | None) -> EntryOut:
    """One number of a queue."""
    return EntryOut(entry.user_seq, None if message is None else message_out(message))


def accepted_out(accepted: Accepted) -> AcceptedOut:
    """The answer to a message."""
    return AcceptedOut(accepted.message, accepted.conversation, accepted.seq, accepted.at, accepted.duplicate)


def group_out(record: ConversationRecord, owner: str | None) -> GroupOut | None:
    """What a group or a thread has beside its title."""
    if record.kind not in (ConversationKind.GROUP, ConversationKind.THREAD):
        return None
    group = record.group
    return GroupOut(
        avatar=group.avatar,
        subject=group.subject,
        invite=group.invite,
        open=group.open,
        max_members=group.max_members,
        silenced=group.silenced,
        dissolved_at=group.dissolved_at,
        owner=owner,
    )


def _own(mine: OwnPart) -> OwnPartOut:
    state = mine.state
    return OwnPartOut(
        role=mine.role,
        read_seq=mine.read_seq,
        muted=mine.muted,
        unread=mine.unread,
        mention=mine.mention,
        marked_unread=state.marked_unread,
        pinned_at=state.pinned_at,
        muted_until=state.muted_until,
        draft=None if state.draft is None else Raw(state.draft.encode()),
        draft_at=state.draft_at,
        cleared_seq=state.cleared_seq,
        nickname=state.nickname,
        rev=state.rev,
    )


def conversation_out(view: ConversationView, *, owner: str | None = None) -> ConversationOut:
    """A conversation in a list; its owner (the product's id) where somebody has asked for it."""
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
        group=group_out(record, owner),
        people=view.people,
        last_message=None if view.last is None else message_out(view.last),
        mine=None if mine is None else _own(mine),
        announced=view.announced,
    )
