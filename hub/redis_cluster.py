"""A Redis Cluster as one link: commands go to the nodes that serve their slots, and their answers come in order."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from redis import exceptions as redis_errors

from hub.core.errors import QueueUnavailable
from hub.partitions import Grouping, by_partition
from hub.redis_address import ClusterNodes, Host
from hub.redis_ears import Ears, open_ears
from hub.redis_pool import FixedPlace, LinkLimits, Pool
from hub.redis_slots import (
    SLOTS,
    SlotMap,
    gathered,
    goes_everywhere,
    key_of,
    moved_to,
    read_slots,
    slot_of,
)
from hub.redis_wire import Argument, Command, Script, Wire

log = logging.getLogger("hub.redis")

_ROUNDS: Final = 5
"""Redirections that one command may meet."""
_REFRESH_GAP: Final = 0.1
"""Seconds between two questions for the map: while a node is dead, its replica is not master yet."""


@dataclass(slots=True)
class _Share:
    """What one node is asked in one round: indexes of commands, and whether for slots on their way to it."""

    pool: Pool
    host: Host
    asking: bool = False
    indexes: list[int] = field(default_factory=list)


class ClusterLink:
    """hub.redis_link.RedisLink to a Cluster. Each node has a pool, an epoch and a circuit of its own."""

    clustered = True

    def __init__(self, nodes: ClusterNodes, limits: LinkLimits) -> None:
        self._nodes = nodes
        self._limits = limits
        self._map = SlotMap()
        self._pools: dict[Host, Pool] = {}
        self._believed: list[str | None] = [None] * SLOTS
        """By slot: the epoch of who keeps its keys, when that was met."""
        self._stale = True
        self._refresh_at = 0.0
        self._refreshing = asyncio.Lock()
        self._watchers: list[Callable[[str, str], None]] = []
        self._epoch: str | None = None
        self._failures = 0

    @property
    def grouping(self) -> Grouping:
        """By partition: each is in one slot."""
        return by_partition

    @property
    def epoch(self) -> str | None:
        """Of all masters together."""
        return self._epoch

    @property
    def available(self) -> bool:
        """False while a master is away."""
        return all(self._pool(host).available for host in self._map.masters)

    @property
    def failures(self) -> int:
        """Calls that found a node away, or no node at all."""
        return self._failures + sum(pool.failures for pool in self._pools.values())

    def epoch_of(self, key: str) -> str:
        """The epoch of the node that has the key's slot."""
        host = self._map.owners[slot_of(key)]
        return (self._pool(host).epoch or "") if host is not None else ""

    def on_epoch(self, callback: Callable[[str, str], None]) -> None:
        """Calls back when slots are served by a server that may lack what the last one was told. Not where they
        moved with their keys."""
        self._watchers.append(callback)

    async def ask(self, *command: Script | Argument) -> Any:
        """One command, and its answer."""
        return (await self.run([command]))[0]

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Splits the commands by node and runs the shares at once."""
        commands = [_sharded(command) for command in commands]
        answers: list[list[Any]] = [[] for _ in commands]
        asked: dict[int, Host] = {}
        todo: Sequence[int] = range(len(commands))
        try:
            async with asyncio.timeout(1.5 * self._limits.command.total_seconds()):
                for _ in range(_ROUNDS):
                    await self._know()
                    shares = self._shares(commands, todo, asked)
                    todo = await self._run_shares(commands, shares, answers, asked)
                    if not todo:
                        return [gathered(*pair) for pair in zip(commands, answers, strict=True)]
        except TimeoutError as error:
            raise self._away("the Cluster does not answer in time") from error
        raise self._away("the nodes of the Cluster do not agree on who serves a slot")

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Ears]:
        """Hears the channels where their slots are, on a connection to each of those nodes."""
        await self._know()
        places: dict[Host, dict[int, list[str]]] = {}
        for channel in channels:
            slot = slot_of(channel)
            places.setdefault(self._owner(slot), {}).setdefault(slot, []).append(channel)
        try:
            async with open_ears(self, places, self._limits.command.total_seconds()) as ears:
                yield ears
        finally:
            self._stale = True  # whatever ended it may have been a slot that moved

    async def aclose(self) -> None:
        """Closes the idle connections."""
        for pool in self._pools.values():
            await pool.aclose()

    def serves(self, host: Host, slot: int, epoch: str) -> bool:
        """Whether, as far as is known, this node has the slot, and is still the server it was."""
        return self._map.owners[slot] == host and self._pool(host).epoch in {None, epoch}

    async def wire_to(self, host: Host) -> Wire:
        """A connection of its own to a node. Raises redis-py's errors and OSError."""
        return await self._pool(host).open_wire()

    # Where commands go

    def _owner(self, slot: int) -> Host:
        host = self._map.owners[slot]
        if host is None:
            raise self._away(f"no node of the Cluster serves slot {slot}")
        return host

    def _away(self, why: str) -> QueueUnavailable:
        self._stale = True
        self._failures += 1
        return QueueUnavailable(why)

    def _shares(
        self, commands: Sequence[Command], todo: Sequence[int], asked: dict[int, Host]
    ) -> list[_Share]:
        shares: dict[tuple[Host, bool], _Share] = {}
        for i in todo:
            asking = i in asked
            if asking:
                hosts: Sequence[Host] = (asked.pop(i),)
            elif (key := key_of(commands[i])) is not None:
                hosts = (self._owner(slot_of(key)),)
            else:
                hosts = self._map.masters if goes_everywhere(commands[i]) else self._map.masters[:1]
            for host in hosts:
                share = shares.get((host, asking))
                if share is None:
                    share = shares[host, asking] = _Share(self._pool(host), host, asking)
                share.indexes.append(i)
        return list(shares.values())

    async def _run_shares(
        self,
        commands: Sequence[Command],
        shares: Sequence[_Share],
        answers: Sequence[list[Any]],
        asked: dict[int, Host],
    ) -> list[int]:
        """Runs them, and answers which commands must be run again, elsewhere. One that fails does not stop others."""
        calls = [
            share.pool.exchange([commands[i] for i in share.indexes], asking=share.asking) for share in shares
        ]
        results = (
            [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls, return_exceptions=True)
        )
        again: list[int] = []
        failed: BaseException | None = None
        for share, result in zip(shares, results, strict=True):
            if isinstance(result, BaseException):
                failed = result
                continue
            kept: list[Any] = []
            for i, reply in zip(share.indexes, result, strict=True):
                if isinstance(reply, redis_errors.MovedError):  # to redis-py a kind of AskError
                    self._moved(reply, share.host)
                    again.append(i)
                elif isinstance(reply, redis_errors.AskError):
                    asked[i] = moved_to(reply.host, reply.port, share.host)
                    again.append(i)
                else:
                    kept.append(reply)
                    answers[i].append(reply)
            self._judge(share.pool, kept)
        if failed is not None:
            raise failed
        return sorted(again)

    def _judge(self, pool: Pool, replies: list[Any]) -> None:
        try:
            pool.judge(replies)
        except QueueUnavailable:
            self._stale = True
            raise

    # Who is there

    def _pool(self, host: Host) -> Pool:
        pool = self._pools.get(host)
        if pool is None:
            place = FixedPlace(self._nodes.node_url(host), self._limits)
            pool = self._pools[host] = Pool(place, self._limits, lambda _old, _new: self._survey())
        return pool

    def _moved(self, error: redis_errors.MovedError, asked: Host) -> None:
        self._map.owners[error.slot_id] = moved_to(error.host, error.port, asked)
        self._stale = True

    async def _know(self) -> None:
        """Asks for the map where it is old, by one caller at a time. An old one is better than none."""
        if not self._stale and all(pool.available for pool in self._pools.values()):
            return
        async with self._refreshing:
            now = time.monotonic()
            if now < self._refresh_at:
                if not self._map.nodes:
                    raise QueueUnavailable("no node of the Cluster answered a moment ago")
                return
            self._refresh_at = now + _REFRESH_GAP
            try:
                async with asyncio.timeout(self._limits.command.total_seconds()):
                    await self._refresh()
            except (QueueUnavailable, TimeoutError) as error:
                self._failures += 1
                self._refresh_at = time.monotonic() + self._limits.pause.total_seconds()
                if not self._map.nodes:
                    raise QueueUnavailable(str(error) or "no node of the Cluster answers") from error

    async def _refresh(self) -> None:
        known = [host for host in self._map.nodes if host not in self._nodes.hosts]
        random.shuffle(known)
        hosts = [*known, *self._nodes.hosts]
        # Who was away a moment ago is asked last.
        hosts.sort(key=lambda host: host in self._pools and not self._pools[host].available)
        said = ""
        for host in hosts:
            try:
                found = await self._ask_for_map(host)
            except (redis_errors.RedisError, OSError) as error:
                said = f"{host}: {str(error) or type(error).__name__}"
                continue
            if found.masters:
                self._stale = False
                await self._adopt(found)
                return
        raise QueueUnavailable(f"no node of the Cluster knows who serves what; the last, {said}"[:200])

    async def _ask_for_map(self, host: Host) -> SlotMap:
        wire = Wire(await FixedPlace(self._nodes.node_url(host), self._limits).connection())
        try:
            async with asyncio.timeout(self._limits.connect.total_seconds()):
                return read_slots(await wire.ask("CLUSTER", "SLOTS"), host)
        finally:
            await wire.close()

    async def _adopt(self, found: SlotMap) -> None:
        changed = found.owners != self._map.owners
        self._map = found
        masters = set(found.masters)
        for host in [host for host in self._pools if host not in masters]:
            pool = self._pools.pop(host)
            self._failures += pool.failures
            await pool.aclose()
        if changed:
            self._survey()

    def _survey(self) -> None:
        """Finds slots whose keys may have been forgotten, and tells once of each change."""
        epochs = {host: self._pool(host).epoch for host in self._map.masters}
        present = set(epochs.values())
        lost: dict[tuple[str, str], None] = {}
        for slot, host in enumerate(self._map.owners):
            epoch = epochs.get(host) if host is not None else None
            before = self._believed[slot]
            if epoch is None or epoch == before:
                continue
            self._believed[slot] = epoch
            # Who gave the slot away and is still there gave the keys too.
            if before is not None and before not in present:
                lost[before, epoch] = None
        self._epoch = _together(epochs.values())
        for old, new in lost:
            self._tell(old, new)

    def _tell(self, old: str, new: str) -> None:
        log.warning("redis_epoch_changed", extra={"old": old, "new": new})
        for callback in self._watchers:
            try:
                callback(old, new)
            except Exception:
                log.exception("on_epoch_failed")


def _sharded(command: Command) -> Command:
    """PUBLISH is said where the channel's slot is; no node bothers the others with it."""
    return ("SPUBLISH", *command[1:]) if command[0] == "PUBLISH" else command


def _together(epochs: Iterable[str | None]) -> str | None:
    known = sorted(epoch for epoch in epochs if epoch)
    return sha256("/".join(known).encode()).hexdigest()[:16] if known else None
