"""What is new, to every live session on any node: at once to those here, through Redis to those on other nodes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from hub.channels.ws import bus
from hub.channels.ws.drops import Drops
from hub.channels.ws.growth import Growth
from hub.channels.ws.local import LocalSessions, NoSessions
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.presence import Presence
from hub.channels.ws.sightings import Sightings
from hub.core.body_cache import changed_bodies
from hub.core.errors import QueueUnavailable
from hub.core.message import ConversationId, MessageId, Published, UserKey
from hub.redis_link import RedisLink, Subscription
from hub.redis_wire import Command

log = logging.getLogger("hub.broker")

_PROBE_EVERY: Final = 5.0
_SILENCE: Final = 12.0
"""Seconds without a frame, probes included, after which a subscription is taken for dead."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_STABLE: Final = 10.0
_FRAMES_A_TURN: Final = 64


@dataclass(slots=True)
class BrokerMetrics:
    """Counts since the start. There is no queue here: what cannot be sent now is dropped (the store has it), and a
    node that reads too slowly is cut off by Redis (client-output-buffer-limit) and catches up."""

    parcels_sent: int = 0
    """To other nodes."""
    frames_heard: int = 0
    frames_unknown: int = 0
    batches_dropped: int = 0
    """Batches and signals that did not reach other nodes because Redis was away."""
    subscriptions: int = 0
    silences: int = 0
    """Subscriptions that were dead without saying so."""


class NodeBroker:
    """core.ports.Broker. A process without sockets uses it as it is; a node opens it with `open_broker`."""

    def __init__(
        self,
        link: RedisLink,
        sightings: Sightings,
        *,
        encode: Callable[[Published], Parcel],
        local: LocalSessions | None = None,
    ) -> None:
        self._link = link
        self._sightings = sightings
        self._encode = encode
        self._local: LocalSessions = local or NoSessions()
        self._drops = Drops(link, sightings.node)
        self.metrics = BrokerMetrics()

    def close(self) -> None:
        """Nothing that waits is told any more."""
        self._drops.close()

    async def publish(self, batch: Sequence[Published]) -> None:
        """Pushes to sessions here, then to those elsewhere. Raises QueueUnavailable when the latter cannot be
        reached; twice is harmless."""
        parcels = [self._encode(part) for published in batch for part in _parts(published)]
        self._local.push(parcels)
        try:
            if await self._sightings.others():
                await self._send(parcels, changed_bodies(batch))
        except QueueUnavailable:
            self.metrics.batches_dropped += 1
            raise

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        """A frame that is not stored, the same way."""
        encoded = msgspec.json.encode(frame)
        self._local.signal(users, encoded)
        node = self._sightings.node
        try:
            places = await self._sightings.nodes_of(users)
            await self._link.run(
                [
                    ("PUBLISH", bus.channel_of(place), bus.encode(bus.Signaled(node, list(some), encoded)))
                    for place, some in places.items()
                ]
            )
        except QueueUnavailable:
            self.metrics.batches_dropped += 1
            raise

    async def drop_user(self, user: UserKey, conversation: ConversationId | None) -> None:
        """Every node checks again what the user may see. Raises QueueUnavailable where others are told later."""
        await self.drop_users([user], conversation)

    async def drop_users(self, users: Collection[UserKey], conversation: ConversationId | None) -> None:
        """The same for many, in one round trip."""
        for user in users:
            self._local.drop_user(user, conversation)
        await self._drops.tell(users, conversation)

    async def _send(self, parcels: Sequence[Parcel], changed: Sequence[MessageId]) -> None:
        node = self._sightings.node
        places: dict[int, list[str]] = {}
        users = {UserKey(user) for parcel in parcels for user, _ in parcel.users}
        for place, some in (await self._sightings.nodes_of(users)).items():
            for user in some:
                places.setdefault(user, []).append(place)
        # Before anybody there is told of the change, and asks.
        forget = [bus.encode(bus.Forgot(node, list(changed)))] if changed else []
        # On a Cluster two channels have no order between them.
        again = forget if self._link.clustered else []
        commands: list[Command] = [("PUBLISH", bus.EVERYBODY, frame) for frame in forget]
        commands += [
            ("PUBLISH", bus.channel_of(place), frame)
            for place, theirs in _by_place(parcels, places).items()
            for frame in (*again, *bus.pushes(node, theirs))
        ]
        # Only where somebody listens for it; Redis knows that, and nobody is asked.
        commands += [
            ("PUBLISH", channel, frame)
            for channel, grown in _by_growth(parcels).items()
            for frame in bus.pushes(node, grown)
        ]
        await self._link.run(commands)
        self.metrics.parcels_sent += len(parcels) if commands else 0


