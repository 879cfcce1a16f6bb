"""The live connections of this process, and everything that is pushed to them.

One message to a thousand sockets is encoded once; each socket gets its own number in front of the same bytes, and
what comes for one socket within one call is one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from hub.channels.ws import codes
from hub.channels.ws.codes import Parting
from hub.channels.ws.connection import Connection
from hub.channels.ws.doorman import KICK
from hub.channels.ws.frames import Grew, News, PresenceNow, encode_frame, stamp, ws_frame
from hub.channels.ws.interests import Rooms, Watchers
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.seats import Seats
from hub.channels.ws.session import Phase
from hub.channels.ws.unheard import STALE, is_kept
from hub.core.message import ConversationId, MessageId, UserKey

if TYPE_CHECKING:
    from hub.channels.ws.catchup import Recovery


class Attendant(Protocol):
    """What the registry asks of its gateway."""

    def dismiss(self, link: Connection, parting: Parting) -> None:
        """Say bye and close."""
        ...

    def memberships_changed(self, user: UserKey) -> None:
        """Read again which conversations the user is in."""
        ...

    def signals_doubted(self) -> None:
        """What is not stored may not have been heard here."""
        ...

    def memberships_doubted(self) -> None:
        """Read again which conversations everybody here is in."""
        ...


class Waiter(asyncio.Event):
    """A request that waits for news of a user. `over`: what the user may do has changed, and it must be asked anew."""

    over = False


class _Dismissal(msgspec.Struct):
    sessions: frozenset[str]


class _Kick(msgspec.Struct):
    device: str


_KICK: Final = b'{"type":"%b"' % KICK.encode()
_DISMISSAL: Final = b'{"type":"hub.dismiss"'


def dismissal(sessions: Sequence[str]) -> dict[str, object]:
    """A signal between nodes, never written to a socket: these sessions have been replaced."""
    return {"type": "hub.dismiss", "sessions": list(sessions)}


class Node:
    """The registry, and what the broker calls (`LocalSessions`). Works without a gateway: then nobody is here."""

    def __init__(self) -> None:
        self.seats: Seats[Connection] = Seats()
        self.watchers: Watchers[Connection] = Watchers()
        self.rooms = Rooms()
        self.pushed = 0
        """Messages written to sockets as they came."""
        self.held_back = 0
        """Messages left to recovery: out of order, or a socket that is busy or full."""
        self.missed = 0
        """Frames that are not stored (read, typing, presence), not written because the socket was full."""
        self.waiting: dict[UserKey, set[Waiter]] = {}
        """Requests that wait for news of a user (long polls)."""
        self.on_forget: Callable[[Collection[MessageId]], None] | None = None
        """Who in this process remembers bodies."""
        self.on_rooms: Callable[[Collection[ConversationId]], Awaitable[None]] | None = None
        """Who hears of other nodes that these have grown, from the return on."""
        self._recovery: Recovery | None = None
        self._attendant: Attendant | None = None
        self._missed: dict[Connection, dict[ConversationId, int | None]] = {}
        """Of sockets that are full or not welcomed yet: what grew. At most what `rooms` holds of their users."""
        self._stale: set[Connection] = set()
        """Sockets that were full when something was told that clients keep."""

    def attend(self, recovery: Recovery, attendant: Attendant) -> None:
        """A gateway is there."""
        self._recovery = recovery
        self._attendant = attendant

    # What the broker calls

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Write these to the sockets of their users, in this order; several for one socket are one write."""
        here = cast("dict[int, tuple[Connection, ...]]", self.seats.by_user)
        gathered: list[Connection] = []
        gather = len(parcels) > 1
        pushed = 0
        for parcel in parcels:
            if parcel.grew:
                self._grew(parcel)
                continue
            frame_for = None
            for user, q in parcel.users:
                for link in here.get(user, ()):
                    if not link.session.offer(q):
                        self._hold_back(link)
                        continue
                    if frame_for is None:
                        frame_for = stamp(parcel.rest, len(parcel.users))
                    pushed += 1
                    if not gather:
                        link.write(frame_for(q))
                    elif link.gather(frame_for(q)):
                        gathered.append(link)
        for link in gathered:
            link.flush()
        self.pushed += pushed
        if self.waiting:
            self._wake(parcels)

    def _wake(self, parcels: Sequence[Parcel]) -> None:
        waiting = cast("dict[int, set[Waiter]]", self.waiting)
        for parcel in parcels:
            for user, _ in parcel.users:
                for event in waiting.get(user, ()):
                    event.set()

    def _hold_back(self, link: Connection) -> None:
        session = link.session
        if session.hint:
            self.hint(link)
        elif session.behind:
            self.held_back += 1
            if session.flowing and self._recovery is not None:
                self._recovery.soon(link)

    def hint(self, link: Connection) -> None:
        """In hint mode: say that there is news, once until the client has pulled it."""
        if link.session.announce():
            link.write(ws_frame(encode_frame(News(link.session.seen_q))))

    def signal(self, users: Collection[UserKey], frame: bytes) -> None:
        """A frame (its JSON) that is not stored. Who is full or not ready misses it."""
        if frame.startswith(_DISMISSAL):
            self._dismiss(users, frame)
            return
        if frame.startswith(_KICK):
            self._kick(users, frame)
            return
        whole = ws_frame(frame)
        kept = is_kept(frame)
        for user in users:
            for link in self.seats.of(user):
                self._tell(link, whole)
                if kept and link.session.paused:
                    self._stale.add(link)

    def _tell(self, link: Connection, whole: bytes) -> None:
        if link.session.hears:
            link.write(whole)
        else:
            self.missed += 1

    def presence_changed(self, user: UserKey, online: bool, at: datetime) -> None:
        """A watched user came or went."""
        frames: dict[str, bytes] = {}
        for link, name in self.watchers.of(user):
            if name not in frames:
                frames[name] = ws_frame(encode_frame(PresenceNow(name, online, at)))
            self._tell(link, frames[name])

    def catch_up(self) -> None:
        """Something may have been lost on the way to this node: every queue is asked."""
        for events in self.waiting.values():
            for event in events:
                event.set()
        for link in self.seats:
            if self._recovery is not None:
                self._recovery.soon(link, doubt=True)
            if link.seat is not None:
                for room in self.rooms.of(link.seat.user.key):
                    self._tell_growth(link, room, None, ws_frame(encode_frame(Grew(room, None))))
        if self._attendant is not None:
            self._attendant.memberships_doubted()
            self._attendant.signals_doubted()

    def rooms_here(self) -> Collection[ConversationId]:
        """Read-diffused conversations of users who are here."""
        return self.rooms.known

    def drop_user(self, user: UserKey, conversation: ConversationId | None) -> None:
        """A membership, or (None) what the user may do at all, has changed."""
        for waiter in self.waiting.get(user, ()) if conversation is None else ():
            waiter.over = True
            waiter.set()
        if self._attendant is None or not self.seats.of(user):
            return
        if conversation is not None:
            self._attendant.memberships_changed(user)
        else:
            for link in self.seats.of(user):
                self._attendant.dismiss(link, codes.RIGHTS_CHANGED)

    def forget(self, messages: Collection[MessageId]) -> None:
        """Another node has committed changes of these: bodies in this process's memory are not true any more."""
        if self.on_forget is not None:
            self.on_forget(messages)

    def _dismiss(self, users: Collection[UserKey], frame: bytes) -> None:
        sessions = msgspec.json.decode(frame, type=_Dismissal).sessions
        for user in users:
            for link in self.seats.of(user):
                if self._attendant is not None and link.seat is not None and link.seat.id in sessions:
                    self._attendant.dismiss(link, codes.REPLACED)

    def _kick(self, users: Collection[UserKey], frame: bytes) -> None:
        device = msgspec.json.decode(frame, type=_Kick).device
        for user in users:
            for link in self.seats.of(user):
                if self._attendant is not None and link.seat is not None and link.seat.device.id == device:
                    self._attendant.dismiss(link, codes.KICKED)

    # Conversations without entries

    def _grew(self, parcel: Parcel) -> None:
        room, whole = ConversationId(parcel.conversation), ws_frame(parcel.rest)
        for user in self.rooms.users(room):
            for link in self.seats.of(user):
                self._tell_growth(link, room, parcel.seq, whole)

    def _tell_growth(self, link: Connection, room: ConversationId, seq: int | None, whole: bytes) -> None:
        if link.session.hears:
            link.write(whole)
        elif link.session.paused or link.session.phase is Phase.GREETING:
            missed = self._missed.setdefault(link, {})
            missed[room] = _newer(missed.get(room, 0), seq)

    def has_grown(self, link: Connection, rooms: Mapping[ConversationId, int]) -> None:
        """These have something that its user has not read; it is told with what it missed."""
        grown = {room: seq for room, seq in rooms.items() if seq}
        if grown and link.seat is not None:
            missed = self._missed.setdefault(link, {})
            for room, seq in grown.items():
                missed[room] = _newer(missed.get(room, 0), seq)

    async def enter(
        self, user: UserKey, rooms: Collection[ConversationId], asked: int
    ) -> Collection[ConversationId]:
        """The user is in exactly these, as `rooms.ask()` before the reading vouches. Returns which of them are new,
        when all that grows from now on is heard here: ask then for what was said before."""
        fresh = set(rooms).difference(self.rooms.of(user))
        if not self.rooms.put(user, rooms, asked):
            return ()
        if self.on_rooms is not None and rooms:
            await self.on_rooms(rooms)
        return fresh

    def tell_missed(self, link: Connection) -> None:
        """The socket has drained: which conversations grew meanwhile."""
        for room, seq in self._missed.pop(link, {}).items():
            link.send(encode_frame(Grew(room, seq)))
        if link in self._stale:
            self._stale.discard(link)
            link.send(STALE)

    # Coming and going

    def leave(self, link: Connection) -> tuple[bool, list[UserKey]]:
        """The connection takes no more part. Returns whether it was its user's last, and who is watched by nobody
        any more. Twice is harmless."""
        self._missed.pop(link, None)
        self._stale.discard(link)
        _, unwatched = self.watchers.replace(link, {})
        if link.seat is None:
            return False, unwatched
        user = link.seat.user.key
        last = self.seats.remove(user, link)
        if last:
            self.rooms.drop(user)
        return last, unwatched


def _newer(one: int | None, other: int | None) -> int | None:
    """Of two numbers of a conversation; None, which says that there may be any, stays."""
    return None if one is None or other is None else max(one, other)
