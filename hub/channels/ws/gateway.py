"""The gateway of one process: takes what connections say, lets sessions decide, and sees to the end of each."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from hub.channels.ws import codes
from hub.channels.ws.auth import Greeter, Refusal
from hub.channels.ws.background import Background
from hub.channels.ws.catchup import Recovery
from hub.channels.ws.chatting import ChatApi, Chatting
from hub.channels.ws.codes import ErrorCode, Parting
from hub.channels.ws.connection import Connection
from hub.channels.ws.frames import Behind, Error, encode_frame
from hub.channels.ws.heads import Heads
from hub.channels.ws.memberships import Memberships
from hub.channels.ws.neighbours import ActionsApi, EngineApi, ListApi, PresenceApi
from hub.channels.ws.node import Node
from hub.channels.ws.perform import Performer
from hub.channels.ws.polls import Polls
from hub.channels.ws.requests import Hello
from hub.channels.ws.seats import Seat
from hub.channels.ws.session import Acknowledge, Finish, Greet, Perform, Reply, Rules, Session
from hub.channels.ws.sweep import Sweep
from hub.channels.ws.unheard import Unheard
from hub.core.errors import QueueUnavailable
from hub.core.message import Page, UserKey
from hub.core.ports import Broker, People
from hub.settings import Settings

log = logging.getLogger("hub.ws")

_HELLO_BYTES: Final = 16_384
"""Nobody unknown needs a larger frame."""
_CLOSING: Final = 2.0
"""Seconds for the peer to answer a close."""
_UNKNOWN_SHARE: Final = 4
"""Of all connections one in so many may be waiting for its hello or its welcome."""
_CHUNK: Final = 200


class SocketGateway:
    """Open it with `async with`; `connect` is called for each accepted handshake."""

    def __init__(
        self,
        *,
        node: Node,
        engine: EngineApi,
        people: People,
        presence: PresenceApi,
        broker: Broker,
        settings: Settings,
        actions: ActionsApi | None = None,
        chat: ChatApi | None = None,
        lists: ListApi | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.node = node
        self.background = Background()
        self.draining = False
        self._engine = engine
        self._people = people
        self._presence = presence
        self._settings = settings
        self._jitter = jitter
        self._rules = Rules.of(settings)
        self.recovery = Recovery(self._read_queue, workers=settings.catchup_concurrency)
        heads = Heads(engine.heads)
        self.polls = Polls(node=node, read=engine.sync, heads=heads, notes=presence, settings=settings)
        self._performer = Performer(
            engine=engine,
            actions=actions,
            chat=None
            if chat is None
            else Chatting(chat=chat, people=people, body_bytes=settings.body_max_bytes),
            lists=lists,
            people=people,
            presence=presence,
            broker=broker,
            node=node,
            heads=heads,
            recovery=self.recovery,
            background=self.background,
            hard_bytes=settings.slow_hard_bytes,
        )
        self._greeter = Greeter(
            engine=engine,
            people=people,
            presence=presence,
            broker=broker,
            node=node,
            # Their own: pings do not wait for the queues of those who come back.
            heads=Heads(engine.heads),
            rules=self._rules,
            settings=settings,
            dismiss=self.dismiss,
        )
        self._links: set[Connection] = set()
        self._sweep = Sweep(links=self._links, settings=settings, end=self.dismiss)
        self._greeting = 0
        self._unheard = Unheard(lambda: list(node.seats), self.background)
        self._memberships = Memberships(
            node=node, people=people, presence=presence, background=self.background
        )
        self.partings: Counter[str] = Counter()
        """How many were dismissed, by reason."""
        self._drained: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        node.attend(self.recovery, self)

    async def __aenter__(self) -> Self:
        """Start to look after the connections."""
        self._sweep.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Say goodbye to everybody, in bounded time."""
        await self.drain()
        await self.polls.aclose()
        await self._sweep.aclose()
        await self.recovery.aclose()
        await self.background.finish(within=1.0)

    # The handshake

    @property
    def refusal(self) -> str | None:
        """Why no further socket is accepted now, if that is so."""
        if self.draining:
            return "draining"
        if len(self._links) >= self._settings.max_connections:
            return "too_many_connections"
        most = max(64, self._settings.max_connections // _UNKNOWN_SHARE)
        return "too_many_unknown" if self._sweep.unknown + self._greeting >= most else None

    @property
    def crowded(self) -> bool:
        """Whether handshakes had better wait: there are hellos enough that do."""
        return self._greeter.admission.crowded

    def connect(self, transport: asyncio.Transport, siblings: set[Any]) -> Connection:
        """The connection of an accepted handshake. `siblings` are the server's connections."""
        now = asyncio.get_running_loop().time()
        soft = self._settings.slow_soft_bytes
        transport.set_write_buffer_limits(high=soft, low=soft // 4)
        session = Session(self._rules, now=now)
        limit = min(_HELLO_BYTES, self._settings.ws_max_frame)
        link = Connection(transport, self, siblings, session, limit=limit, opened=now)
        self._links.add(link)
        self._empty.clear()
        self._sweep.await_hello(link)
        return link

    def __len__(self) -> int:
        return len(self._links)

    # What connections tell

    def received(self, link: Connection, data: bytes) -> None:
        """A text message."""
        match link.session.receive(data, now=asyncio.get_running_loop().time()):
            case None:
                pass
            case Acknowledge(seq):
                if link.seat is not None:
                    self._engine.ack(link.seat.device.key, link.seat.user.key, seq)
                    self.node.hint(link)
            case Perform(request):
                if link.seat is not None:
                    self._performer.perform(link, link.seat, request)
            case Reply(payload):
                self._performer.answer(link, payload)
            case Greet(hello):
                self._sweep.said_hello(link)
                link.hold()
                self.background.start(self._greet(link, hello), name="ws-hello")
            case Finish(parting, payload, retry_after_s):
                if payload is not None:
                    link.send(payload)
                self.dismiss(link, parting, retry_after_s=retry_after_s)

    def noise(self, link: Connection) -> None:
        """A control frame or a fragment: costs as much as any frame."""
        over = link.session.spend(asyncio.get_running_loop().time())
        if isinstance(over, Finish):
            self.dismiss(link, over.parting, retry_after_s=over.retry_after_s)

    def violated(self, link: Connection, parting: Parting, detail: str) -> None:
        """The peer broke the rules of the wire."""
        link.send(encode_frame(Error(ErrorCode.BAD_REQUEST, detail, False, None)))
        self.dismiss(link, parting)
        link.linger()

    def full(self, link: Connection) -> None:
        """The socket takes no more."""
        link.full_since = asyncio.get_running_loop().time()

    def drained(self, link: Connection) -> None:
        """The socket takes more again: a hint first, then what was held back."""
        link.full_since = 0.0
        behind = link.session.resume()
        self.node.tell_missed(link)
        if behind:
            if not link.session.hint:
                link.send(encode_frame(Behind(link.session.seen_q)))
            self.recovery.soon(link)

    def closing(self, link: Connection) -> None:
        """A close frame is on its way."""
        link.session.leave()
        self._sweep.await_close(link, _CLOSING)

    def lost(self, link: Connection) -> None:
        """The connection is gone."""
        link.session.leave()
        self._links.discard(link)
        self._sweep.forget(link)
        self.recovery.forget(link)
        self._performer.forget(link)
        self._unseat(link)
        if not self._links:
            self._empty.set()

    def going_down(self) -> None:
        """The server stops: it waits until all connections are gone."""
        self.polls.close()
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_task(self._drain(), name="ws-drain")

    # Ends

    def dismiss(self, link: Connection, parting: Parting, *, retry_after_s: float | None = None) -> None:
        """Say bye and close; the user's seat is free from now on."""
        if not link.closed:
            self.partings[parting.reason] += 1
        link.bye(parting, retry_after_s=retry_after_s)
        self._unseat(link)

    def _unseat(self, link: Connection) -> None:
        seat = link.seat
        _, unwatched = self.node.leave(link)
        if unwatched:
            self.background.start(self._quietly(self._presence.unwatch, unwatched), name="ws-unwatch")
        if seat is not None:
            link.seat = None
            self.background.start(self._quietly(self._presence.unregister, seat), name="ws-unregister")

    async def drain(self) -> None:
        """Let accepted requests be answered, say bye to everybody, and cut off who does not leave. Bounded."""
        self.going_down()
        if self._drained is not None:
            await asyncio.shield(self._drained)

    async def _drain(self) -> None:
        self.draining = True
        patience = self._settings.drain_timeout.total_seconds()
        deadline = asyncio.get_running_loop().time() + patience
        spread = min(30.0, 1.0 + len(self._links) / 500)
        for link in list(self._links):
            link.session.leave()
        await self.background.settle(within=patience / 2)
        for count, link in enumerate(list(self._links)):
            self.dismiss(link, codes.DRAINING, retry_after_s=round(self._jitter() * spread, 2))
            if count % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._empty.wait()
        if self._links:
            log.info("sockets_cut_off", extra={"sockets": len(self._links)})
        for link in list(self._links):
            link.abort()
        await asyncio.sleep(0)
        await self.background.finish(within=1.0)

    # What takes longer

    async def _greet(self, link: Connection, hello: Hello) -> None:
        if self.draining:
            self.dismiss(link, codes.DRAINING, retry_after_s=round(self._jitter(), 2))
            return
        self._greeting += 1
        try:
            welcome = await self._greeter.greet(link, hello)
        finally:
            self._greeting -= 1
        if isinstance(welcome, Refusal):
            if welcome.error is not None:
                link.send(welcome.error)
            self.dismiss(link, welcome.parting, retry_after_s=welcome.retry_after_s)
        elif not link.closed:
            link.send(welcome)
            self.node.tell_missed(link)
            if link.session.up_to_date:
                link.session.settle()
            else:
                self.recovery.now(link)
            link.release(limit=self._settings.ws_max_frame)

    async def _read_queue(self, user: UserKey, after: int, limit: int) -> Page:
        return await self._engine.sync(user, after=after, limit=limit)

    def memberships_changed(self, user: UserKey) -> None:
        """The user joined or left a conversation."""
        self._memberships.changed(user)

    def signals_doubted(self) -> None:
        """Clients read again what they keep of it."""
        self._unheard.doubt()

    def memberships_doubted(self) -> None:
        """Anybody may have."""
        self._memberships.doubt()

    async def _quietly(self, tell: Callable[..., Any], what: Seat | list[UserKey]) -> None:
        try:
            await tell(what)
        except QueueUnavailable:
            log.info("presence_not_told")
