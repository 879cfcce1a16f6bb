"""What local connections want to hear of beside their queues: presence of others, and conversations without entries."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from hub.core.message import ConversationId, UserKey

L = TypeVar("L")


class Watchers(Generic[L]):
    """Who watches whose presence. Answers tell when a user is watched by the first or no longer by anyone."""

    def __init__(self) -> None:
        self._watchers: dict[UserKey, set[L]] = {}
        self._watched: dict[L, Mapping[UserKey, str]] = {}

    def replace(self, link: L, names: Mapping[UserKey, str]) -> tuple[list[UserKey], list[UserKey]]:
        """`link` watches exactly these from now on. Returns (watched for the first time, watched by nobody)."""
        before = self._watched.pop(link, {})
        if names:
            self._watched[link] = dict(names)
        first = [user for user in names if user not in before and self._add(user, link)]
        last = [user for user in before if user not in names and self._discard(user, link)]
        return first, last

    def by(self, link: L) -> Mapping[UserKey, str]:
        """Whom a connection watches."""
        return self._watched.get(link, {})

    def of(self, user: UserKey) -> Collection[tuple[L, str]]:
        """The connections that watch a user, with the user's id in the product."""
        return [(link, self._watched[link][user]) for link in self._watchers.get(user, ())]

    @property
    def watched(self) -> Collection[UserKey]:
        """Everybody who is watched by somebody here."""
        return self._watchers.keys()

    def _add(self, user: UserKey, link: L) -> bool:
        watchers = self._watchers.setdefault(user, set())
        watchers.add(link)
        return len(watchers) == 1

    def _discard(self, user: UserKey, link: L) -> bool:
        watchers = self._watchers.get(user, set())
        watchers.discard(link)
        if watchers:
            return False
        self._watchers.pop(user, None)
        return True


class Rooms:
    """Which local users are in which read-diffused conversations."""

    def __init__(self) -> None:
        self._users: dict[ConversationId, set[UserKey]] = {}
        self._rooms: dict[UserKey, frozenset[ConversationId]] = {}
        self._asked: dict[UserKey, int] = {}
        self._tickets = itertools.count(1)

    def ask(self) -> int:
        """Take it before you read what a user is in, and give it with the answer."""
        return next(self._tickets)

    def put(self, user: UserKey, rooms: Iterable[ConversationId], asked: int) -> bool:
        """The user is in exactly these. False, and nothing is changed, where the answer to somebody who asked later is
        here already."""
        if asked < self._asked.get(user, 0):
            return False
        self.drop(user)
        self._asked[user] = asked
        mine = frozenset(rooms)
        if mine:
            self._rooms[user] = mine
        for room in mine:
            self._users.setdefault(room, set()).add(user)
        return True

    def drop(self, user: UserKey) -> None:
        """The user has gone."""
        self._asked.pop(user, None)
        for room in self._rooms.pop(user, frozenset()):
            users = self._users[room]
            users.discard(user)
            if not users:
                del self._users[room]

    @property
    def known(self) -> Collection[ConversationId]:
        """Conversations with a local member."""
        return self._users.keys()

    def users(self, room: ConversationId) -> Collection[UserKey]:
        """Local members of a conversation."""
        return self._users.get(room, ())

    def of(self, user: UserKey) -> Collection[ConversationId]:
        """The conversations of a local user."""
        return self._rooms.get(user, ())