class Receiver:
    """This node's ear: one subscription, made again whenever it breaks, moves to another server or falls silent.

    After each of these something may have been lost, and the local sessions are told to catch up.
    """

    def __init__(
        self, link: RedisLink, nodes: Nodes, presence: Presence, local: LocalSessions, metrics: BrokerMetrics
    ) -> None:
        self._link = link
        self._nodes = nodes
        self._presence = presence
        self._local = local
        self._metrics = metrics
        self._subscription: Subscription | None = None
        self._heard_at: list[float] = []
        """By line of the subscription."""
        self._growth = Growth(local.rooms_here)
        self._moved = asyncio.Event()
        link.on_epoch(lambda _old, _new: self._moved.set())

    @property
    def last_frame_age(self) -> float:
        """Seconds since anything was heard, on the line that is silent the longest; a healthy node hears its own
        probes on each."""
        return time.monotonic() - min(self._heard_at, default=-math.inf)

    @property
    def healthy(self) -> bool:
        """Whether what others send arrives here."""
        return self._subscription is not None and self.last_frame_age <= _SILENCE

    async def hear(self, rooms: Collection[ConversationId]) -> None:
        """Call it when users of these are here. On return it is heard when one of them grows. Where nothing can be
        heard now, the sessions are told to catch up when it can."""
        await self._growth.hear(rooms)

    async def listen(self, jitter: Callable[[], float] = random.random) -> None:
        """Receives. Never returns."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._hear_until_it_breaks()
            except QueueUnavailable as error:
                log.info("subscription_ended", extra={"error": str(error)[:200]})
            except Exception:
                log.exception("subscription_failed")
            pause = _FIRST_PAUSE if time.monotonic() - began > _STABLE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * (0.5 + jitter() / 2))

    async def watch(self) -> None:
        """Sends probes the way messages go, and breaks a subscription that does not hear them. Never returns."""
        probe_at = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._moved.wait()
            moved = self._moved.is_set()
            self._moved.clear()
            subscription = self._subscription
            if subscription is None:
                continue
            if self.last_frame_age > _SILENCE:
                self._metrics.silences += 1
                log.warning("subscription_silent")
                await subscription.abort()
            elif moved and not subscription.current:
                await subscription.abort()
            elif time.monotonic() >= probe_at:
                probe_at = time.monotonic() + _PROBE_EVERY
                await self._probe()

    async def _probe(self) -> None:
        node = self._nodes.node
        frame = bus.encode(bus.Probe(node))
        try:
            # PING goes to every master of a Cluster: one that is another now is met, though nothing is said to it.
            await self._link.run(
                [
                    ("PUBLISH", bus.channel_of(node), frame),
                    ("PUBLISH", bus.echo_of(node), frame),
                    ("PING",),
                ]
            )
        except QueueUnavailable:
            return  # no way to send is not deafness
        except Exception:
            log.exception("probe_failed")

    async def _hear_until_it_breaks(self) -> None:
        node = self._nodes.node
        channels = (bus.channel_of(node), bus.EVERYBODY, bus.echo_of(node))
        async with self._link.subscribe(*channels) as subscription:
            self._metrics.subscriptions += 1
            self._heard_at = [time.monotonic()] * subscription.lines
            self._subscription = subscription
            self._growth.begin(subscription)
            growing = asyncio.create_task(
                self._growth.keep(subscription, self._catch_up), name="broker-growth"
            )
            try:
                heard = 0
                while True:
                    line, payload = await subscription.receive()
                    self._heard_at[line] = time.monotonic()
                    self._hear(payload)
                    heard += 1
                    if heard % _FRAMES_A_TURN == 0:
                        await asyncio.sleep(0)  # what is buffered is received without giving way
            finally:
                self._subscription = None
                self._growth.end()
                growing.cancel()
                await asyncio.gather(growing, return_exceptions=True)

    def _catch_up(self) -> None:
        """What was sent before this moment may not have been heard."""
        self._local.catch_up()
        self._presence.recheck()

    def _hear(self, payload: bytes) -> None:
        self._metrics.frames_heard += 1
        frame = bus.decode(payload)
        if frame is None:
            self._metrics.frames_unknown += 1
        elif frame.origin != self._nodes.node:
            self._take(frame)

    def _take(self, frame: bus.Frame) -> None:
        match frame:
            case bus.Pushed(parcels=parcels):
                self._local.push(parcels)
            case bus.Signaled(users=users, frame=encoded):
                self._local.signal([UserKey(user) for user in users], encoded)
            case bus.Changed(users=changes):
                for user, online, at in changes:
                    self._local.presence_changed(UserKey(user), online, at)
            case bus.Dropped(user=user, conversation=conversation):
                self._local.drop_user(UserKey(user), ConversationId(conversation) if conversation else None)
            case bus.Forgot(messages=messages):
                self._local.forget([MessageId(message) for message in messages])
            case bus.Joined():
                self._nodes.doubt()
            case bus.Probe():
                pass


@asynccontextmanager
async def open_broker(
    link: RedisLink,
    nodes: Nodes,
    presence: Presence,
    *,
    encode: Callable[[Published], Parcel],
    local: LocalSessions,
) -> AsyncIterator[tuple[NodeBroker, Receiver]]:
    """A node's broker and its ear, which is open until this is left. Take sessions only inside."""
    broker = NodeBroker(link, presence, encode=encode, local=local)
    receiver = Receiver(link, nodes, presence, local, broker.metrics)
    presence.listen(local.presence_changed, reborn=local.catch_up)
    tasks = [
        asyncio.create_task(receiver.listen(), name="broker-listen"),
        asyncio.create_task(receiver.watch(), name="broker-watch"),
    ]
    try:
        yield broker, receiver
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        broker.close()


def _parts(published: Published) -> Sequence[Published]:
    """What goes to queues, and what tells of growth: of a read-diffused conversation a few may have a message in their
    queues, too."""
    if not published.grew or not published.entries:
        return (published,)
    return (replace(published, grew=False), replace(published, entries=()))


def _by_growth(parcels: Sequence[Parcel]) -> dict[str, list[Parcel]]:
    """What tells of growth, in order, by the channel of its conversation."""
    found: dict[str, list[Parcel]] = {}
    for parcel in parcels:
        if parcel.grew:
            found.setdefault(bus.growth_of(parcel.conversation), []).append(parcel)
    return found


def _by_place(parcels: Sequence[Parcel], places: Mapping[int, Sequence[str]]) -> dict[str, list[Parcel]]:
    """For each node the parcels of its users, each with those users alone."""
    found: dict[str, list[Parcel]] = {}
    for parcel in parcels:
        theirs: dict[str, list[tuple[int, int]]] = {}
        for pair in parcel.users:
            for place in places.get(pair[0], ()):
                theirs.setdefault(place, []).append(pair)
        for place, users in theirs.items():
            found.setdefault(place, []).append(
                Parcel(parcel.rest, parcel.conversation, parcel.seq, users, grew=False)
            )
    return found
