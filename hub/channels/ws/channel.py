"""The `ws` channel: it knows who is online, and says so. The frames themselves are on their way already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from hub.core.channel import Capabilities, Envelope, Lane
from hub.core.errors import QueueUnavailable
from hub.core.message import UserKey
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry

_BATCH: Final = 500
_AWAY_FOR: Final = timedelta(seconds=2)


class Whereabouts(Protocol):
    """Who has live sessions, on any node. May raise QueueUnavailable."""

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[object]]:
        """The live sessions of each of these users."""
        ...


class WsChannel:
    """core.channel.Channel. `here` tells whether a user has a session on this node, for when Redis cannot.

    Every committed message is published to the live sessions of its users, and what is lost on that way is read
    from their queues, so there is nothing to send: a user with a live session has it or gets it, and the device's
    acknowledgement is the receipt. A repeat is as harmless as the first.
    """

    name = "ws"
    capabilities = Capabilities(lane=Lane.INLINE, batch=_BATCH, repeatable=True, knows_presence=True)

    def __init__(self, presence: Whereabouts, *, here: Callable[[UserKey], bool] = lambda _: False) -> None:
        self._presence = presence
        self._here = here

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Accepted for who is online, Rejected(OFFLINE) for who is not."""
        users = list({envelope.delivery.user for envelope in batch})
        outcomes: dict[UserKey, Outcome] = {}
        for start in range(0, len(users), _BATCH):
            some = users[start : start + _BATCH]
            outcomes.update(zip(some, await self._look(some), strict=True))
        return [outcomes[envelope.delivery.user] for envelope in batch]

    async def _look(self, users: Sequence[UserKey]) -> list[Outcome]:
        try:
            found = await self._presence.sessions(users)
        except QueueUnavailable:
            return [self._without_redis(user) for user in users]
        return [
            Accepted(detail=f"sessions: {len(found[user])}") if found.get(user) else Rejected(Reason.OFFLINE)
            for user in users
        ]

    def _without_redis(self, user: UserKey) -> Outcome:
        if self._here(user):
            return Accepted(detail="a session on this node")
        return Retry(Reason.PROVIDER_DOWN, after=_AWAY_FOR, detail="presence cannot be asked")
