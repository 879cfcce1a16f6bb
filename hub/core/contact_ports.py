"""What reading asks of a user's own state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hub.core.message import ConversationId, UserKey


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a user does not want to see: everything up to a number in `cleared`, and single messages."""

    cleared: Mapping[ConversationId, int] = field(default_factory=dict)
    hidden: frozenset[tuple[ConversationId, int]] = frozenset()


class ClearedMarks(Protocol):
    """How far users have cleared their conversations, and what they have hidden there."""

    async def unseen(self, user: UserKey, spans: Mapping[ConversationId, tuple[int, int]]) -> Unseen:
        """The number up to which this user has cleared each of these conversations (those never cleared are missing),
        and what they have hidden there from the first to the second number. One query."""
        ...
