"""Where an account's access token lies for all who need it, and who may fetch the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from hub.core.errors import HubError
from hub.partitions import tag
from hub.redis_link import RedisLink
from hub.redis_wire import load_script

FORCE_GAP: Final = timedelta(seconds=31)
"""WeChat does not refresh where two forced refreshes are less than 30 seconds apart."""
FORCES_A_DAY: Final = 10
"""WeChat allows 20; the rest is left to people."""


class Box(Protocol):
    """Seals what lies in Redis, which writes it to disk."""

    def seal(self, text: bytes) -> str:
        """Encrypted and authenticated."""
        ...

    def open(self, sealed: str) -> bytes:
        """What was sealed. Raises HubError where it cannot be opened."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A token, and how long it still lives."""

    token: str = field(repr=False)
    left: timedelta


class Shelf(Protocol):
    """One account's token and the lock around fetching it. Every method may raise QueueUnavailable."""

    async def read(self) -> Stored | None:
        """The token, unless its life has ended."""
        ...

    async def claim(self, owner: str) -> bool:
        """Whether `owner` alone may fetch now, until it puts or releases, or the lock's time is up."""
        ...

    async def put(self, owner: str, token: str, life: timedelta) -> None:
        """Stores it and lets go, if `owner` still holds the lock; otherwise nothing happens."""
        ...

    async def release(self, owner: str) -> None:
        """Lets go, if `owner` holds the lock."""
        ...

    async def may_force(self, owner: str) -> bool:
        """Whether a forced refresh is allowed now: at most one in FORCE_GAP, and so many a day."""
        ...


class RedisShelf:
    """For all processes, by the clock of Redis alone. A token that the box cannot open is as good as none."""

    def __init__(
        self,
        link: RedisLink,
        appid: str,
        *,
        box: Box,
        lock: timedelta,
        force_gap: timedelta = FORCE_GAP,
        forces_a_day: int = FORCES_A_DAY,
    ) -> None:
        """`lock` must be longer than two fetches take at most."""
        self._link = link
        self._box = box
        self._lock_ttl = _milliseconds(lock)
        self._gap = _milliseconds(force_gap)
        self._forces = forces_a_day
        place = f"{tag(f'wx:{appid}')}:{appid}"
        self._token, self._lock = f"hub:wx:token:{place}", f"hub:wx:token_lock:{place}"
        self._forced, self._count = f"hub:wx:token_forced:{place}", f"hub:wx:token_forces:{place}"
        self._claim, self._read, self._put, self._release, self._force = (
            load_script(__package__, f"token_{name}") for name in ("claim", "read", "put", "release", "force")
        )

    async def read(self) -> Stored | None:
        """The token."""
        sealed, left = await self._link.ask(self._read, 1, self._token)
        if sealed is None or left <= 0:
            return None
        with suppress(HubError):
            return Stored(self._box.open(sealed.decode()).decode(), timedelta(milliseconds=left))
        return None

    async def claim(self, owner: str) -> bool:
        """Whether it is the owner's turn."""
        return bool(await self._link.ask(self._claim, 1, self._lock, owner, self._lock_ttl))

    async def put(self, owner: str, token: str, life: timedelta) -> None:
        """Stores and lets go."""
        sealed = self._box.seal(token.encode())
        keys = (2, self._token, self._lock)
        await self._link.ask(self._put, *keys, owner, sealed, max(_milliseconds(life), 1))

    async def release(self, owner: str) -> None:
        """Lets go."""
        await self._link.ask(self._release, 1, self._lock, owner)

    async def may_force(self, owner: str) -> bool:
        """Counts it where it is allowed."""
        keys = (2, self._forced, self._count)
        return bool(await self._link.ask(self._force, *keys, owner, self._gap, self._forces))


class LocalShelf:
    """For one process: where there is no Redis, or while it is away.

    With `forces_a_day=0` it never forces: processes that cannot talk to each other could only kill each other's tokens.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        force_gap: timedelta = FORCE_GAP,
        forces_a_day: int = FORCES_A_DAY,
    ) -> None:
        self._clock = clock
        self._gap = force_gap.total_seconds()
        self._forces = forces_a_day
        self._stored: tuple[str, float] | None = None
        self._owner: str | None = None
        self._forced: list[tuple[str, float]] = []

    async def read(self) -> Stored | None:
        """The token."""
        if self._stored is None:
            return None
        token, ends = self._stored
        left = timedelta(seconds=ends - self._clock())
        return Stored(token, left) if left > timedelta(0) else None

    async def claim(self, owner: str) -> bool:
        """Whether it is the owner's turn."""
        self._owner = self._owner or owner
        return self._owner == owner

    async def put(self, owner: str, token: str, life: timedelta) -> None:
        """Stores and lets go."""
        if self._owner == owner:
            self._stored = (token, self._clock() + life.total_seconds())
            self._owner = None

    async def release(self, owner: str) -> None:
        """Lets go."""
        if self._owner == owner:
            self._owner = None

    async def may_force(self, owner: str) -> bool:
        """Counts it where it is allowed."""
        now = self._clock()
        self._forced = [(by, at) for by, at in self._forced if at > now - 86_400]
        if self._forced and now - self._forced[-1][1] < self._gap:
            return self._forced[-1][0] == owner
        if len(self._forced) >= self._forces:
            return False
        self._forced.append((owner, now))
        return True


def _milliseconds(value: timedelta) -> int:
    return int(value.total_seconds() * 1000)
