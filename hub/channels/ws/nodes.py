"""Which nodes are alive: one lease a node, a register of all that ever took one, and who cleans up after the dead."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from hub.channels.ws import bus
from hub.partitions import tag
from hub.redis_link import RedisLink
from hub.redis_wire import Command, load_script

CENSUS_AGE: Final = timedelta(seconds=0.5)
"""How old a node's knowledge of who is alive may be; and so how long a new node waits before it takes sessions."""
_REAP_LOCK: Final = timedelta(seconds=10)
# The register, the leases and the locks meet in scripts: one partition for all of them.
_TAG: Final = tag("n:nodes")
_REGISTER: Final = f"hub:nodes:{_TAG}"
_LEASE: Final = f"hub:lease:{_TAG}:"
_REAP: Final = f"hub:reap:{_TAG}:"


@dataclass(frozen=True, slots=True)
class Census:
    """Instances by whether their lease runs. An instance is one life of a node: `node/boot`."""

    alive: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()


class Nodes:
    """The register as this node sees it. A process that has not joined may look too. All raise QueueUnavailable.

    A lease that was lost is never taken again: the node goes on under a new boot id, so that whoever cleans up after
    the old one cannot hit the new.
    """

    def __init__(self, link: RedisLink, *, node: str, lease: timedelta) -> None:
        if "/" in node or not node:
            message = f"a node's name must not be empty or contain a slash: {node!r}"
            raise ValueError(message)
        self.node = node
        self.boot = _new_boot()
        self._link = link
        self._lease = int(lease.total_seconds() * 1000)
        self._join, self._renew, self._look, self._reap = (
            load_script(__package__, f"registry_{name}") for name in ("join", "renew", "look", "reap")
        )
        self._census = Census()
        self._seen_at = float("-inf")

    @property
    def instance(self) -> str:
        """This life of this node."""
        return f"{self.node}/{self.boot}"

    def reboot(self) -> str:
        """Begin a new life, which must join; returns the old instance."""
        old, self.boot = self.instance, _new_boot()
        return old

    async def join(self) -> None:
        """Enter the register, take the lease, and tell everybody."""
        await self._link.run(
            [
                (self._join, 2, _REGISTER, _LEASE + self.instance, self.instance, self._lease),
                ("PUBLISH", bus.EVERYBODY, bus.encode(bus.Joined(self.node))),
            ]
        )
        self.doubt()

    async def renew(self) -> bool:
        """Keep the lease. False where it is gone: then this instance is dead for everybody."""
        keys = (_REGISTER, _LEASE + self.instance)
        return bool(await self._link.ask(self._renew, 2, *keys, self.instance, self._lease))

    async def end(self, instance: str, *, after: timedelta = timedelta(0)) -> None:
        """Let a lease run out, at once or after a time; what is left of the instance is for the reaper."""
        if after:
            milliseconds = int(after.total_seconds() * 1000)
            await self._link.ask("SET", _LEASE + instance, "leaving", "XX", "PX", milliseconds)
        else:
            await self._link.ask("DEL", _LEASE + instance)

    def doubt(self) -> None:
        """Forget who was alive: it has just changed."""
        self._seen_at = float("-inf")

    async def census(self, *, fresh: bool = False) -> Census:
        """Who is alive, as of at most CENSUS_AGE ago."""
        if fresh or self.look_command():
            asked_at = time.monotonic()
            self.note(await self._link.ask(*self._look_words()), asked_at)
        return self._census

    def look_command(self) -> list[Command]:
        """The command that renews the census, if it is too old: to be sent along with others, then `note`d."""
        young = time.monotonic() - self._seen_at <= CENSUS_AGE.total_seconds()
        return [] if young else [self._look_words()]

    def note(self, answer: Any, asked_at: float) -> Census:
        """The answer to `look_command`."""
        alive, dead = answer
        self._census = Census(
            frozenset(name.decode() for name in alive), frozenset(name.decode() for name in dead)
        )
        self._seen_at = asked_at
        return self._census

    async def hold_reap(self, instance: str) -> bool:
        """Become, or stay, the one that cleans up after a dead instance."""
        answer = await self._link.ask(
            *(self._reap, 3, _REGISTER, _LEASE + instance, _REAP + instance),
            *(instance, self.instance, int(_REAP_LOCK.total_seconds() * 1000)),
        )
        return bool(answer)

    async def strike_off(self, instance: str) -> None:
        """Nothing is left of it."""
        await self._link.run([("HDEL", _REGISTER, instance), ("DEL", _REAP + instance)])
        self.doubt()

    def _look_words(self) -> Command:
        return (self._look, 1, _REGISTER, _LEASE)


def node_of(instance: str) -> str:
    """The node's name, by which its channel goes."""
    return instance.partition("/")[0]


def _new_boot() -> str:
    return secrets.token_hex(4)
