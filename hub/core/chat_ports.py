"""What the verbs of chat ask of the store beside the messages themselves: reactions, pins, readers, what is hidden.

All of it is written by the group commit (`MessageStore.commit`), with the control message that tells of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from hub.core.message import AppId, ConversationId, MessageId, ReactionCount, UserKey

COUNTED: Final = 1_000
"""Readers are counted up to here; past it only "at least so many" is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether something is so, and the seq of the control message that said it last (0: nobody ever did)."""

    added: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PinnedMessage:
    """A message that is pinned. `by_id` is None for the business system."""

    message: MessageId
    seq: int
    by_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A member as a list of readers, or of who reacted, shows them. `place` orders the list."""

    user: UserKey
    user_id: str
    name: str
    place: int = 0


@dataclass(frozen=True, slots=True)
class Readers:
    """A page of members. `next` is the (cursor, number) past which the list goes on; None at its end."""

    people: Sequence[Person]
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class ReaderCounts:
    """How many have read a message and how many have not; `exact` is False where there are more than COUNTED."""

    read: int
    unread: int
    read_exact: bool = True
    unread_exact: bool = True


class ChatStore(Protocol):
    """Questions only, each one indexed query. May raise `errors.Unavailable`."""

    async def named_members(
        self, conversation: ConversationId, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        """Those of these product ids that are members."""
        ...

    async def named_users(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Those of these product ids that are users of the app."""
        ...

    async def reactions(
        self, messages: Collection[MessageId], *, reader: UserKey | None
    ) -> Mapping[MessageId, tuple[ReactionCount, ...]]:
        """The emojis at each of these messages, most frequent first; who has none is missing."""
        ...

    async def reacted(self, message: MessageId, emoji: str, *, after: int, limit: int) -> Sequence[Person]:
        """Who put an emoji to a message, by number past `after`."""
        ...

    async def reaction(self, message: MessageId, user: UserKey, emoji: str) -> Standing:
        """Whether this user put this emoji to it."""
        ...

    async def pins(self, conversation: ConversationId, *, limit: int) -> Sequence[PinnedMessage]:
        """The pinned messages of a conversation, last pinned first."""
        ...

    async def pin(self, conversation: ConversationId, message: MessageId) -> Standing:
        """Whether this message is pinned."""
        ...

    async def hidden(
        self, user: UserKey, conversation: ConversationId, *, low: int, high: int
    ) -> frozenset[int]:
        """The seqs from `low` to `high` that this user has hidden."""
        ...

    async def readers(
        self,
        conversation: ConversationId,
        seq: int,
        *,
        read: bool,
        besides: UserKey,
        after: tuple[int, int],
        limit: int,
    ) -> Readers:
        """Members at the time of message `seq` who have (or have not) read it, by (read cursor, number) past `after`;
        a person's `place` is the cursor. Looks at a bounded number of members, however large the group: a page may be
        short, or empty, and have a next."""
        ...

    async def reader_counts(
        self, conversation: ConversationId, seq: int, *, besides: UserKey
    ) -> ReaderCounts:
        """How many those are. Looks at a bounded number of members, however large the group."""
        ...
