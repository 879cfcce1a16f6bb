"""What the list of conversations asks of messages: which are listed in which order, and what is new in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hub.core.message import ConversationId, Message, UserKey


@dataclass(frozen=True, slots=True)
class ListPlace:
    """Where a conversation stands in a user's list: pinned ones first, the newest pin first of all, then by the last
    activity `at`, then by id."""

    conversation: ConversationId
    pinned_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user sees of a conversation (`floor`: above max(joined, cleared)) and has read of it."""

    conversation: ConversationId
    floor: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class Glance:
    """The newest message that the user sees, how many of others are unread, and the highest unread seq that mentions
    the user, or everybody (0 for none)."""

    last: Message | None = None
    unread: int = 0
    mention: int = 0


class ListedMessages(Protocol):
    """No question costs more with a longer history or a larger group: only the newest UNREAD_WINDOW messages of a
    conversation are ever looked at. Never the inbox, where references decide."""

    async def page(self, user: UserKey, *, after: ListPlace | None, limit: int) -> Sequence[ListPlace]:
        """The user's conversations in the order of the list, from past a place. Activity is the time of the newest
        message that the user sees (no control, no tombstone), else that of the conversation's making. A direct
        conversation without any message that exists only because somebody was blocked is left out."""
        ...

    async def glances(self, user: UserKey, standings: Sequence[Standing]) -> Mapping[ConversationId, Glance]:
        """What is new in these. Unread are messages of others, no control, not recalled, past what is read."""
        ...
