"""What the directory asks about messages where they are not rows of its database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from hub.core.list_ports import ListedMessages
from hub.core.message import ConversationId, Message, MessageId, SeqKey, UserKey


class MessagesElsewhere(Protocol):
    """No verb is part of a SQL transaction; all may raise errors.Unavailable."""

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """The highest number of each sequence, 0 for none. May be asked inside a transaction of the database."""
        ...

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """Bodies by id; those gone are missing."""
        ...

    @property
    def lists(self) -> ListedMessages:
        """What lists of conversations ask."""
        ...

    async def newest(self, past: Mapping[ConversationId, int]) -> Mapping[ConversationId, Message]:
        """The last message of each conversation past a number, neither control nor closed, as the business system sees
        it."""
        ...

    async def inbox(self, user: UserKey, past: int) -> tuple[Message | None, int]:
        """The newest message that this user was sent by the inbox, and how many came past a number (at most
        UNREAD_WINDOW)."""
        ...

    async def numbers(
        self, message: Message, users: Sequence[UserKey], *, inbox: bool
    ) -> Mapping[UserKey, int]:
        """Under which number each of these users has the message in the queue; who has not is left out. Cheap for
        what came by the inbox; otherwise a queue is looked through."""
        ...
