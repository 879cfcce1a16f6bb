"""Which large conversations the users of this node are in, and whom they may watch: read again when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final

from hub.channels.ws.background import Background
from hub.channels.ws.connection import Connection
from hub.channels.ws.neighbours import PresenceApi
from hub.channels.ws.node import Node
from hub.core.errors import HubError, QueueUnavailable, Unavailable
from hub.core.message import ConversationId, UserKey
from hub.core.ports import People

log = logging.getLogger("hub.ws")

_AT_ONCE: Final = 200
"""Users whose memberships are read at the same time when all are in doubt: mostly they are one query."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


class Memberships:
    """Of one gateway. One reader a user: what changes meanwhile is read once more, so that the older answer is never
    the last. What cannot be read now is read later, for as long as the user is here."""

    def __init__(self, *, node: Node, people: People, presence: PresenceApi, background: Background) -> None:
        self._node = node
        self._people = people
        self._presence = presence
        self._background = background
        self._reading: dict[UserKey, bool] = {}
        """Who is being read, and whether it must be done again."""
        self._doubted = False
        self._walking = False

    def changed(self, user: UserKey) -> None:
        """The user joined or left a conversation."""
        if user not in self._reading:
            self._background.start(self._read(user), name="ws-rooms")
        self._reading[user] = True

    def doubt(self) -> None:
        """Such changes may have gone unheard."""
        self._doubted = True
        if self._node.seats.by_user and not self._walking:
            self._walking = True
            self._background.start(self._walk(), name="ws-all-rooms")

    async def _walk(self) -> None:
        try:
            while self._doubted:
                self._doubted = False
                users = list(self._node.seats.by_user)
                for start in range(0, len(users), _AT_ONCE):
                    await asyncio.gather(*(self._again(user) for user in users[start : start + _AT_ONCE]))
        finally:
            self._walking = False

    async def _again(self, user: UserKey) -> None:
        being_read = user in self._reading
        self._reading[user] = True
        if not being_read:
            await self._read(user)

    async def _read(self, user: UserKey) -> None:
        pause = _FIRST_PAUSE
        try:
            while self._reading.get(user) and self._node.seats.of(user):
                self._reading[user] = False
                try:
                    await self._enter(user)
                    await self._watch_less(user)
                except Unavailable:
                    log.warning("rooms_not_read")
                    self._reading[user] = True
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        except HubError:
            log.warning("rooms_not_read", exc_info=True)
        finally:
            self._reading.pop(user, None)

    async def _enter(self, user: UserKey) -> None:
        asked = self._node.rooms.ask()
        rooms = await self._people.read_diffused(user)
        if not self._node.seats.of(user):
            return
        fresh = await self._node.enter(user, rooms, asked)
        if fresh:
            # What was said before it could be heard of here is asked for once more.
            newest = await self._people.read_diffused(user)
            for link in self._node.seats.of(user):
                tell_of(self._node, link, {room: newest.get(room, 0) for room in fresh})

    async def _watch_less(self, user: UserKey) -> None:
        """Who was taken out, or is blocked, hears no more of people whom they have nothing in common with."""
        for link in self._node.seats.of(user):
            watched = self._node.watchers.by(link)
            if not watched or link.seat is None:
                continue
            names = await self._people.acquainted(user, link.seat.user.app, list(watched.values()))
            # Read again: the client may have asked for others meanwhile, which was looked up later than this.
            if self._node.watchers.by(link) is watched and len(names) < len(watched):
                kept = {key: name for name, key in names.items()}
                _, last = self._node.watchers.replace(link, kept)
                if last:
                    await self._unwatch(last)

    async def _unwatch(self, users: Collection[UserKey]) -> None:
        try:
            await self._presence.unwatch(users)
        except QueueUnavailable:
            log.info("presence_not_told")


def tell_of(node: Node, link: Connection, rooms: Mapping[ConversationId, int]) -> None:
    """That these have something unread: now, or with what the connection hears first or missed."""
    node.has_grown(link, rooms)
    if link.session.hears:
        node.tell_missed(link)
