"""What Redis should hold of one node: its sessions and whom it watches, and the commands that bring it there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

from hub.channels.ws.nodes import Nodes
from hub.channels.ws.reaper import users_key
from hub.channels.ws.seats import Seat
from hub.channels.ws.sightings import POLL, session_field, session_value, sessions_key, watchers_key
from hub.core.identity import Platform
from hub.core.message import SYSTEM, UserKey
from hub.redis_wire import Command, load_script

REFRESH: Final = 3_600.0
"""Seconds after which everything is entered again."""
_KEEP: Final = 3 * 3_600_000
"""Milliseconds for which what nobody takes off stays in Redis: a net below the reaper's."""
_CHUNK: Final = 200
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Held(NamedTuple):
    """A session that is live here."""

    user: UserKey
    platform: Platform
    device: str
    since: datetime


class Ledger:
    """Sessions by id and by user. Commands carry the node's present boot id: make them when they are sent."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._held: dict[str, Held] = {}
        self._by_user: dict[UserKey, tuple[str, ...]] = {}
        self._watched: set[UserKey] = set()
        self._polling: set[UserKey] = set()
        self._open, self._close = (load_script(__package__, f"registry_{name}") for name in ("open", "close"))

    def __len__(self) -> int:
        return len(self._held)

    def here(self, user: UserKey) -> bool:
        """Whether the user has a session on this node."""
        return user in self._by_user

    @property
    def watched(self) -> Collection[UserKey]:
        """Whom somebody on this node watches."""
        return self._watched

    def add(self, seat: Seat, now: datetime) -> UserKey:
        """A session is live here from now on."""
        user = seat.user.key
        if seat.id not in self._held:
            self._held[seat.id] = Held(user, seat.device.platform, seat.device.id, now)
            self._by_user[user] = (*self._by_user.get(user, ()), seat.id)
        return user

    def remove(self, session: str) -> Held | None:
        """It is not any more; None where it was not."""
        held = self._held.pop(session, None)
        if held is not None:
            rest = tuple(other for other in self._by_user[held.user] if other != session)
            if rest:
                self._by_user[held.user] = rest
            else:
                del self._by_user[held.user]
        return held

    def watch(self, users: Collection[UserKey]) -> list[Command]:
        """Commands for those who were not watched yet."""
        fresh = [user for user in users if user not in self._watched]
        self._watched.update(fresh)
        return [command for user in fresh for command in self._watching(user)]

    def unwatch(self, users: Collection[UserKey]) -> list[Command]:
        """Commands for those who were."""
        stale = [user for user in users if user in self._watched]
        self._watched.difference_update(stale)
        return [("SREM", watchers_key(user), self._nodes.node) for user in stale]

    def poll(self, user: UserKey) -> list[Command]:
        """Commands for a user whose requests wait here, unless that is noted."""
        if user in self._polling:
            return []
        self._polling.add(user)
        return self._noting(user)

    def unpoll(self, users: Collection[UserKey]) -> list[Command]:
        """Commands for those whose requests do not wait here any more."""
        gone = [user for user in users if user in self._polling]
        self._polling.difference_update(gone)
        commands: list[Command] = []
        for user in gone:
            commands += [("HDEL", sessions_key(user), self._field(POLL)), *self.forgetting(user)]
        return commands

    def polling(self) -> Iterator[Sequence[Command]]:
        """The commands for all whose requests wait, in chunks."""
        users = iter(list(self._polling))
        while chunk := list(islice(users, _CHUNK)):
            yield [command for user in chunk for command in self._noting(user)]

    def _noting(self, user: UserKey) -> list[Command]:
        key = sessions_key(user)
        value = session_value(Platform.MINIPROGRAM, "", _NO_TIME)
        return [
            ("HSET", key, self._field(POLL), value),
            ("PEXPIRE", key, _KEEP),
            ("SADD", users_key(self._nodes.instance), user),
        ]

    def opening(self, session: str) -> list[Command]:
        """The commands that enter a session; the answer to the first says whom to tell."""
        user, platform, device, since = self._held[session]
        keys = (sessions_key(user), watchers_key(user))
        value = session_value(platform, device, since)
        return [
            (self._open, 2, *keys, self._field(session), value, _KEEP),
            ("SADD", users_key(self._nodes.instance), user),
        ]

    def closing(self, user: UserKey, session: str, since: str) -> Command:
        """The command that takes a session off."""
        return (self._close, 1, sessions_key(user), self._field(session), since, _KEEP)

    def forgetting(self, user: UserKey) -> list[Command]:
        """The commands for a user who has gone from here, unless she is back."""
        return (
            []
            if self.here(user) or user in self._polling
            else [("SREM", users_key(self._nodes.instance), user)]
        )

    def frame(self) -> list[Command]:
        """The commands that keep what belongs to the node as a whole."""
        users = users_key(self._nodes.instance)
        return [("SADD", users, SYSTEM), ("PEXPIRE", users, _KEEP)]

    def sessions(self) -> Iterator[list[tuple[str, UserKey]]]:
        """All sessions in chunks. They may come and go between two chunks."""
        ids = iter(list(self._held))
        while chunk := list(islice(ids, _CHUNK)):
            yield [(session, self._held[session].user) for session in chunk if session in self._held]

    def watching(self) -> Iterator[Sequence[Command]]:
        """The commands for all who are watched, in chunks."""
        users = iter(list(self._watched))
        while chunk := list(islice(users, _CHUNK)):
            yield [command for user in chunk for command in self._watching(user)]

    def _watching(self, user: UserKey) -> list[Command]:
        return [("SADD", watchers_key(user), self._nodes.node), ("PEXPIRE", watchers_key(user), _KEEP)]

    def _field(self, session: str) -> str:
        return session_field(self._nodes.instance, session)
