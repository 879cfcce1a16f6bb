"""Groups on whole nodes of one process: the verbs that a model of groups calls, and what it looks at."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import insert, select

from hub.channels.ws.parcel import Parcel
from hub.channels.ws.seats import Seat
from hub.core.chat_rules import Doer as Speaker
from hub.core.conversation import Role
from hub.core.directory import Change
from hub.core.errors import HubError, NotFound, QueueUnavailable
from hub.core.groups import SYSTEM_DOER, Doer, GroupChanged, GroupWrite
from hub.core.identity import Device as KnownDevice
from hub.core.identity import EndUser, Platform
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    HistoryPage,
    Message,
    MessageId,
    Page,
    ToConversation,
    UserKey,
)
from hub.core.records import ConversationView, MemberRecord, NewMember, PageRequest
from hub.settings import Settings
from hub.store.sql_engine import open_database
from hub.store.tables import metadata
from tests.support.client_model import Device
from tests.support.mortal import Cut, Died, Node, Owners

T = TypeVar("T")
ALL = PageRequest(limit=200)
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnk="


@dataclass(frozen=True, slots=True)
class Town:
    """An app and its users, by their numbers."""

    app: AppId
    users: Mapping[UserKey, str]


async def settle_town(settings: Settings, name: str, count: int) -> Town:
    """A new app with so many users, in a database that others may use too."""
    t, now = metadata.tables, datetime.now(UTC)
    app = AppId(f"app_{name}")
    async with open_database(settings) as database, database.writing() as connection:
        await connection.execute(insert(t["app"]).values(id=app, name=name, settings="{}", created_at=now))
        rows = [
            {
                "app_id": app,
                "user_id": f"u{number}",
                "name": "",
                "locale": "zh-CN",
                "timezone": "Asia/Shanghai",
                "preferences": "{}",
                "created_at": now,
            }
            for number in range(count)
        ]
        await connection.execute(insert(t["user"]), rows)
        query = select(t["user"].c.id, t["user"].c.user_id).where(t["user"].c.app_id == app)
        found = (await connection.execute(query)).all()
        return Town(app, {UserKey(row.id): row.user_id for row in found})


class Nodes:
    """Some nodes of one hub, and the town that lives there."""

    def __init__(self, settings: Settings, town: Town, owners: Owners) -> None:
        self.settings = settings
        self.town = town
        self.alive: list[Node] = []
        self.devices: list[Device] = []
        self.groups: list[ConversationId] = []
        self._owners = owners
        self._all: list[Node] = []

    async def start(self, place: int | None = None) -> Node:
        """One more, or one in the place of one that has died."""
        node = Node(f"n{len(self._all)}", self.settings, self._owners)
        self._all.append(node)
        await node.start()
        node.pushed = self._pushed
        await self._listen(node)
        if place is None:
            self.alive.append(node)
        else:
            self.alive[place] = node
        return node

    async def founded(self, group: ConversationId) -> None:
        """There is a group: every node hears when it grows."""
        self.groups.append(group)
        for node in self.alive:
            if node.alive:
                await self._listen(node)

    async def _listen(self, node: Node) -> None:
        """As if one who is in all of them were there."""
        assert node.hub.gateway is not None
        local = node.hub.gateway.node
        await node.own(local.enter(UserKey(0), self.groups, local.rooms.ask()))

    async def close(self) -> None:
        """Close all, the dead ones too."""
        for node in self._all:
            node.cut(None)
            with suppress(QueueUnavailable, HubError):
                await node.close()

    def _pushed(self, node: Node, parcels: Sequence[Parcel]) -> None:
        """As the gateway's registry does, for devices in place of connections."""
        here = [device for device in self.devices if device.node == node.name]
        for parcel in parcels:
            if parcel.grew:
                for device in here:
                    device.grown.add(ConversationId(parcel.conversation))
            for user, q in parcel.users:
                frame = json.loads(b'{"q":%d%s' % (q, parcel.rest))
                for device in here:
                    if device.user == user:
                        device.inbox.append((q, frame))

    # Devices

    async def connect(self, device: Device, node: Node) -> None:
        """Its socket is there from now on."""
        device.node = node.name
        with suppress(QueueUnavailable):
            await node.own(node.hub.presence.register(self._seat(device, node)))  # type: ignore[attr-defined]

    async def disconnect(self, device: Device) -> None:
        """It is offline. What was written to it and not looked at is lost."""
        node = next((node for node in self.alive if node.name == device.node), None)
        device.node = None
        device.inbox.clear()
        device.grown.clear()
        if node is not None and node.alive:
            with suppress(QueueUnavailable):
                await node.own(node.hub.presence.unregister(self._seat(device, node)))  # type: ignore[attr-defined]

    def _seat(self, device: Device, node: Node) -> Seat:
        known = KnownDevice(DeviceKey(1), device.name, Platform.APP, "", 0)
        return Seat(f"{device.name}-{node.name}", self.person(device.user), known)

    def person(self, user: UserKey) -> EndUser:
        """The user as one who has shown a token."""
        return EndUser(self.town.app, user, self.town.users[user], datetime.now(UTC) + timedelta(hours=1))


