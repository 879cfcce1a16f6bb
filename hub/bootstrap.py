"""The one place that wires: concrete stores, queues and channels become a hub, opened and closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from hub.api.deps import Readiness
from hub.api.own_list import OwnLists
from hub.approvals_wiring import approvals_on
from hub.bootstrap_keeping import connect, open_keeping
from hub.bootstrap_limits import engine_limits
from hub.bootstrap_store import open_chosen_store, rooms_on
from hub.bootstrap_wechat import open_entrance, open_switchboard, wechat_channels
from hub.channels._wechat.desk import WeChatDesk
from hub.channels._wechat.entrance import Entrance
from hub.channels._wechat.field_notes import fields_of
from hub.channels._wechat.purse import Purse
from hub.channels._wechat.switchboard import Switchboard
from hub.channels.ws.broker import NodeBroker, Receiver, open_broker
from hub.channels.ws.channel import WsChannel
from hub.channels.ws.doorman import Doorman
from hub.channels.ws.frames import encode
from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.last_seen import LastSeen
from hub.channels.ws.node import Node
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.polls import Polls
from hub.channels.ws.presence import PresenceLimits, open_presence
from hub.channels.ws.reaper import Reaper
from hub.channels.ws.sightings import Sightings
from hub.channels.ws.tidings import Tidings
from hub.core.accounts import ProviderTemplate
from hub.core.approvals import Approvals
from hub.core.books import WeChatBooks
from hub.core.channel import Channel, Registry
from hub.core.chores import each_for_itself
from hub.core.engine import Engine, Ports, open_engine
from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.field_guide import TemplateField
from hub.core.keeping import Keeping
from hub.core.later import Later
from hub.core.message import SYSTEM, ConversationId, UserKey
from hub.core.ports import Broker, Executor
from hub.core.search import MessageSearch, keep_indexed
from hub.readiness import checked
from hub.redis_link import RedisLink, open_redis
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import DirectoryRooms, SqlDirectory
from hub.store.ids import new_id
from hub.store.people import SqlPeople
from hub.store.queue_redis import RedisSequencer, RedisTail
from hub.store.sql import SqlStore
from hub.store.sql_chat import SqlChat
from hub.store.templates_sql import SqlTemplates
from hub.store.webhooks_sql import SqlWebhooks
from hub.webhooks.caller import EndpointCaller
from hub.webhooks.guard import Guard
from hub.webhooks.runner import HookRunner, RunnerLimits
from hub.webhooks.sender import HttpSender, SendLimits, open_sender

log = logging.getLogger("hub.bootstrap")

_RIGHTS_SETTLE = timedelta(seconds=5)
"""By then every node has forgotten what it knew of a token (store/directory_cache.py)."""
_BATCHES_KEPT = timedelta(minutes=10)
_PARKED_KEPT = timedelta(days=3)
_ROUTING_KEPT = timedelta(days=35)
"""Longer than the longest window of a frequency cap."""
_GRANTS_GUARDED = timedelta(days=30)
"""No delivery and no provider's event is repeated later than this."""
_GRANTS_SETTLE = timedelta(hours=2)
"""A grant that was set aside for longer belongs to a delivery that is over, or to one that waits for its turn."""
_GRANTS_A_RUN = 1_000
_REPUBLISH_LOCK = 30_000
"""Milliseconds: who dies in the middle blocks the others no longer than this."""


