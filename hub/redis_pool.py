"""Connections to one Redis server: bounded waits, a circuit, and answers only from a server that is known.

Why scripts carry the epoch. What Redis answers is worth something only if it is still the server that it was told
things; after a restart, a failover or a restored file it may have forgotten the newest of them. A server is known by
its run id and its replication id, together its epoch, and every script has the epoch written into its source. Redis
neither persists nor replicates loaded scripts, so another server answers NOSCRIPT to the first script that is called:
the change is noticed exactly, by the command that would have been answered wrongly, at no cost for the others. Each
connection also asks who the server is when it is made and again every two seconds, for the one case that keeps its
scripts: a server that is demoted and promoted again while it runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection, ConnectionPool

from hub.core.errors import QueueUnavailable
from hub.redis_wire import Command, Wire

log = logging.getLogger("hub.redis")

_AWAY = (
    redis_errors.AuthenticationError,
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.NoPermissionError,
    redis_errors.NoScriptError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
)
_BROKEN = (
    redis_errors.ConnectionError,
    redis_errors.ResponseError,
    redis_errors.TimeoutError,
    TimeoutError,
    OSError,
)
_AWAY_WORDS = ("BUSY", "MISCONF", "NOREPLICAS", "OOM", "READONLY")
"""The same for what redis-py has no class for."""
_ON_ITS_WAY = "ttempted to access a non local key"
"""A Cluster's node to a script of which one key has moved already, and is not among those that it was called with."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """`command` bounds a whole call, connecting and waiting for a connection included. After a failure everybody is
    refused for `pause`, instead of each waiting for the time-out. `connections` to each server."""

    connect: timedelta = timedelta(seconds=1)
    command: timedelta = timedelta(seconds=2)
    pause: timedelta = timedelta(milliseconds=500)
    connections: int = 16


class Place(Protocol):
    """Where new connections lead."""

    async def connection(self) -> AbstractConnection:
        """One that is not open yet. Raises redis-py's errors or OSError where nobody knows."""
        ...

    def doubt(self) -> None:
        """What it was led to was no master, or not there."""
        ...


class FixedPlace:
    """Always the same URL: what is behind its name may change."""

    def __init__(self, url: str, limits: LinkLimits) -> None:
        # Only reads the URL and makes connections. RESP2: nothing comes that was not asked for.
        self._connections = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=limits.connect.total_seconds(),
            driver_info=None,
        )

    async def connection(self) -> AbstractConnection:
        """There."""
        return self._connections.make_connection()  # type: ignore[no-any-return,no-untyped-call]

    def doubt(self) -> None:
        """There is no other."""


Met = Callable[[str | None, str], None]
"""Another server than the last (None before the first) was met: (old, new)."""


