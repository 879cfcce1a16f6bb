"""Which server is the master, as the Sentinels say: asked when connecting, and told when it changes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from hub.core.errors import QueueUnavailable
from hub.redis_address import Host, Sentinels
from hub.redis_pool import FixedPlace, LinkLimits, Pool
from hub.redis_wire import Wire

log = logging.getLogger("hub.redis")

_BELIEVED: Final = 1.0
"""Seconds for which an answer serves further connections."""
_LISTEN: Final = 3.0
"""Seconds of listening to one Sentinel; then the next is asked, as it may be cut off from the others."""
_PAUSE: Final = 0.5


class NoMaster(redis_errors.ConnectionError):
    """No Sentinel that answers knows a master of this name."""


class MasterPlace:
    """hub.redis_pool.Place: the master of now. Who stands there and is none, or is not there, is asked for again, at
    another Sentinel."""

    def __init__(self, sentinels: Sentinels, limits: LinkLimits) -> None:
        self._sentinels = sentinels
        self._limits = limits
        self._next = 0
        self._master: Host | None = None
        self._told_at = 0.0
        self._led: Host | None = None
        """Where the connections lead that were made last."""
        self._epoch = 0
        self._places: dict[Host, FixedPlace] = {}
        self._asking = asyncio.Lock()

    async def connection(self) -> AbstractConnection:
        """To the master."""
        async with self._asking:
            master = self._master
            if master is None or time.monotonic() - self._told_at > _BELIEVED:
                master = await self.find()
                self._note(master)
        self._led = master
        return await self._place(master).connection()

    def doubt(self) -> None:
        """Ask the next Sentinel the next time."""
        self._master = None
        self._next += 1

    async def find(self) -> Host:
        """Asks the Sentinels in turn, until one knows as much as was known. Raises NoMaster."""
        hosts = self._sentinels.hosts
        answers: list[tuple[int, Host]] = []
        said = ""
        for turn in range(len(hosts)):
            host = hosts[(self._next + turn) % len(hosts)]
            try:
                answers.append(await self._ask(host))
            except (redis_errors.RedisError, OSError) as error:
                said = f"{host}: {str(error) or type(error).__name__}"
                continue
            if answers[-1][0] >= self._epoch:
                self._next += turn
                break
        if not answers:
            raise NoMaster(f"no Sentinel names the master; the last, {said}"[:200])
        # All know less than one did: they have been set up anew.
        self._epoch, master = max(answers)
        return master

    async def _ask(self, sentinel: Host) -> tuple[int, Host]:
        """What this one knows, and of which failover: a Sentinel that is cut off knows an earlier one."""
        wire = await self._sentinel(sentinel)
        try:
            async with asyncio.timeout(self._patience):
                words = await wire.ask("SENTINEL", "MASTER", self._sentinels.master)
        finally:
            await wire.close()
        fields = dict(zip(words[::2], words[1::2], strict=True))
        return int(fields[b"config-epoch"]), Host(fields[b"ip"].decode(), int(fields[b"port"]))

    async def watch(self, pool: Pool) -> None:
        """Hears of a new master and lets `pool` go there at once. Never returns."""
        while True:
            try:
                await self._hear(pool)
            except (redis_errors.RedisError, OSError):
                self._next += 1
                await asyncio.sleep(_PAUSE)
            except Exception:
                log.exception("sentinel_watch_failed")
                await asyncio.sleep(_PAUSE)

    async def _hear(self, pool: Pool) -> None:
        """Listens to one Sentinel for a while. It is asked after it has begun to tell: nothing falls in between."""
        hosts = self._sentinels.hosts
        wire = await self._sentinel(hosts[self._next % len(hosts)])
        try:
            async with asyncio.timeout(self._patience):
                await wire.ask("SUBSCRIBE", "+switch-master")
                await self._compare(await self.find(), pool)
            deadline = asyncio.get_running_loop().time() + _LISTEN
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    while True:
                        await self._told(await wire.receive(), pool)
        finally:
            await wire.close()
        self._next += 1

    async def _told(self, said: object, pool: Pool) -> None:
        if isinstance(said, list) and said[0] == b"message":
            await self._compare(await self.find(), pool)

    async def _compare(self, master: Host, pool: Pool) -> None:
        self._note(master)
        old, self._led = self._led, master
        if old is None or old == master:
            return
        log.warning("redis_master_changed", extra={"old": str(old), "new": str(master)})
        await pool.leave()
        with suppress(QueueUnavailable):
            await pool.run([("PING",)])  # meets it, and tells who must know

    def _note(self, master: Host) -> None:
        self._master, self._told_at = master, time.monotonic()

    def _place(self, host: Host) -> FixedPlace:
        if host not in self._places:
            self._places = {host: FixedPlace(self._sentinels.master_url(host), self._limits)}
        return self._places[host]

    async def _sentinel(self, host: Host) -> Wire:
        place = FixedPlace(self._sentinels.sentinel_url(host), self._limits)
        return Wire(await place.connection())

    @property
    def _patience(self) -> float:
        """Half of a call's time, so that a second Sentinel can be asked."""
        return min(self._limits.connect, self._limits.command / 2).total_seconds()
