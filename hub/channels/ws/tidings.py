"""Changes of presence: found out exactly once, and told to the nodes on which somebody watches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hub.channels.ws import bus
from hub.channels.ws.nodes import Nodes, node_of
from hub.channels.ws.sightings import sessions_key, watchers_key
from hub.core.errors import QueueUnavailable
from hub.core.message import UserKey
from hub.core.ports import Clock
from hub.redis_link import RedisLink
from hub.redis_wire import Command, load_script

log = logging.getLogger("hub.presence")

Listener = Callable[[UserKey, bool, datetime], None]
WentOffline = Callable[[UserKey, datetime], None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_USERS_PER_FRAME: Final = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """A user came or went; `watchers` are the nodes that want to know."""

    user: UserKey
    online: bool
    at: datetime
    watchers: tuple[str, ...]


class Tidings:
    """Asks whether a user has gone, and tells. What cannot be told because Redis is away is counted: those who
    watch ask again when they have it back."""

    def __init__(
        self, link: RedisLink, nodes: Nodes, *, clock: Clock, went_offline: WentOffline | None = None
    ) -> None:
        self._link = link
        self._nodes = nodes
        self._clock = clock
        self._went_offline = went_offline
        self._settle = load_script(__package__, "registry_settle")
        self.listener: Listener | None = None
        """Hears of changes that are watched on this node."""
        self.dropped = 0

    def settle(self, user: UserKey, *, dead: str = "", since: str = "") -> Command:
        """The command that finds out whether the user has gone, as of `since` or without the `dead` instance."""
        prefix = f"{dead}/" if dead else ""
        return (self._settle, 2, sessions_key(user), watchers_key(user), prefix, since)

    def settled(self, user: UserKey, answer: Any) -> Change | None:
        """What its answer means: for one asker that she has gone, for all others nothing."""
        if answer is None:
            return None
        since, watchers = answer
        return Change(user, False, moment(since) if since else self._clock(), names(watchers))

    async def tell(self, changes: Sequence[Change]) -> None:
        """To listeners here and on other nodes."""
        if not changes:
            return
        for change in changes:
            if not change.online and self._went_offline is not None:
                self._went_offline(change.user, change.at)
            if self.listener is not None and self._nodes.node in change.watchers:
                self.listener(change.user, change.online, change.at)
        try:
            await self._tell_others(changes)
        except QueueUnavailable:
            self.dropped += len(changes)

    async def _tell_others(self, changes: Iterable[Change]) -> None:
        letters: dict[str, list[tuple[int, bool, datetime]]] = {}
        for change in changes:
            for node in change.watchers:
                if node != self._nodes.node:
                    letters.setdefault(node, []).append((change.user, change.online, change.at))
        if not letters:
            return
        alive = {node_of(instance) for instance in (await self._nodes.census()).alive}
        commands: list[Command] = []
        for node, users in letters.items():
            if node not in alive:
                commands += [("SREM", watchers_key(UserKey(user)), node) for user, _, _ in users]
                continue
            for start in range(0, len(users), _USERS_PER_FRAME):
                frame = bus.encode(bus.Changed(self._nodes.node, users[start : start + _USERS_PER_FRAME]))
                commands.append(("PUBLISH", bus.channel_of(node), frame))
        await self._link.run(commands)


def stamp(at: datetime) -> str:
    """A time as it stands in Redis: milliseconds."""
    return str((at - _EPOCH) // timedelta(milliseconds=1))


def moment(milliseconds: bytes) -> datetime:
    """The time that a stamp means."""
    return _EPOCH + timedelta(milliseconds=int(milliseconds))


def names(watchers: Iterable[bytes]) -> tuple[str, ...]:
    """Names of nodes as Redis gives them."""
    return tuple(watcher.decode() for watcher in watchers)
