"""Cleaning up after nodes that died without a word: exactly one node does it, and another goes on if that one dies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from hub.channels.ws.nodes import Nodes
from hub.channels.ws.tidings import Change, Tidings
from hub.core.message import UserKey
from hub.partitions import tag
from hub.redis_link import RedisLink

log = logging.getLogger("hub.presence")

_BATCH: Final = 256


def users_key(instance: str) -> str:
    """The users who had a session in this life of a node."""
    return f"hub:node-users:{tag(f'n:{instance}')}:{instance}"


class Reaper:
    """Removes the sessions of dead instances; who has none left is told of. Every step may be repeated."""

    def __init__(
        self,
        link: RedisLink,
        nodes: Nodes,
        tidings: Tidings,
        *,
        seen: Callable[[UserKey, datetime], None],
    ) -> None:
        self._link = link
        self._nodes = nodes
        self._tidings = tidings
        self._seen = seen
        self.reaped = 0

    async def sweep(self) -> None:
        """Clean up after everybody who is dead and whom nobody else cleans up after. Raises QueueUnavailable."""
        census = await self._nodes.census()
        for instance in census.dead:
            if await self._nodes.hold_reap(instance):
                await self._reap(instance)

    async def _reap(self, instance: str) -> None:
        count = 0
        while users := await self._some_users(instance):
            answers = await self._link.run([self._tidings.settle(user, dead=instance) for user in users])
            changes = [
                self._tidings.settled(user, answer) for user, answer in zip(users, answers, strict=True)
            ]
            gone: list[Change] = [change for change in changes if change is not None]
            for change in gone:
                self._seen(change.user, change.at)
            await self._tidings.tell(gone)
            await self._link.ask("SREM", users_key(instance), *users)
            count += len(users)
            if not await self._nodes.hold_reap(instance):
                return
        await self._nodes.strike_off(instance)
        self.reaped += 1
        log.info("node_reaped", extra={"instance": instance, "users": count})

    async def _some_users(self, instance: str) -> list[UserKey]:
        members = await self._link.ask("SRANDMEMBER", users_key(instance), _BATCH)
        return [UserKey(int(member)) for member in members]
