"""What reading asks of a user's own state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from hub.core.message import ConversationId, UserKey


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a user does not want to see: everything up to a number in `cleared`, and single messages."""

    cleared: Mapping[ConversationId, int] = field(default_factory=dict)
    hidden: frozenset[tuple[ConversationId, int]] = frozenset()


class Glimpse(NamedTuple):
    """What a user looks at of a conversation: from the first number to the last."""

    user: UserKey
    conversation: ConversationId
    first: int
    last: int


class ClearedMarks(Protocol):
    """How far users have cleared their conversations, and what they have hidden there."""

    async def unseen_of(self, glimpses: Sequence[Glimpse]) -> Mapping[UserKey, Unseen]:
        """Up to which number these users have cleared each of these conversations, and what they have hidden there
        within these numbers. Who has done neither is missing, like conversations never cleared. One query."""
        ...
