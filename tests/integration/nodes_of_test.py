"""Hub nodes without sockets, several in one process: presence and broker on a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from hub.channels.ws.broker import open_broker
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.presence import Presence, PresenceLimits, open_presence
from hub.channels.ws.seats import Seat
from hub.core.errors import QueueUnavailable
from hub.core.identity import Device, EndUser, Platform
from hub.core.message import AppId, ConversationId, DeviceKey, MessageId, Published, UserKey
from hub.partitions import tag, user_tag
from hub.redis_link import LinkLimits, RedisLink, open_redis

ANN, BEN, EVE = UserKey(1), UserKey(2), UserKey(3)
LEASE = timedelta(seconds=0.9)
LIMITS = PresenceLimits(lease=LEASE, grace_app=timedelta(seconds=0.3), grace_web=timedelta(seconds=0.5))
REGISTER = f"hub:nodes:{tag('n:nodes')}"


def now() -> datetime:
    return datetime.now(UTC)


def seat(session: str, user: UserKey = ANN, platform: Platform = Platform.APP) -> Seat:
    who = EndUser(AppId("app"), user, f"user-{user}", now() + timedelta(hours=1))
    return Seat(session, who, Device(DeviceKey(user), f"device-{session}", platform, "", 0))


def parcel_of(published: Published) -> Parcel:
    """Stands for what frames.py makes of a message."""
    message = published.message
    users = [(int(entry.user), entry.user_seq) for entry in published.entries]
    rest = message.body.encode()
    return Parcel(rest, message.conversation, message.seq, users, grew=published.grew)


async def until(true: Callable[[], bool | Awaitable[bool]], within: float = 6.0) -> None:
    """Waits for it; a time-out is the failure."""
    async with asyncio.timeout(within):
        while True:
            answer = true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


class NodeOfTest:
    """One node with a link of its own; its sessions are lists of what they were told."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.heard: list[tuple[UserKey, bool]] = []
        self.pushed: list[Parcel] = []
        self.signals: list[tuple[list[int], bytes]] = []
        self.forgotten: list[MessageId] = []
        self.dropped: list[tuple[UserKey, str | None]] = []
        self.caught_up = 0
        self.rooms: set[ConversationId] = set()
        self.offline: list[UserKey] = []
        self.seen: dict[UserKey, datetime] = {}
        self.stack = AsyncExitStack()

    async def start(self) -> NodeOfTest:
        limits = LinkLimits(pause=timedelta(milliseconds=50))
        self.link: RedisLink = await self.stack.enter_async_context(open_redis(self.url, limits))
        self.nodes = Nodes(self.link, node=self.name, lease=LEASE)
        before = asyncio.all_tasks()
        self.presence: Presence = await self.stack.enter_async_context(
            open_presence(
                self.link,
                self.nodes,
                limits=LIMITS,
                clock=now,
                seen=self.note_seen,
                went_offline=lambda user, _: self.offline.append(user),
            )
        )
        opened = open_broker(self.link, self.nodes, self.presence, encode=parcel_of, local=self)
        self.broker, self.receiver = await self.stack.enter_async_context(opened)
        self.tasks = asyncio.all_tasks() - before
        return self

    async def ready(self) -> NodeOfTest:
        await until(lambda: self.receiver.healthy)
        return self

    async def die(self) -> None:
        """As by SIGKILL: nothing is taken off, nothing is said."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.stack.pop_all()
        await self.link.aclose()

    async def sees(self, user: UserKey) -> list[str] | None:
        """The user's live sessions; None where Redis is away."""
        try:
            return sorted(session.session for session in (await self.presence.sessions([user]))[user])
        except QueueUnavailable:
            return None

    async def agrees(self, user: UserKey, *sessions: str) -> bool:
        return await self.sees(user) == list(sessions)

    async def note_seen(self, users: Mapping[UserKey, datetime]) -> None:
        self.seen.update(users)

    # LocalSessions

    def push(self, parcels: Sequence[Parcel]) -> None:
        self.pushed += parcels

    def signal(self, users: Collection[UserKey], frame: bytes) -> None:
        self.signals.append((sorted(users), frame))

    def presence_changed(self, user: UserKey, online: bool, at: datetime) -> None:
        assert at.tzinfo is not None
        self.heard.append((user, online))

    def catch_up(self) -> None:
        self.caught_up += 1

    def rooms_here(self) -> Collection[ConversationId]:
        return self.rooms

    async def enter(self, *rooms: ConversationId) -> None:
        """A member of these comes."""
        self.rooms.update(rooms)
        await self.receiver.hear(rooms)

    def drop_user(self, user: UserKey, conversation: ConversationId | None) -> None:
        self.dropped.append((user, conversation))

    def forget(self, messages: Collection[MessageId]) -> None:
        self.forgotten.extend(messages)


def watch_key(user: UserKey) -> str:
    return f"hub:watch:{user_tag(user)}:{user}"