class Pool:
    """Connections to the server at `place`. Every method may be called from any task of one loop."""

    def __init__(self, place: Place, limits: LinkLimits, met: Met) -> None:
        self.place = place
        self._limits = limits
        self._met = met
        self._patience = limits.command.total_seconds()
        self._idle: list[Wire] = []
        self._slots = asyncio.Semaphore(limits.connections)
        self._retry_at = 0.0
        self._epoch: str | None = None
        self._epoch_at = 0.0
        self._life = 0
        self._closed = False
        self.failures = 0
        """Calls that found Redis away, without those that the circuit refused."""

    @property
    def epoch(self) -> str | None:
        """Which server was met last; None before the first."""
        return self._epoch

    @property
    def available(self) -> bool:
        """False from a failure to the next success."""
        return not self._retry_at

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Runs the commands in one round trip and answers in their order. A command may be run twice when a
        connection breaks. Raises QueueUnavailable, in bounded time; then any of them may have been run or not."""
        if not commands:
            return []
        self._admit()
        # As in `exchange`: on the hot path one call less counts.
        try:
            async with asyncio.timeout(self._patience), self._slots:
                replies = await self._converse(commands, asking=False)
        except _BROKEN as error:
            raise self._refusal(error) from error
        return self.judge(replies)

    async def exchange(self, commands: Sequence[Command], *, asking: bool = False) -> list[Any]:
        """The same, with refusals as values among the answers, for `judge`."""
        self._admit()
        try:
            async with asyncio.timeout(self._patience), self._slots:
                return await self._converse(commands, asking)
        except _BROKEN as error:
            raise self._refusal(error) from error

    def judge(self, replies: list[Any]) -> list[Any]:
        """The answers, if all of them are some. Raises what a refusal means."""
        for reply in replies:
            if isinstance(reply, redis_errors.ReadOnlyError):
                raise self._fail(reply)
            if isinstance(reply, Exception):
                if not away(reply):
                    raise reply
                self.failures += 1
                raise QueueUnavailable(str(reply)) from reply
        if self._retry_at:
            self._retry_at = 0.0
            log.info("redis_back")
        return replies

    async def open_wire(self) -> Wire:
        """A connection of its own, to a server that has said who it is."""
        wire = Wire(await self.place.connection())
        wire.life = self._life
        try:
            await wire.open()
        except BaseException:
            self.place.doubt()
            await wire.close()
            raise
        return wire

    async def leave(self) -> None:
        """What is at this place now is not what the connections lead to: none of them is used again."""
        self._life += 1
        await self._close_idle()

    async def aclose(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        self._closed = True
        await self._close_idle()

    def _admit(self) -> None:
        """The circuit: while Redis is away, one call per pause finds out whether it still is."""
        if self._retry_at:
            now = time.monotonic()
            if now < self._retry_at:
                raise QueueUnavailable("Redis did not answer a moment ago")
            self._retry_at = now + self._limits.pause.total_seconds()

    def _refusal(self, error: Exception) -> Exception:
        """What to raise. A refusal was one at the door: of AUTH, SELECT or INFO."""
        if isinstance(error, redis_errors.ResponseError) and not away(error):
            return error
        return self._fail(error)

    def _fail(self, error: Exception) -> QueueUnavailable:
        self.failures += 1
        if self.available:
            log.warning("redis_away", extra={"error": f"{type(error).__name__}: {error}"[:200]})
        self._retry_at = time.monotonic() + self._limits.pause.total_seconds()
        self.place.doubt()
        return QueueUnavailable(str(error) or type(error).__name__)

    async def _converse(self, commands: Sequence[Command], asking: bool) -> list[Any]:
        reused = bool(self._idle)
        try:
            return await self._attempt(commands, asking)
        except redis_errors.ConnectionError:
            # The server closed it while it lay idle, or has been restarted: the others are as dead.
            await self._close_idle()
            if not reused:
                raise
        return await self._attempt(commands, asking)

    async def _attempt(self, commands: Sequence[Command], asking: bool) -> list[Any]:
        wire = await self._take()
        healthy = False
        try:
            replies = await wire.converse(commands, asking=asking)
            if any(isinstance(reply, redis_errors.ReadOnlyError) for reply in replies):
                # A replica by now: the way to the master leads through new connections.
                self.place.doubt()
                await self._close_idle()
            else:
                healthy = wire.life == self._life
                if healthy:
                    self._meet(wire)
            return replies
        finally:
            if healthy and wire.epoch == self._epoch and not self._closed:
                self._idle.append(wire)
            else:
                await wire.close()

    async def _take(self) -> Wire:
        while self._idle:
            wire = self._idle.pop()
            if wire.epoch == self._epoch and await wire.usable():
                return wire
            await wire.close()
        return await self.open_wire()

    def _meet(self, wire: Wire) -> None:
        """Called after the first successful commands: a server that still loads its file is not there yet."""
        old, new = self._epoch, wire.epoch
        if old == new or wire.identified_at < self._epoch_at:
            return
        self._epoch, self._epoch_at = new, wire.identified_at
        self._met(old, new)

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for wire in idle:
            await wire.close()


def away(error: Exception) -> bool:
    """Whether this refusal means that Redis cannot be used now, and not that the command is wrong."""
    return isinstance(error, _AWAY) or str(error).startswith(_AWAY_WORDS) or _ON_ITS_WAY in str(error)
