"""The one way to Redis: the same words to one server, to the master that Sentinels know, and to a Cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, Self, TypeAlias, assert_never

from redis import exceptions as redis_errors

from hub.core.errors import QueueUnavailable
from hub.partitions import Grouping, single
from hub.redis_address import ClusterNodes, OneServer, Sentinels, read_address
from hub.redis_cluster import ClusterLink
from hub.redis_pool import FixedPlace, LinkLimits, Place, Pool
from hub.redis_sentinel import MasterPlace
from hub.redis_tuning import Tuning
from hub.redis_wire import Argument, Command, Script, Wire

__all__ = ["LinkLimits", "PooledLink", "RedisLink", "Subscription", "open_redis"]

log = logging.getLogger("hub.redis")

EpochChanged: TypeAlias = Callable[[str, str], None]


class RedisLink(Protocol):
    """Open with `open_redis`. Every method may be called from any task of the loop that opened it.

    All keys of one command or script must have the same partition tag (hub/partitions.py): a Cluster demands it.
    """

    @property
    def clustered(self) -> bool:
        """Whether keys of different partitions lie on different servers."""
        ...

    @property
    def grouping(self) -> Grouping:
        """Which keys may meet in one call."""
        ...

    @property
    def epoch(self) -> str | None:
        """Which server was met last, of a Cluster all of them; None before the first."""
        ...

    @property
    def available(self) -> bool:
        """False from a failure to the next success; of a Cluster, while any of its masters is away."""
        ...

    @property
    def failures(self) -> int:
        """Calls that found Redis away, without those that the circuit refused."""
        ...

    def epoch_of(self, key: str) -> str:
        """The epoch of the server that keeps this key; empty before it is met."""
        ...

    def on_epoch(self, callback: EpochChanged) -> None:
        """Calls back with (old, new) when another server than the last has keys, and may lack what that one was
        told; it must not block."""
        ...

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Runs the commands in one round trip and answers in their order. Each for itself: on a Cluster those for
        different servers run at once, and one whose script a server must learn first runs after the others. A command
        may be run twice when a connection breaks. Raises QueueUnavailable, in bounded time; then any of them may have
        been run or not. PUBLISH reaches who has `subscribe`d here."""
        ...

    async def ask(self, *command: Script | Argument) -> Any:
        """One command, and its answer."""
        ...

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Hears these channels, on connections of its own. Raises QueueUnavailable."""
        ...

    async def aclose(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        ...


class Subscription(Protocol):
    """Channels being heard, over one or several lines. A dead network may end a line without a word: probe each of
    them, and abort."""

    @property
    def lines(self) -> int:
        """How many connections there are."""
        ...

    @property
    def current(self) -> bool:
        """Whether they still lead to the servers that are known now."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The number of a line and the next payload from it, however long it takes. Raises QueueUnavailable when any
        line is gone."""
        ...

    async def add(self, *channels: str) -> None:
        """Hear these too, from the return on: channels in partitions that are heard already. Somebody must receive
        meanwhile, and nobody else add or remove. Raises QueueUnavailable, in bounded time: abort it then."""
        ...

    async def remove(self, *channels: str) -> None:
        """Hear these no more. Not the last ones of a partition. Otherwise as `add`."""
        ...

    async def abort(self) -> None:
        """Break the lines: whoever receives hears of it at once."""
        ...


class PooledLink(Pool):
    """RedisLink to one server, or to whichever is the master now."""

    clustered = False

    def __init__(self, place: Place, limits: LinkLimits) -> None:
        super().__init__(place, limits, self._tell)
        self._watchers: list[EpochChanged] = []

    @classmethod
    def at(cls, url: str, limits: LinkLimits | None = None) -> Self:
        """A link to the one server of this URL."""
        limits = limits or LinkLimits()
        return cls(FixedPlace(url, limits), limits)

    @property
    def grouping(self) -> Grouping:
        """Any keys."""
        return single

    def epoch_of(self, key: str) -> str:  # noqa: ARG002  they are all there
        """The epoch of the server."""
        return self.epoch or ""

    def on_epoch(self, callback: EpochChanged) -> None:
        """Calls back when another server is met than the last."""
        self._watchers.append(callback)

    async def ask(self, *command: Script | Argument) -> Any:
        """One command, and its answer."""
        return (await self.run([command]))[0]

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscription]:
        """A connection of its own that hears these channels."""
        try:
            async with asyncio.timeout(self._limits.command.total_seconds()):
                wire = await self.open_wire()
        except (redis_errors.RedisError, TimeoutError, OSError) as error:
            raise QueueUnavailable(str(error)) from error
        try:
            try:
                async with asyncio.timeout(self._limits.command.total_seconds()):
                    await wire.send("SUBSCRIBE", *channels)
                    for _ in channels:
                        await wire.receive()
            except (redis_errors.RedisError, TimeoutError, OSError) as error:
                raise QueueUnavailable(str(error)) from error
            yield _OneLine(wire, self, self._limits.command.total_seconds())
        finally:
            await wire.close()

    def _tell(self, old: str | None, new: str) -> None:
        if old is None:
            return
        log.warning("redis_epoch_changed", extra={"old": old, "new": new})
        for callback in self._watchers:
            try:
                callback(old, new)
            except Exception:
                log.exception("on_epoch_failed")


class _OneLine:
    """Subscription over one connection."""

    lines = 1

    def __init__(self, wire: Wire, pool: Pool, patience: float) -> None:
        self._wire = wire
        self._pool = pool
        self._tuning = Tuning(wire, patience)

    @property
    def current(self) -> bool:
        return self._pool.epoch in {None, self._wire.epoch}

    async def receive(self) -> tuple[int, bytes]:
        while True:
            try:
                reply = await self._wire.receive()
            except (redis_errors.RedisError, OSError) as error:
                raise QueueUnavailable(str(error)) from error
            if not isinstance(reply, list):
                continue
            if reply[0] == b"message":
                return 0, reply[2]
            self._tuning.confirmed(reply[0], reply[1])

    async def add(self, *channels: str) -> None:
        await self._tuning.change("SUBSCRIBE", channels)

    async def remove(self, *channels: str) -> None:
        await self._tuning.change("UNSUBSCRIBE", channels)

    async def abort(self) -> None:
        await self._wire.close()


@asynccontextmanager
async def open_redis(url: str, limits: LinkLimits | None = None) -> AsyncIterator[RedisLink]:
    """A link to any address that redis_address.py reads; it connects when it is first used. Raises ValueError."""
    limits = limits or LinkLimits()
    watching: asyncio.Task[None] | None = None
    link: PooledLink | ClusterLink
    match read_address(url):
        case OneServer():
            link = PooledLink.at(url, limits)
        case Sentinels() as sentinels:
            place = MasterPlace(sentinels, limits)
            link = PooledLink(place, limits)
            watching = asyncio.create_task(place.watch(link), name="redis-sentinels")
        case ClusterNodes() as nodes:
            link = ClusterLink(nodes, limits)
        case never:
            assert_never(never)
    try:
        yield link
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await link.aclose()
