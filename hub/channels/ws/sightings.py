"""Who is online, and where: what any process may ask. Sessions of a node whose lease has ended do not exist."""

from __future__ import annotations

import time
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from hub.channels.ws.nodes import Nodes, node_of
from hub.core.identity import Platform
from hub.core.message import UserKey
from hub.partitions import user_tag
from hub.redis_link import RedisLink
from hub.redis_wire import Command

POLL: Final = "poll"
"""Stands for the session in the name of a field that is none: requests of the user wait on that node for news. It gets
what sessions get, and is not presence."""
_POLL: Final = b"/poll"
LEFT: Final = b"~"
"""The field of a user's sessions that is none: since when the last one is closed, while nobody was told."""


_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A live session, as every node sees it."""

    session: str
    node: str
    boot: str
    platform: Platform
    device: str
    since: datetime


_Value: TypeAlias = tuple[Platform, str, datetime]
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[_Value]] = msgspec.msgpack.Decoder(_Value)


class Sightings:
    """The questions. Every method may raise QueueUnavailable."""

    def __init__(self, link: RedisLink, nodes: Nodes) -> None:
        self._link = link
        self._nodes = nodes
        self._struck_off: set[str] = set()
        """Instances that nobody knows any more: they never come back, and are not asked for again."""

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._nodes.node

    async def sessions(self, users: Collection[UserKey]) -> dict[UserKey, list[SessionInfo]]:
        """The live sessions of each of these users; an empty list for who is offline. One round trip."""
        look = self._nodes.look_command()
        asked_at = time.monotonic()
        keys: list[Command] = [("HGETALL", sessions_key(user)) for user in users]
        answers = await self._link.run([*look, *keys])
        if look:
            self._nodes.note(answers.pop(0), asked_at)
        rows = [dict(zip(answer[::2], answer[1::2], strict=True)) for answer in answers]
        instances = {_instance(field) for row in rows for field in row if field != LEFT}
        alive = await self._alive(instances)
        return {
            user: [
                _session(field, value)
                for field, value in row.items()
                if field != LEFT and not field.endswith(_POLL) and _instance(field) in alive
            ]
            for user, row in zip(users, rows, strict=True)
        }

    async def online(self, users: Collection[UserKey]) -> dict[UserKey, dict[str, object]]:
        """What may be told of each of these users: whether she is online, and on which platforms. A socket inside
        WeChat tells nothing: presence there is unknown, always."""
        told: dict[UserKey, dict[str, object]] = {}
        for user, every in (await self.sessions(users)).items():
            sessions = [session for session in every if session.platform is not Platform.MINIPROGRAM]
            told[user] = {"online": bool(sessions)}
            if sessions:
                told[user]["platforms"] = sorted({session.platform.value for session in sessions})
        return told

    async def others(self) -> frozenset[str]:
        """The names of the other live nodes."""
        census = await self._nodes.census()
        return frozenset(node_of(instance) for instance in census.alive) - {self.node}

    async def nodes_of(self, users: Collection[UserKey]) -> dict[str, list[UserKey]]:
        """The other nodes on which these users have live sessions. Asks nobody where there is no other node."""
        if not users or not await self.others():
            return {}
        rows = await self._link.run([("HKEYS", sessions_key(user)) for user in users])
        places = [
            (user, {_instance(field) for field in row if field != LEFT})
            for user, row in zip(users, rows, strict=True)
        ]
        alive = await self._alive({instance for _, instances in places for instance in instances})
        found: dict[str, list[UserKey]] = {}
        for user, instances in places:
            for node in {node_of(instance) for instance in instances & alive} - {self.node}:
                found.setdefault(node, []).append(user)
        return found

    async def _alive(self, instances: AbstractSet[str]) -> frozenset[str]:
        """Who is alive, asked anew where a node has come up that was not there a moment ago."""
        census = await self._nodes.census()
        if not instances <= (census.alive | census.dead | self._struck_off):
            census = await self._nodes.census(fresh=True)
            if len(self._struck_off) > _REMEMBERED:
                self._struck_off.clear()
            self._struck_off |= instances - census.alive - census.dead
        return census.alive


def sessions_key(user: UserKey) -> str:
    """A user's live sessions."""
    return f"hub:on:{user_tag(user)}:{user}"


def watchers_key(user: UserKey) -> str:
    """The nodes that watch a user."""
    return f"hub:watch:{user_tag(user)}:{user}"


def session_field(instance: str, session: str) -> str:
    """The name of a session among its user's."""
    return f"{instance}/{session}"


def session_value(platform: Platform, device: str, since: datetime) -> bytes:
    """What is kept of a session beside its name."""
    return _encode((platform, device, since))


def _session(field: bytes, value: bytes) -> SessionInfo:
    node, boot, session = field.decode().split("/", 2)
    return SessionInfo(session, node, boot, *_decoder.decode(value))


def _instance(field: bytes) -> str:
    return field[: field.index(b"/", field.index(b"/") + 1)].decode()
