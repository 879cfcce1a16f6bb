"""Values of the queue: a message (the body, once), an entry (a reference to it), a draft (not yet either)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, NewType, TypeAlias

from hub.core.policy import Policy

AppId = NewType("AppId", str)
UserKey = NewType("UserKey", int)
"""The hub's own number of a user; the product's user id never leaves the rim."""
MessageId = NewType("MessageId", str)
ConversationId = NewType("ConversationId", str)
NotificationId = NewType("NotificationId", str)
DeviceKey = NewType("DeviceKey", int)

SYSTEM: Final = UserKey(0)
"""The sender of what no user sent."""
MENTION_ALL: Final = "@all"
"""Stands among the mentions for everybody in the conversation; never a user's id."""


class SeqKind(StrEnum):
    """What a sequence counts."""

    USER = "u"
    CONVERSATION = "c"


@dataclass(frozen=True, slots=True)
class SeqKey:
    """Names one sequence: a user's queue or a conversation."""

    kind: SeqKind
    id: str

    @staticmethod
    def of_user(user: UserKey) -> SeqKey:
        """The sequence of a user's queue."""
        return SeqKey(SeqKind.USER, str(user))

    @staticmethod
    def of_conversation(conversation: ConversationId) -> SeqKey:
        """The sequence of a conversation's messages."""
        return SeqKey(SeqKind.CONVERSATION, conversation)


@dataclass(frozen=True, slots=True)
class Message:
    """A body stored once. `body` is encoded JSON, so that it is encoded once too.

    `sender` is SYSTEM (and `sender_id` None) for what the business system itself says. A tombstone has the
    kind `TOMBSTONE` and only closes a number that nobody used.
    """

    id: MessageId
    app: AppId
    conversation: ConversationId
    seq: int
    sender: UserKey
    sender_id: str | None
    kind: str
    body: str
    created_at: datetime
    client_msg_id: str | None = None
    mentions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    notification: NotificationId | None = None
    control: bool = False
    """It tells of a change and is nothing to be read: never unread, never a conversation's last message."""
    reply_to: MessageId | None = None
    """The message that this one answers; of a control message the one that it changes."""
    forward_of: MessageId | None = None
    edited_at: datetime | None = None


TOMBSTONE: Final = "tombstone"
RECALLED: Final = "recalled"
"""The kind of a message whose body was taken back; its number stays."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A reference in a user's queue; `message` is None for a number that was closed unused.

    `inbox_seq` repeats the message's seq where the message lives in the app's inbox, so that what a user
    has not read there is counted without touching a body.
    """

    user: UserKey
    user_seq: int
    message: MessageId | None
    inbox_seq: int | None = None


class QueueSpan(NamedTuple):
    """At most `limit` references of a user's queue past `after`."""

    user: UserKey
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class ToConversation:
    """Everybody in a conversation that the sender is in."""

    conversation: ConversationId


@dataclass(frozen=True, slots=True)
class ToUser:
    """The direct conversation between the sender and one user; made if it is the first message."""

    user: UserKey


@dataclass(frozen=True, slots=True)
class ToInbox:
    """The inbox of each of these users: a notification."""

    users: tuple[UserKey, ...]


Target: TypeAlias = ToConversation | ToUser | ToInbox


