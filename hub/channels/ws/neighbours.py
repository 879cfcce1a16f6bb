"""What the gateway asks of the rest of the hub: the engine's verbs, and presence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hub.channels.ws.seats import Seat
from hub.channels.ws.sightings import SessionInfo
from hub.core.identity import EndUser
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    HistoryPage,
    MessageId,
    Page,
    UserKey,
)
from hub.core.task import Intent, Person, Task


class EngineApi(Protocol):
    """The verbs. They raise errors.Refused and errors.Unavailable."""

    async def submit(self, draft: Draft) -> Accepted:
        """Commit a message. Drafts submitted one after another are accepted in that order."""
        ...

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        """A contiguous page of a queue."""
        ...

    async def heads(self, users: Sequence[UserKey]) -> Sequence[int]:
        """The newest committed number of each queue, in the order asked."""
        ...

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        """A page of a conversation that the reader may see."""
        ...

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        """The device has everything up to `seq`. Never blocks."""
        ...

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        """Move the read cursor; whom it concerns hears of it."""
        ...

    def new_id(self, prefix: str) -> str:
        """A new id that sorts by time."""
        ...

    def clock(self) -> datetime:
        """Now, aware UTC."""
        ...


class Decided(Protocol):
    """What became of a press."""

    @property
    def task(self) -> Task:
        """The task as it is now."""
        ...

    @property
    def intent(self) -> Intent:
        """The decision."""
        ...

    @property
    def repeated(self) -> bool:
        """It had been sent before."""
        ...


class ActionsApi(Protocol):
    """Presses of cards' buttons (core.approvals.Approvals)."""

    async def act_on_message(
        self,
        app: AppId,
        message: MessageId,
        person: Person,
        action: str,
        *,
        comment: str = "",
        client_action_id: str | None = None,
        acted_from: str = "",
    ) -> Decided:
        """Decide, by the card's message. Takes as long as the business system does, up to ten seconds."""
        ...


class ListApi(Protocol):
    """A user's conversation list. Every conversation is the JSON that `GET /v1/conversations` shows of it."""

    async def page(
        self, user: EndUser, *, after: str | None, limit: int
    ) -> tuple[Sequence[bytes], str | None]:
        """A page, and the place after which the next one begins. Raises Refused cursor_invalid."""
        ...

    async def one(self, user: EndUser, conversation: ConversationId) -> bytes:
        """One conversation. Raises NotFound where the user is not in it."""
        ...


class PresenceApi(Protocol):
    """Who is online, over all nodes. The questions may raise errors.QueueUnavailable."""

    async def register(self, session: Seat) -> None:
        """This session is live on this node. Twice is harmless."""
        ...

    async def unregister(self, session: Seat) -> None:
        """It is not any more. Twice is harmless."""
        ...

    async def others(self) -> Collection[str]:
        """The names of the other live nodes."""
        ...

    async def nodes_of(self, users: Collection[UserKey]) -> Mapping[str, Collection[UserKey]]:
        """The other nodes on which these users have live sessions. Free where there is no other node."""
        ...

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[SessionInfo]]:
        """The live sessions of each of these users, on all nodes."""
        ...

    async def online(self, users: Collection[UserKey]) -> Mapping[UserKey, Mapping[str, object]]:
        """What may be told of these users."""
        ...

    async def poll(self, user: UserKey) -> None:
        """Requests wait on this node for what is new to this user. Twice is harmless."""
        ...

    async def unpoll(self, users: Collection[UserKey]) -> None:
        """Not any more."""
        ...

    async def watch(self, users: Collection[UserKey]) -> None:
        """Changes of these are wanted on this node."""
        ...

    async def unwatch(self, users: Collection[UserKey]) -> None:
        """Not any more."""
        ...
