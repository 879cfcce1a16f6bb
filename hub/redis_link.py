"""The one way to Redis: bounded waits, a circuit, and answers only from a server that is known.

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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from redis import exceptions as redis_errors
from redis.asyncio.connection import ConnectionPool

from hub.core.errors import QueueUnavailable
from hub.redis_wire import Argument, Command, Script, Wire

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
_AWAY_WORDS = ("BUSY", "MISCONF", "NOREPLICAS", "OOM", "READONLY")
"""The same for what redis-py has no class for."""

EpochChanged: TypeAlias = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """`command` bounds a whole call, connecting and waiting for a connection included. After a failure everybody is
    refused for `pause`, instead of each waiting for the time-out."""

    connect: timedelta = timedelta(seconds=1)
    command: timedelta = timedelta(seconds=2)
    pause: timedelta = timedelta(milliseconds=500)
    connections: int = 16


class RedisLink:
    """Open with `open_redis`. Every method may be called from any task of the loop that opened it."""

    def __init__(self, url: str, limits: LinkLimits | None = None) -> None:
        self._limits = limits or LinkLimits()
        # Only reads the URL and makes connections. RESP2: nothing comes that was not asked for.
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=self._limits.connect.total_seconds(),
            driver_info=None,
        )
        self._idle: list[Wire] = []
        self._slots = asyncio.Semaphore(self._limits.connections)
        self._watchers: list[EpochChanged] = []
        self._retry_at = 0.0
        self._epoch: str | None = None
        self._epoch_at = 0.0
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

    def on_epoch(self, callback: EpochChanged) -> None:
        """Calls back with (old, new) when another server is met than the last; it must not block."""
        self._watchers.append(callback)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Runs the commands in one round trip and answers in their order. A command may be run twice when a
        connection breaks. Raises QueueUnavailable, in bounded time; then any of them may have been run or not."""
        if not commands:
            return []
        self._admit()
        try:
            async with asyncio.timeout(self._limits.command.total_seconds()), self._slots:
                replies = await self._converse(commands)
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, TimeoutError, OSError) as error:
            raise self._fail(error) from error
        except redis_errors.ResponseError as error:  # at the door: AUTH, SELECT, INFO
            raise (self._fail(error) if _away(error) else error) from error
        return self._judge(replies)

    async def ask(self, *command: Script | Argument) -> Any:
        """One command, and its answer."""
        return (await self.run([command]))[0]

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscription]:
        """A connection of its own that hears these channels. Raises QueueUnavailable."""
        wire = self._make()
        try:
            try:
                async with asyncio.timeout(self._limits.command.total_seconds()):
                    await wire.open()
                    await wire.send("SUBSCRIBE", *channels)
                    for _ in channels:
                        await wire.receive()
            except (redis_errors.RedisError, TimeoutError, OSError) as error:
                raise QueueUnavailable(str(error)) from error
            yield Subscription(wire)
        finally:
            await wire.close()

    async def aclose(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        self._closed = True
        await self._close_idle()

    def _make(self) -> Wire:
        return Wire(self._pool.make_connection())  # type: ignore[no-untyped-call]

    def _admit(self) -> None:
        """The circuit: while Redis is away, one call per pause finds out whether it still is."""
        if self._retry_at:
            now = time.monotonic()
            if now < self._retry_at:
                raise QueueUnavailable("Redis did not answer a moment ago")
            self._retry_at = now + self._limits.pause.total_seconds()

    def _fail(self, error: Exception) -> QueueUnavailable:
        self.failures += 1
        if self.available:
            log.warning("redis_away", extra={"error": f"{type(error).__name__}: {error}"[:200]})
        self._retry_at = time.monotonic() + self._limits.pause.total_seconds()
        return QueueUnavailable(str(error) or type(error).__name__)

    async def _converse(self, commands: Sequence[Command]) -> list[Any]:
        reused = bool(self._idle)
        try:
            return await self._attempt(commands)
        except redis_errors.ConnectionError:
            # The server closed it while it lay idle, or has been restarted: the others are as dead.
            await self._close_idle()
            if not reused:
                raise
        return await self._attempt(commands)

    async def _attempt(self, commands: Sequence[Command]) -> list[Any]:
        wire = await self._take()
        healthy = False
        try:
            replies = await wire.converse(commands)
            if any(isinstance(reply, redis_errors.ReadOnlyError) for reply in replies):
                await (
                    self._close_idle()
                )  # a replica by now: the way to the master leads through new connections
            else:
                healthy = True
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
        wire = self._make()
        try:
            await wire.open()
        except BaseException:
            await wire.close()
            raise
        return wire

    def _meet(self, wire: Wire) -> None:
        """Called after the first successful commands: a server that still loads its file is not there yet."""
        old, new = self._epoch, wire.epoch
        if old == new or wire.identified_at < self._epoch_at:
            return
        self._epoch, self._epoch_at = new, wire.identified_at
        if old is None:
            return
        log.warning("redis_epoch_changed", extra={"old": old, "new": new})
        for callback in self._watchers:
            try:
                callback(old, new)
            except Exception:
                log.exception("on_epoch_failed")

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for wire in idle:
            await wire.close()

    def _judge(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, redis_errors.ReadOnlyError):
                raise self._fail(reply)
            if isinstance(reply, Exception):
                if not _away(reply):
                    raise reply
                self.failures += 1
                raise QueueUnavailable(str(reply)) from reply
        if self._retry_at:
            self._retry_at = 0.0
            log.info("redis_back")
        return replies


class Subscription:
    """Channels being heard. A dead network may end it without a word: probe it, and abort it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.epoch = wire.epoch
        """The server it leads to."""

    async def receive(self) -> bytes:
        """The next payload, however long it takes. Raises QueueUnavailable when the connection is gone."""
        while True:
            try:
                reply = await self._wire.receive()
            except (redis_errors.RedisError, OSError) as error:
                raise QueueUnavailable(str(error)) from error
            if isinstance(reply, list) and reply[0] == b"message":
                payload: bytes = reply[2]
                return payload

    async def abort(self) -> None:
        """Break the connection: whoever receives hears of it at once."""
        await self._wire.close()


@asynccontextmanager
async def open_redis(url: str, limits: LinkLimits | None = None) -> AsyncIterator[RedisLink]:
    """A link to `unix://`, `redis://` or `rediss://`; it connects when it is first used."""
    link = RedisLink(url, limits)
    try:
        yield link
    finally:
        await link.aclose()


def _away(error: Exception) -> bool:
    return isinstance(error, _AWAY) or str(error).startswith(_AWAY_WORDS)