class At:
    """One node, asked as a device or a business system asks it: `tests.support.client_model.Source`, and the verbs."""

    def __init__(self, node: Node, town: Town, nodes: Nodes) -> None:
        self.node = node
        self._town = town
        self._nodes = nodes

    async def sync(self, user: UserKey, after: int, limit: int) -> Page:
        """A page of the queue."""
        return await self.node.own(self.node.hub.engine.sync(user, after=after, limit=limit))

    async def history(
        self, user: UserKey | None, conversation: ConversationId, after: int, limit: int
    ) -> HistoryPage | None:
        """A page of a conversation."""
        asking = self.node.hub.engine.history(
            conversation, reader=user, after=after, before=None, limit=limit
        )
        try:
            return await self.node.own(asking)
        except NotFound:
            return None

    async def head(self, user: UserKey) -> int:
        """The newest number of a queue."""
        return await self.node.own(self.node.hub.engine.head(user))

    async def rooms(self, user: UserKey) -> Mapping[ConversationId, int | None]:
        """Conversations that must be pulled."""
        found: Any = await self.node.own(self.node.hub.people.read_diffused(user))
        return dict(found) if isinstance(found, Mapping) else dict.fromkeys(found)

    async def log(self, conversation: ConversationId) -> Sequence[Message]:
        """All that was said, as the business system reads it."""
        asking = self.node.hub.engine.history(conversation, reader=None, after=None, before=None, limit=1_000)
        page = await self.node.own(asking)
        assert not page.more
        return page.messages

    async def members(self, conversation: ConversationId) -> dict[UserKey, MemberRecord]:
        """Who is in it."""
        asking = self.node.hub.directory.members(self._town.app, conversation, ALL)
        return {record.user: record for record in (await self.node.own(asking)).items}

    async def view(self, conversation: ConversationId, viewer: UserKey | None) -> ConversationView:
        """One line of a member's list."""
        asking = self.node.hub.directory.conversation_view(self._town.app, conversation, viewer=viewer)
        return await self.node.own(asking)

    # Verbs: each raises Refused, Unavailable, or Died

    async def say(
        self, conversation: ConversationId, user: UserKey, client_msg_id: str, text: str
    ) -> Accepted:
        """A member speaks."""
        engine = self.node.hub.engine
        draft = Draft(
            id=MessageId(engine.new_id("msg")),
            app=self._town.app,
            sender=user,
            sender_id=self._town.users[user],
            to=ToConversation(conversation),
            kind="text",
            body=json.dumps({"text": text}),
            created_at=engine.clock(),
            client_msg_id=client_msg_id,
        )
        return await self.node.own(engine.submit(draft))

    async def read(self, conversation: ConversationId, user: UserKey, seq: int) -> None:
        """A member has read so far."""
        await self.node.own(self.node.hub.engine.read(self._nodes.person(user), conversation, seq))

    async def recall(self, message: str, by: UserKey) -> Accepted:
        """Somebody takes a message back."""
        return await self.node.own(self.node.hub.engine.chat.recall(self._doer(by), MessageId(message)))

    async def edit(self, message: str, by: UserKey, text: str) -> Accepted:
        """Somebody says it in other words."""
        body = json.dumps({"text": text})
        return await self.node.own(self.node.hub.engine.chat.edit(self._doer(by), MessageId(message), body))

    async def react(self, message: str, by: UserKey, emoji: str, added: bool) -> Accepted:
        """Somebody puts an emoji to it, or takes it back."""
        chat = self.node.hub.engine.chat
        return await self.node.own(chat.react(self._doer(by), MessageId(message), emoji, added=added))

    def _doer(self, user: UserKey) -> Speaker:
        return Speaker(self._town.app, user, self._town.users[user])

    async def found(self, owner: UserKey, others: Sequence[UserKey]) -> ConversationId:
        """A new group."""
        members = [NewMember(user) for user in others]
        made = await self._change(
            lambda c: c.create_group(GroupWrite(title="群"), members, by=self._as(owner))
        )
        await self._nodes.founded(made.record.id)
        return made.record.id

    async def add(
        self, group: ConversationId, users: Sequence[UserKey], role: Role, by: UserKey | None = None
    ) -> GroupChanged:
        """Bring users in."""
        members = [NewMember(user, role) for user in users]
        return await self._change(lambda c: c.add_members(group, members, by=self._as(by)))

    async def remove(self, group: ConversationId, user: UserKey, by: UserKey | None = None) -> GroupChanged:
        """Take a user out."""
        return await self._change(lambda c: c.remove_member(group, user, by=self._as(by)))

    async def leave(self, group: ConversationId, user: UserKey) -> GroupChanged:
        """Somebody goes."""
        return await self._change(lambda c: c.leave(group, user))

    async def role(
        self, group: ConversationId, user: UserKey, role: Role, by: UserKey | None = None
    ) -> GroupChanged:
        """Give a role; `owner` hands the group over."""
        return await self._change(lambda c: c.set_role(group, user, role, by=self._as(by)))

    async def silence(self, group: ConversationId, user: UserKey, silenced: bool) -> GroupChanged:
        """Let a member not speak for an hour, or speak again."""
        until = datetime.now(UTC) + timedelta(hours=1) if silenced else None
        return await self._change(lambda c: c.silence_member(group, user, until))

    async def hush(self, group: ConversationId, silenced: bool) -> GroupChanged:
        """Let nobody speak but the owner and the admins, or everybody again."""
        return await self._change(lambda c: c.silence_group(group, silenced))

    async def dissolve(self, group: ConversationId) -> GroupChanged:
        """The end of it."""
        return await self._change(lambda c: c.dissolve(group))

    def _as(self, user: UserKey | None) -> Doer:
        return SYSTEM_DOER if user is None else Doer(user, self._town.users[user])

    async def _change(self, work: Callable[[Change], Awaitable[GroupChanged]]) -> GroupChanged:
        hub = self.node.hub

        async def doing() -> GroupChanged:
            async with hub.directory.change(self._town.app, actor="model") as change:
                done = await work(change)
            await self.node.reached(Cut.AFTER_CHANGE)
            await hub.membership_changed(done.record.id, done.users)
            return done

        return await self.node.own(doing())


__all__ = ["At", "Died", "Nodes", "Town", "settle_town"]