@dataclass(frozen=True, slots=True)
class TemplatePin:
    """The version of a hub template that a notification was accepted with. Without `locale` each recipient's own."""

    key: str
    version: int
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationDraft:
    """What makes a message a notification: policy, business keys and who hears of it. `data` (encoded JSON) fills the
    template; `callback` is the webhook endpoint that hears of this notification alone; `task` the task it is about."""

    id: NotificationId
    type: str
    policy: Policy
    category: str = "default"
    priority: str = "normal"
    dedupe_key: str | None = None
    collapse_key: str | None = None
    metadata: str | None = None
    thread: str | None = None
    digest_key: str | None = None
    template: TemplatePin | None = None
    data: str | None = None
    callback: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """An Idempotency-Key: `key` is already scoped (app, route, key), `fingerprint` hashes the request."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Edited:
    """The body of a message is another one. A recalled message stays recalled, and of two edits the later seq wins.
    `seq` is the message's own; `mentioned` are who of `mentions` was found (nobody is mentioned anew by an edit)."""

    message: MessageId
    body: str
    mentions: tuple[str, ...] = ()
    seq: int = 0
    mentioned: tuple[UserKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """The body of a message is gone; its kind becomes RECALLED. `seq` is the message's own."""

    message: MessageId
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Reacted:
    """A user put an emoji to a message, or (not `added`) took it back."""

    message: MessageId
    user: UserKey
    emoji: str
    added: bool = True


@dataclass(frozen=True, slots=True)
class Pinned:
    """A message is pinned in its conversation, or (not `added`) is not any more."""

    message: MessageId
    by: UserKey
    added: bool = True


@dataclass(frozen=True, slots=True)
class Hidden:
    """A user does not want to see these messages of a conversation any more; nobody else is concerned."""

    user: UserKey
    conversation: ConversationId
    seqs: tuple[int, ...]


Change: TypeAlias = Edited | Recalled | Reacted | Pinned | Hidden
"""What a control message changes."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that wants to be accepted. `id` is made once, so a repeated commit cannot double it."""

    id: MessageId
    app: AppId
    sender: UserKey
    sender_id: str | None
    to: Target
    kind: str
    body: str
    created_at: datetime
    client_msg_id: str | None = None
    mentions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    notification: NotificationDraft | None = None
    idempotency: IdempotencyClaim | None = None
    as_member: bool = True
    """False lets a business system speak in a conversation without being in it."""
    control: bool = False
    """True tells devices of a change (`recall`, `card`): it has a number in each queue and is nothing to be read."""
    reply_to: MessageId | None = None
    forward_of: MessageId | None = None
    change: Change | None = None
    """What the commit of this control message does to other messages, in the same transaction."""
    mentioned: tuple[UserKey, ...] = ()
    """The numbers of those of `mentions` who are members; SYSTEM stands for everybody."""
    also: tuple[UserKey, ...] = ()
    """Users who get a reference beside the members (or, where there are no references, as the only ones): who was
    just added or removed."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a draft, given after its commit. A repeat gets the first one's, marked `duplicate`."""

    message: MessageId
    conversation: ConversationId
    seq: int
    at: datetime
    notification: NotificationId | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A committed message with the references to it: what goes to tails and sockets.

    `grew` means that the conversation is read-diffused: members pull by `seq`, and only those named by the draft's
    `also` have entries.
    """

    message: Message
    entries: tuple[Entry, ...] = ()
    grew: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A contiguous stretch of a user's queue, oldest first.

    `next` is the cursor to continue from; `more` tells that something committed lies beyond it. Entries
    whose message is gone (closed numbers, retention) have None: they still count for contiguity.
    """

    entries: tuple[tuple[Entry, Message | None], ...]
    next: int
    more: bool
    rebase: bool = False
    """The cursor lies before what is kept (or beyond what exists): start from the conversation list."""


@dataclass(frozen=True, slots=True)
class ReactionCount:
    """How many users put an emoji to a message, and whether the reader is one of them."""

    emoji: str
    count: int
    mine: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages of one conversation in ascending seq."""

    messages: tuple[Message, ...]
    more: bool
    gap: tuple[int, int] | None = None
    """The first missing stretch met, both ends included; what lies beyond it was left out."""
    low: int = 0
    high: int = 0
    """The lowest and highest seq that the page covers, closed numbers included: where the next page starts."""
    reactions: Mapping[MessageId, tuple[ReactionCount, ...]] = field(default_factory=dict)
    """Of those of the messages that have any."""
    quoted: tuple[Message, ...] = ()
    """What messages of the page answer and is not on the page itself."""
