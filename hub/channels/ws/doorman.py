"""Sessions of a user's devices on every node: which there are, and how they are shown out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from hub.channels.ws.sightings import SessionInfo
from hub.core.message import UserKey
from hub.core.ports import Broker

KICK: Final = "hub.kick"
"""The type of a signal between nodes, never written to a socket."""


class Whereabouts(Protocol):
    """Live sessions on any node. May raise QueueUnavailable."""

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[SessionInfo]]:
        """The live sessions of each of these users."""
        ...


class Doorman:
    """Asks presence, and tells nodes. Both may raise QueueUnavailable."""

    def __init__(self, presence: Whereabouts, broker: Broker) -> None:
        self._presence = presence
        self._broker = broker

    async def sessions(self, user: UserKey) -> Sequence[SessionInfo]:
        """The user's live sessions, oldest first."""
        found = (await self._presence.sessions([user])).get(user, ())
        return sorted(found, key=lambda info: (info.since, info.session))

    async def kick(self, user: UserKey, device: str) -> int:
        """Close the sessions of one device, on every node. How many there were."""
        found = [info for info in await self.sessions(user) if info.device == device]
        # Told even where none was seen: one that is being welcomed right now is closed with the others.
        await self._broker.signal([user], {"type": KICK, "device": device})
        return len(found)
