"""What the broker calls on its own node: whatever holds the sessions there, or nobody."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from hub.channels.ws.parcel import Parcel
from hub.core.message import ConversationId, MessageId, UserKey


class LocalSessions(Protocol):
    """The sessions of this node. Nothing here waits; who is not here is passed over."""

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Messages, in order."""
        ...

    def signal(self, users: Collection[UserKey], frame: bytes) -> None:
        """A complete JSON frame that is not stored."""
        ...

    def presence_changed(self, user: UserKey, online: bool, at: datetime) -> None:
        """For those here who watch this user. It may be no change."""
        ...

    def catch_up(self) -> None:
        """Something may have been lost: compare heads, and read memberships again."""
        ...

    def rooms_here(self) -> Collection[ConversationId]:
        """Read-diffused conversations of users who are here."""
        ...

    def drop_user(self, user: UserKey, conversation: ConversationId | None) -> None:
        """Membership of a conversation, or what the user may do at all, has changed: check again."""
        ...

    def forget(self, messages: Collection[MessageId]) -> None:
        """The bodies of these have changed."""
        ...


class NoSessions:
    """The local side of a process without sockets."""

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Nobody is here."""

    def signal(self, users: Collection[UserKey], frame: bytes) -> None:
        """Nobody is here."""

    def presence_changed(self, user: UserKey, online: bool, at: datetime) -> None:
        """Nobody is here."""

    def catch_up(self) -> None:
        """Nobody is here."""

    def rooms_here(self) -> Collection[ConversationId]:
        """Nobody is here."""
        return ()

    def drop_user(self, user: UserKey, conversation: ConversationId | None) -> None:
        """Nobody is here."""

    def forget(self, messages: Collection[MessageId]) -> None:
        """Nobody reads here."""
