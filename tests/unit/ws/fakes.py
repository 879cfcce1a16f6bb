"""A hub in memory, small enough to be read: engine, people, presence and broker of one app."""

# ruff: noqa: ARG002

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hub.channels.ws.frames import encode, encode_frame
from hub.channels.ws.node import Node
from hub.channels.ws.seats import Seat
from hub.channels.ws.sightings import SessionInfo
from hub.core.conversation import direct_id
from hub.core.errors import NotFound, QueueUnavailable, Refused, Unavailable
from hub.core.identity import Device, EndUser, Platform, SocketPolicy
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    Entry,
    HistoryPage,
    Message,
    MessageId,
    Page,
    Published,
    ToConversation,
    ToUser,
    UserKey,
)

APP = AppId("app_1")


@dataclass
class FakeHub:
    """Users are made on their first token, which is their id; `rooms` maps conversations to members."""

    node: Node
    rooms: dict[ConversationId, list[UserKey]] = field(default_factory=dict)
    diffused: set[ConversationId] = field(default_factory=set)
    unread: dict[ConversationId, int] = field(default_factory=dict)
    """Of read-diffused conversations the newest number that nobody has read."""
    policy: SocketPolicy = field(default_factory=lambda: SocketPolicy(5, replace_oldest=True))
    lifetime: timedelta = timedelta(hours=1)
    silent: bool = False
    """Commits are not pushed: only recovery finds them."""
    delay: float = 0.0
    hello_delay: float = 0.0
    away: bool = False
    sync_away: bool = False
    redis_away: bool = False
    down: bool = False

    def __post_init__(self) -> None:
        self.users: dict[str, UserKey] = {}
        self.queues: dict[UserKey, list[Message | None]] = defaultdict(list)
        self.conversations: dict[ConversationId, list[Message]] = defaultdict(list)
        self.floor: dict[UserKey, int] = {}
        self.devices: dict[tuple[UserKey, str], Device] = {}
        self.acks: list[tuple[DeviceKey, UserKey, int]] = []
        self.reads: list[tuple[str, ConversationId, int]] = []
        self.submitted: list[Draft] = []
        self.present: dict[str, Seat] = {}
        self.watched: set[UserKey] = set()
        self.polled: set[UserKey] = set()
        self.far: dict[UserKey, list[SessionInfo]] = {}
        self.signals: list[tuple[list[UserKey], Mapping[str, object]]] = []
        self.syncs = 0
        self._first: dict[tuple[UserKey, str], Accepted] = {}
        self._ids = itertools.count(1)

    def key(self, name: str) -> UserKey:
        """The number of a user, made at need."""
        return self.users.setdefault(name, UserKey(len(self.users) + 1))

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):06d}"

    # engine

    async def submit(self, draft: Draft) -> Accepted:
        await asyncio.sleep(self.delay)
        if self.away:
            raise Unavailable("store_away", "the database is away", retry_after=timedelta(seconds=3))
        if self.down:
            raise RuntimeError("a bug")
        first = self._first.get((draft.sender, draft.client_msg_id or ""))
        if first is not None:
            return replace(first, duplicate=True)
        self.submitted.append(draft)
        conversation, members = self._members(draft)
        return self.commit(draft, conversation, members)

    def _members(self, draft: Draft) -> tuple[ConversationId, list[UserKey]]:
        if isinstance(draft.to, ToUser):
            return direct_id(APP, draft.sender, draft.to.user), sorted({draft.sender, draft.to.user})
        assert isinstance(draft.to, ToConversation)
        members = self.rooms.get(draft.to.conversation, [])
        if draft.sender not in members:
            raise NotFound("conversation_not_found", "no such conversation")
        return draft.to.conversation, members

    def commit(self, draft: Draft, conversation: ConversationId, members: Sequence[UserKey]) -> Accepted:
        seq = len(self.conversations[conversation]) + 1
        message = Message(
            draft.id, APP, conversation, seq, draft.sender, draft.sender_id, draft.kind, draft.body,
            draft.created_at, draft.client_msg_id, draft.mentions,
        )  # fmt: skip
        published = self.append(message, () if conversation in self.diffused else members)
        if not self.silent:
            self.node.push([encode(replace(published, grew=conversation in self.diffused))])
        done = Accepted(draft.id, conversation, seq, draft.created_at)
        self._first[(draft.sender, draft.client_msg_id or "")] = done
        return done

    def append(self, message: Message, members: Sequence[UserKey]) -> Published:
        self.conversations[message.conversation].append(message)
        entries = []
        for member in members:
            self.queues[member].append(message)
            entries.append(Entry(member, len(self.queues[member]), message.id))
        return Published(message, tuple(entries))

    def write(self, *names: str, text: str = "hi", push: bool = True) -> Published:
        """The business system writes to these users."""
        conversation = ConversationId("cnv_inbox")
        message = Message(
            MessageId(self.new_id("msg")), APP, conversation, len(self.conversations[conversation]) + 1,
            UserKey(0), None, "text", encode_frame({"text": text}).decode(), self.clock(),
        )  # fmt: skip
        published = self.append(message, [self.key(name) for name in names])
        if push:
            self.node.push([encode(published)])
        return published

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        self.syncs += 1
        await asyncio.sleep(0)
        if self.down:
            raise RuntimeError("a bug")
        if self.away or self.sync_away:
            raise Unavailable("store_away", "the database is away")
        queue = self.queues[user]
        if after > len(queue) or after < self.floor.get(user, 0):
            return Page((), next=len(queue), more=False, rebase=True)
        some = queue[after : after + limit]
        pairs = tuple(
            (Entry(user, after + 1 + at, message.id if message else None), message)
            for at, message in enumerate(some)
        )
        return Page(pairs, next=after + len(some), more=after + len(some) < len(queue))

    async def heads(self, users: Sequence[UserKey]) -> list[int]:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("store_away", "the database is away")
        return [len(self.queues[user]) for user in users]

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        if reader is not None and reader not in self.rooms.get(conversation, []):
            raise NotFound("conversation_not_found", "no such conversation")
        rows = self.conversations[conversation]
        if after is not None:
            some, more = rows[after : after + limit], after + limit < len(rows)
        else:
            rows = rows[: before - 1] if before else rows
            some, more = rows[-limit:], limit < len(rows)
        return HistoryPage(
            tuple(some), more, low=some[0].seq if some else 0, high=some[-1].seq if some else 0
        )

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        self.acks.append((device, user, seq))
        for at, known in self.devices.items():
            if known.key == device:
                self.devices[at] = replace(known, cursor=max(known.cursor, seq))

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        if reader.key not in self.rooms.get(conversation, []):
            raise NotFound("conversation_not_found", "no such conversation")
        self.reads.append((reader.id, conversation, seq))
        frame = {"type": "read", "conversation": conversation, "seq": seq, "user": reader.id}
        await self.signal(self.rooms[conversation], frame)

    # broker

    async def publish(self, batch: Sequence[Published]) -> None:
        self.node.push([encode(published) for published in batch])

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        self.signals.append((list(users), frame))
        self.node.signal(users, encode_frame(frame))

    # people

    async def authenticate(self, token: str) -> EndUser:
        if token.startswith("bad"):
            raise Refused("token_invalid", "not a token of this hub")
        if token.startswith("old"):
            raise Refused("token_expired", "expired")
        if token.startswith("banned"):
            raise Refused("user_blocked", "blocked")
        if self.away:
            raise Unavailable("store_away", "the database is away", retry_after=timedelta(seconds=3))
        if self.down:
            raise RuntimeError("a bug")
        return EndUser(
            APP, self.key(token), token, self.clock() + self.lifetime, frozenset({"read", "write"})
        )

    async def device(self, user: EndUser, device_id: str, platform: Platform, name: str) -> Device:
        await asyncio.sleep(self.hello_delay)
        fresh = Device(DeviceKey(len(self.devices) + 1), device_id, platform, name, 0)
        return self.devices.setdefault((user.key, device_id), fresh)

    async def socket_policy(self, app: AppId) -> SocketPolicy:
        return self.policy

    async def user_key(self, app: AppId, user_id: str) -> UserKey | None:
        await asyncio.sleep(0.01)
        if self.away:
            raise Unavailable("store_away", "the database is away")
        if self.down:
            raise RuntimeError("a bug")
        return self.users.get(user_id)

    async def user_ids(self, users: Collection[UserKey]) -> Mapping[UserKey, str]:
        return {key: name for name, key in self.users.items() if key in users}

    async def acquainted(self, user: UserKey, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        friends = {m for members in self.rooms.values() if user in members for m in members}
        return {name: self.users[name] for name in user_ids if self.users.get(name) in friends}

    async def members(self, conversation: ConversationId, user: UserKey) -> Sequence[UserKey]:
        members = self.rooms.get(conversation, [])
        if user not in members:
            raise NotFound("conversation_not_found", "no such conversation")
        return members

    async def read_diffused(self, user: UserKey) -> Mapping[ConversationId, int]:
        if self.away:
            raise Unavailable("store_away", "the database is away")
        return {room: self.unread.get(room, 0) for room in self.diffused if user in self.rooms.get(room, [])}

    async def seen(self, users: Mapping[UserKey, datetime]) -> None:
        return

    # presence

    async def register(self, session: Seat) -> None:
        if self.redis_away:
            raise QueueUnavailable
        self.present[session.id] = session

    async def unregister(self, session: Seat) -> None:
        if self.redis_away:
            raise QueueUnavailable
        self.present.pop(session.id, None)

    async def online(self, users: Collection[UserKey]) -> Mapping[UserKey, dict[str, object]]:
        if self.redis_away:
            raise QueueUnavailable
        here = {seat.user.key for seat in self.present.values()}
        return {user: {"online": user in here} for user in users}

    def elsewhere(self, name: str, device: str, platform: str, *, session: str) -> None:
        """A session on another node."""
        since = self.clock() - timedelta(minutes=1)
        info = SessionInfo(session, "far", "boot", Platform(platform), device, since)
        self.far.setdefault(self.key(name), []).append(info)

    async def others(self) -> Collection[str]:
        return {"far"} if self.far else set()

    async def nodes_of(self, users: Collection[UserKey]) -> Mapping[str, Collection[UserKey]]:
        here = [user for user in users if user in self.far]
        return {"far": here} if here else {}

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[SessionInfo]]:
        if self.redis_away:
            raise QueueUnavailable
        found: dict[UserKey, list[SessionInfo]] = {user: list(self.far.get(user, ())) for user in users}
        for seat in self.present.values():
            if seat.user.key in found:
                device = seat.device
                info = SessionInfo(seat.id, "here", "boot", device.platform, device.id, self.clock())
                found[seat.user.key].append(info)
        return found

    async def poll(self, user: UserKey) -> None:
        if self.redis_away:
            raise QueueUnavailable
        self.polled.add(user)

    async def unpoll(self, users: Collection[UserKey]) -> None:
        self.polled -= set(users)

    async def watch(self, users: Collection[UserKey]) -> None:
        self.watched |= set(users)

    async def unwatch(self, users: Collection[UserKey]) -> None:
        self.watched -= set(users)
