"""Who may open a socket, and who sits down on it: origins, tokens, devices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hub.channels.ws import codes
from hub.channels.ws.admission import Admission, Crowded
from hub.channels.ws.codes import ErrorCode, Parting
from hub.channels.ws.connection import Connection
from hub.channels.ws.frames import Error, Limits, Welcome, encode_frame, error_frame
from hub.channels.ws.heads import Heads
from hub.channels.ws.memberships import tell_of
from hub.channels.ws.neighbours import EngineApi, PresenceApi
from hub.channels.ws.node import Node, dismissal
from hub.channels.ws.requests import MAX_PAGE, MAX_WATCHED, Hello
from hub.channels.ws.seats import Occupant, Seat, make_room, occupant
from hub.channels.ws.session import Rules
from hub.core.errors import QueueUnavailable, Refused, Unavailable
from hub.core.gathered import Gathered
from hub.core.identity import SocketPolicy
from hub.core.ports import Broker, People
from hub.settings import Settings

log = logging.getLogger("hub.ws.auth")

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a browser page of this origin may open a socket.

    No Origin is no browser. With a list, exactly those on it may (`*` is all); without one, pages that were
    served under the same host and port as the socket.
    """
    if origin is None:
        return True
    if allowed:
        return "*" in allowed or origin.lower().rstrip("/") in {o.lower().rstrip("/") for o in allowed}
    page = urlsplit(origin.lower())
    if page.scheme not in ("http", "https") or host is None:
        return False
    try:
        port = page.port or _DEFAULT_PORTS[page.scheme]
        mine = urlsplit(f"//{host.lower()}")
        return page.hostname == mine.hostname and port == (mine.port or _DEFAULT_PORTS[page.scheme])
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no welcome: an error frame, where there is one to tell, and how to part."""

    parting: Parting
    error: bytes | None = None
    retry_after_s: float | None = None


_GONE: Final = Refusal(codes.NORMAL)


class Greeter:
    """From hello to welcome."""

    def __init__(
        self,
        *,
        engine: EngineApi,
        people: People,
        presence: PresenceApi,
        broker: Broker,
        node: Node,
        heads: Heads,
        rules: Rules,
        settings: Settings,
        dismiss: Callable[[Connection, Parting], None],
    ) -> None:
        self._engine = engine
        self._people = people
        self._presence = presence
        self._broker = broker
        self._node = node
        self._heads = heads
        self._heartbeat = settings.heartbeat.total_seconds()
        self._dismiss = dismiss
        self._sessions = Gathered(presence.sessions)
        self.admission = Admission(
            at_once=settings.hello_concurrency,
            backlog=settings.hello_backlog,
            patience=settings.hello_patience.total_seconds(),
        )
        self.limits = Limits(
            frame_bytes=settings.ws_max_frame,
            body_bytes=settings.body_max_bytes,
            frames_per_second=settings.frames_per_second,
            requests_in_flight=rules.in_flight,
            page=MAX_PAGE,
            watched_users=MAX_WATCHED,
        )

    async def greet(self, link: Connection, hello: Hello) -> bytes | Refusal:
        """Seat the caller, who may be gone by the time this returns. The answer is a `welcome`, or why not."""
        try:
            async with self.admission.turn():
                return _GONE if link.closed else await self._greet(link, hello)
        except Crowded as crowded:
            return Refusal(codes.BUSY, retry_after_s=crowded.retry_after_s)
        except Refused as error:
            parting = codes.OF_REFUSAL.get(error.code, codes.FORBIDDEN)
            return Refusal(parting, error_frame(hello.id, error))
        except Unavailable as error:
            after = error.retry_after.total_seconds()
            return Refusal(codes.UNAVAILABLE, error_frame(hello.id, error), retry_after_s=after)
        except TimeoutError:
            return Refusal(codes.BUSY, retry_after_s=self.admission.later())
        except Exception:
            log.exception("hello_failed")
            return Refusal(codes.INTERNAL, retry_after_s=5.0)

    async def _greet(self, link: Connection, hello: Hello) -> bytes | Refusal:
        user = await self._people.authenticate(hello.token)
        device = await self._people.device(user, hello.device.id, hello.device.platform, hello.device.name)
        policy = await self._people.socket_policy(user.app)
        if link.closed:
            return _GONE
        seat = Seat(self._engine.new_id("ses"), user, device)
        if not self._take(link, seat, policy) or not await self._announce(link, seat, policy):
            refused = Error(ErrorCode.TOO_MANY_SESSIONS, "no more sessions on this platform", False, hello.id)
            return Refusal(codes.TOO_MANY_SESSIONS, encode_frame(refused))
        # The seat is taken and registered before the head is read: what is committed later is either pushed here
        # or below this head.
        head = await self._heads.of(user.key)
        return self._welcome(link, seat, hello, head)

    def _take(self, link: Connection, seat: Seat, policy: SocketPolicy) -> bool:
        """No await in here: two hellos of one user are decided one after the other."""
        taken = {
            other.seat.id: other for other in self._node.seats.of(seat.user.key) if other.seat is not None
        }
        room = make_room([occupant(o.seat) for o in taken.values() if o.seat], occupant(seat), policy)
        if room.refused:
            return False
        for leaving in room.leaving:
            self._dismiss(taken[leaving], codes.REPLACED)
        link.seat = seat
        self._node.seats.add(seat.user.key, link)
        return True

    async def _announce(self, link: Connection, seat: Seat, policy: SocketPolicy) -> bool:
        """False where the user has too many sessions on other nodes."""
        admitted = True
        try:
            await self._presence.register(seat)
            admitted = await self._make_room_elsewhere(link, seat, policy)
        except QueueUnavailable:
            log.info("presence_away", extra={"session": seat.id})
        if link.closed or not admitted:
            # It went while it was being registered, and may have been taken off before it was put on.
            with suppress(QueueUnavailable):
                await self._presence.unregister(seat)
            return admitted
        await self._enter_rooms(link, seat)
        return True

    async def _enter_rooms(self, link: Connection, seat: Seat) -> None:
        user = seat.user.key
        asked = self._node.rooms.ask()
        rooms = await self._people.read_diffused(user)
        if link.closed:
            return
        fresh = await self._node.enter(user, rooms, asked)
        if not rooms or link.closed:
            return
        # What was said before it could be heard of here is asked for once more, and told after the welcome.
        newest = await self._people.read_diffused(user)
        self._node.has_grown(link, newest)
        for other in self._node.seats.of(user):
            if other is not link and fresh:
                tell_of(self._node, other, {room: newest.get(room, 0) for room in fresh})

    async def _make_room_elsewhere(self, link: Connection, seat: Seat, policy: SocketPolicy) -> bool:
        """The same policy over all nodes. Of two that come at the same time only the older one leaves."""
        user = seat.user.key
        if not await self._presence.others():
            return True
        found = await self._sessions.get(user) or ()
        if link.closed:
            # It was shown out itself meanwhile, and is not among them any more: all others would look older.
            return True
        everywhere = sorted(found, key=lambda info: (info.since, info.session))
        mine = next((at for at, info in enumerate(everywhere) if info.session == seat.id), len(everywhere))
        older = [Occupant(info.session, info.device, info.platform) for info in everywhere[:mine]]
        room = make_room(older, occupant(seat), policy)
        if room.leaving:
            await self._broker.signal([user], dismissal(sorted(room.leaving)))
        return not room.refused

    def _welcome(self, link: Connection, seat: Seat, hello: Hello, head: int) -> bytes:
        cursor = seat.device.cursor if hello.cursor is None else hello.cursor
        link.session.begin(cursor=cursor, head=head, hint=hello.mode == "hint")
        if seat.device.cursor < cursor <= head:
            self._engine.ack(seat.device.key, seat.user.key, cursor)
        now = self._engine.clock()
        left = (seat.user.expires_at - now).total_seconds()
        link.expires = asyncio.get_running_loop().time() + left
        welcome = Welcome(
            session=seat.id,
            user=seat.user.id,
            head=head,
            cursor=cursor,
            heartbeat_s=self._heartbeat,
            at=now,
            limits=self.limits,
            id=hello.id,
        )
        return encode_frame(welcome)
