"""What routes ask of the live side of the hub: long polls, and sessions of devices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from hub.core.message import Page, UserKey


class PollsApi(Protocol):
    """Requests that wait for news."""

    async def pull(self, user: UserKey, *, after: int, limit: int, wait: float) -> Page:
        """What is past `after`, as soon as there is something; an empty page after `wait` seconds. Raises Refused
        too_many_polls."""
        ...


class LiveSession(Protocol):
    """An open socket, on whichever node."""

    @property
    def session(self) -> str:
        """Its id."""
        ...

    @property
    def device(self) -> str:
        """The device's id."""
        ...

    @property
    def since(self) -> datetime:
        """When it was welcomed."""
        ...


class DoormanApi(Protocol):
    """Sessions of devices. May raise errors.QueueUnavailable."""

    async def sessions(self, user: UserKey) -> Sequence[LiveSession]:
        """The user's live sessions, oldest first."""
        ...

    async def kick(self, user: UserKey, device: str) -> int:
        """Close the sessions of one device, on every node. How many there were."""
        ...