@dataclass(frozen=True, slots=True)
class Hub:
    """What a process has opened. `gateway` and `receiver` are there on a web node only."""

    settings: Settings
    store: SqlStore
    link: RedisLink
    engine: Engine
    directory: SqlDirectory
    people: SqlPeople
    presence: Sightings
    broker: NodeBroker
    later: Later
    templates: SqlTemplates
    books: WeChatBooks
    switchboard: Switchboard
    webhooks: SqlWebhooks
    hooks: EndpointCaller
    entrance: Entrance
    approvals: Approvals
    keeping: Keeping
    gateway: SocketGateway | None = None
    receiver: Receiver | None = None
    reaper: Reaper | None = None
    last_seen: LastSeen | None = None
    hook_runner: HookRunner | None = None

    def template_fields(self, template: ProviderTemplate) -> Sequence[TemplateField]:
        """What the fields of a provider's template take."""
        return fields_of(template)

    @property
    def desk(self) -> WeChatDesk:
        """What only WeChat can do for an account."""
        return self.entrance.desk

    @property
    def polls(self) -> Polls | None:
        """Long polls, where this process takes them."""
        return None if self.gateway is None else self.gateway.polls

    @property
    def doorman(self) -> Doorman:
        """Sessions of devices, on every node."""
        return Doorman(self.presence, self.broker)

    @property
    def search(self) -> MessageSearch:
        """What messages say, by the words in it."""
        return self.directory.search

    async def ready(self) -> Sequence[Readiness]:
        """Each dependency, asked now, in bounded time."""
        return await asyncio.gather(
            checked("database", self._ask_database),
            checked("redis", self._ask_redis),
            checked("subscription", self._ask_receiver),
        )

    async def _ask_database(self) -> None:
        await self.store.acknowledged([SYSTEM])  # cursors are there whatever the storage plan

    async def _ask_redis(self) -> None:
        await self.link.ask("PING")

    async def _ask_receiver(self) -> None:
        if self.receiver is not None and not self.receiver.healthy:
            message = f"nothing heard from other nodes for {self.receiver.last_frame_age:.0f} s"
            raise QueueUnavailable(message)

    async def membership_changed(self, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """After a change of a group: the next batch sees it by its version, live sessions and members are told here."""
        self.engine.roster.forget([conversation])
        with contextlib.suppress(QueueUnavailable):
            await self.broker.drop_users(users, conversation)
        await self.engine.notices.tell(conversation)

    async def tell(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        """A frame that is not stored for all live sessions of these users. Lost where Redis is away."""
        with contextlib.suppress(QueueUnavailable):
            await self.broker.signal(users, frame)

    async def rights_changed(self, user: UserKey) -> None:
        """Close the user's sockets. Once more a little later: who came back at once with an old token may have met
        a node that had not heard of the change."""
        with contextlib.suppress(QueueUnavailable):
            await self.broker.drop_user(user, None)
        self.later.call(_RIGHTS_SETTLE, lambda: self.broker.drop_user(user, None))

    async def sweep(self, *, limit: int) -> None:
        """The outbox relay: what was committed and not published, and deliveries that are due."""
        await each_for_itself(
            self.engine.republish_unpublished,
            self.engine.send_notices,
            partial(self.engine.appointments.submit_due, limit=limit),
            partial(self.engine.dispatcher.sweep, limit=limit),
            partial(self.approvals.sweep, limit=limit),
            self.keeping.removals.sweep,
            partial(keep_indexed, self.search),
        )

    async def reap_sessions(self) -> None:
        """End the sessions of nodes whose lease has ended."""
        if self.reaper is None or self.last_seen is None:
            return
        with contextlib.suppress(QueueUnavailable):
            await self.reaper.sweep()
        await self.last_seen.report()

    async def send_webhooks(self) -> None:
        """Post what business systems are still to hear."""
        if self.hook_runner is not None:
            await self.hook_runner.deliver_due()

    async def forget_old(self) -> None:
        """Remove what has outlived its use."""
        now = utc_now()
        await self.store.forget_batches(now - _BATCHES_KEPT)
        await self.store.forget_idempotency(now - self.settings.idempotency_ttl)
        await self.store.forget_parked(now - _PARKED_KEPT)
        await self.store.forget_routing(now - _ROUTING_KEPT)
        await self.books.bindings.forget_tickets(now)
        await Purse(self.books.grants).tidy(self.store, before=now - _GRANTS_SETTLE, limit=_GRANTS_A_RUN)
        await self.books.grants.forget(now - _GRANTS_GUARDED)
        await self.webhooks.forget_events(now - self.settings.webhook_retention)
        await each_for_itself(partial(self.keeping.retention.expire, now), self.keeping.media.sweep)


@dataclass(frozen=True, slots=True)
class Ground:
    """What every process stands on."""

    store: SqlStore
    link: RedisLink
    rooms: DirectoryRooms
    nodes: Nodes
    later: Later
    templates: SqlTemplates
    sender: HttpSender
    hooks: EndpointCaller
    switchboard: Switchboard
    keeping: Keeping


@asynccontextmanager
async def open_hub(
    settings: Settings, *, executor: Executor, more_channels: Sequence[Channel] = ()
) -> AsyncIterator[Hub]:
    """A web node: engine, presence, broker and sockets. On leaving, sockets are told and drained first.

    `more_channels` are the embedder's own, beside the hub's.
    """
    async with AsyncExitStack() as stack:
        ground = await open_ground(settings, stack)
        limits = PresenceLimits(settings.node_lease, settings.grace_app, settings.grace_web)
        seen = ground.rooms.people.seen
        entered = open_presence(ground.link, ground.nodes, limits=limits, clock=utc_now, seen=seen)
        presence = await stack.enter_async_context(entered)
        node = Node()
        opened = open_broker(ground.link, ground.nodes, presence, encode=encode, local=node)
        broker, receiver = await stack.enter_async_context(opened)
        here = WsChannel(presence, here=lambda user: bool(node.seats.of(user)))
        channels = Registry([here, *channels_of_wechat(ground), *more_channels])
        engine = await open_engine_on(settings, stack, ground, broker, executor, channels)
        node.on_forget, node.on_rooms = engine.forget, receiver.hear
        approvals = approvals_on(settings, ground, engine)
        gateway = await stack.enter_async_context(
            SocketGateway(
                node=node,
                engine=engine,
                people=ground.rooms.people,
                presence=presence,
                broker=broker,
                settings=settings,
                actions=approvals,
                chat=engine.chat,
                lists=OwnLists(ground.rooms.directory, ground.rooms.people),
            )
        )
        common = common_parts(settings, ground, engine, presence, broker, approvals)
        yield replace(common, gateway=gateway, receiver=receiver)


@asynccontextmanager
async def open_worker_hub(
    settings: Settings, *, executor: Executor, more_channels: Sequence[Channel] = ()
) -> AsyncIterator[Hub]:
    """A worker: the engine without sockets. It looks at presence and publishes to nodes, and is none itself.

    `more_channels` are the embedder's own, beside the hub's.
    """
    async with AsyncExitStack() as stack:
        ground = await open_ground(settings, stack)
        sightings = Sightings(ground.link, ground.nodes)
        broker = NodeBroker(ground.link, sightings, encode=encode)
        stack.callback(broker.close)
        channels = Registry([WsChannel(sightings), *channels_of_wechat(ground), *more_channels])
        engine = await open_engine_on(settings, stack, ground, broker, executor, channels)
        approvals = approvals_on(settings, ground, engine)
        tidings = Tidings(ground.link, ground.nodes, clock=utc_now)
        last_seen = LastSeen(ground.rooms.people.seen)
        # Longer than a post and the note of its answer take.
        leased = RunnerLimits(lease=settings.webhook_timeout * 4)
        runner = HookRunner(ground.rooms.webhooks, ground.sender, clock=utc_now, limits=leased)
        stack.push_async_callback(runner.aclose)
        common = common_parts(settings, ground, engine, sightings, broker, approvals)
        reaper = Reaper(ground.link, ground.nodes, tidings, seen=last_seen.note)
        yield replace(common, reaper=reaper, last_seen=last_seen, hook_runner=runner)


def common_parts(
    settings: Settings,
    ground: Ground,
    engine: Engine,
    presence: Sightings,
    broker: NodeBroker,
    approvals: Approvals,
) -> Hub:
    """What a web node and a worker both have."""
    hub = Hub(
        settings=settings,
        store=ground.store,
        link=ground.link,
        engine=engine,
        directory=ground.rooms.directory,
        people=ground.rooms.people,
        presence=presence,
        broker=broker,
        later=ground.later,
        templates=ground.templates,
        books=ground.rooms.books,
        switchboard=ground.switchboard,
        webhooks=ground.rooms.webhooks,
        hooks=ground.hooks,
        entrance=_entrance(settings, ground, engine),
        approvals=approvals,
        keeping=ground.keeping,
    )
    return connect(hub)


async def open_ground(settings: Settings, stack: AsyncExitStack) -> Ground:
    link = await stack.enter_async_context(open_redis(settings.redis))
    store = await stack.enter_async_context(open_chosen_store(settings, link))
    rooms = rooms_on(store, settings)
    nodes = Nodes(link, node=new_id(socket.gethostname()[:16] or "node"), lease=settings.node_lease)
    later = Later()
    stack.push_async_callback(later.aclose)
    templates = SqlTemplates(store.database, clock=utc_now, new_id=new_id)
    guard = Guard(settings.webhook_allow)
    sender = await stack.enter_async_context(open_sender(guard, SendLimits(total=settings.webhook_timeout)))
    hooks = EndpointCaller(rooms.webhooks, sender, guard, clock=utc_now, new_id=new_id)
    switchboard = await open_switchboard(settings, stack, rooms.books, link)
    keeping = await stack.enter_async_context(open_keeping(settings, store, rooms))
    return Ground(store, link, rooms, nodes, later, templates, sender, hooks, switchboard, keeping)


def channels_of_wechat(ground: Ground) -> Sequence[Channel]:
    return wechat_channels(ground.switchboard, ground.rooms.books, ground.templates, ground.store)


def _entrance(settings: Settings, ground: Ground, engine: Engine) -> Entrance:
    books, store = ground.rooms.books, ground.store
    return open_entrance(settings, ground.switchboard, books, engine, store, ground.link, ground.later)


async def open_engine_on(
    settings: Settings,
    stack: AsyncExitStack,
    ground: Ground,
    broker: Broker,
    executor: Executor,
    channels: Registry,
) -> Engine:
    ports = Ports(
        messages=ground.store,
        attachments=ground.keeping.media,
        chat=SqlChat(ground.store.database),
        deliveries=ground.store,
        routing=ground.store,
        parking=ground.store,
        sequencer=RedisSequencer(ground.link, tail_ttl=settings.tail_ttl),
        tail=RedisTail(ground.link, size=settings.tail_size, ttl=settings.tail_ttl),
        broker=broker,
        executor=executor,
        channels=channels,
        clock=utc_now,
        new_id=new_id,
        cleared=ground.store,
        groups=ground.rooms.groups,
    )
    engine = await stack.enter_async_context(open_engine(ports, engine_limits(settings)))
    _republish_after_failover(ground.link, engine, ground.later)
    return engine


def _republish_after_failover(link: RedisLink, engine: Engine, later: Later) -> None:
    """When Redis begins a new epoch, one process publishes again what the old one may have lost."""

    async def republish(epoch: str) -> None:
        lock = f"hub:republishing:{epoch}"
        try:
            if await link.ask("SET", lock, "1", "NX", "PX", _REPUBLISH_LOCK):
                log.info("republished", extra={"batches": await engine.republish_recent()})
        except (QueueUnavailable, Unavailable) as error:
            # Another process, or this one at the next epoch, may do it; the sweep and heartbeats do it in any case.
            log.warning("republish_failed", extra={"error": str(error)})
            with contextlib.suppress(QueueUnavailable):
                await link.ask("DEL", lock)

    link.on_epoch(lambda _old, new: later.call(timedelta(0), lambda: republish(new)))
