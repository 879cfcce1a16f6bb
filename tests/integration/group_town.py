"""Two nodes on one database and one Redis, groups on them, and a client that knows only what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hub.core.conversation import Role
from hub.core.directory import Change
from hub.core.errors import Unavailable
from hub.core.groups import SYSTEM_DOER, Doer, GroupChanged, GroupWrite
from hub.core.message import Accepted, ConversationId, Message, ToConversation, UserKey
from hub.core.records import NewMember
from hub.settings import Settings
from tests.support.engine import APP, Rig, open_rig

T = TypeVar("T")
_GAP = 0.05
"""Seconds between two looks at a number that was drawn and not used: the node closes it after its grace."""


def doer(user: int) -> Doer:
    """A user who changes something."""
    return Doer(UserKey(user), f"u{user}")


def people(*users: int, role: Role = Role.MEMBER) -> list[NewMember]:
    """Who should come in."""
    return [NewMember(UserKey(user), role) for user in users]


async def adding(conversation: ConversationId, members: Sequence[NewMember], change: Change) -> GroupChanged:
    """The business system brings them in."""
    return await change.add_members(conversation, members)


async def removing(
    conversation: ConversationId, user: int, change: Change, *, by: int | None = None
) -> GroupChanged:
    """The business system, or a user, takes somebody out."""
    return await change.remove_member(conversation, UserKey(user), by=SYSTEM_DOER if by is None else doer(by))


async def leaving(conversation: ConversationId, user: int, change: Change) -> GroupChanged:
    """Somebody leaves."""
    return await change.leave(conversation, UserKey(user))


async def joining(conversation: ConversationId, user: int, change: Change) -> GroupChanged:
    """Somebody joins."""
    return await change.join(conversation, UserKey(user))


@dataclass
class Town:
    """Nodes, and the verbs of groups as routes do them."""

    nodes: list[Rig]

    @property
    def rig(self) -> Rig:
        """The first node."""
        return self.nodes[0]

    async def change(self, work: Callable[[Change], Awaitable[T]]) -> T:
        """One transaction; again where two writers met, as routes do."""
        for _ in range(20):
            try:
                async with self.rig.rooms.directory.change(APP, actor="test") as change:
                    return await work(change)
            except Unavailable as error:
                if error.code != "contention":
                    raise
        raise AssertionError

    async def told(self, work: Callable[[Change], Awaitable[GroupChanged]], *, node: int = 0) -> GroupChanged:
        """A change, and its notices."""
        done = await self.change(work)
        await self.nodes[node].engine.notices.tell(done.record.id)
        return done

    async def group(self, owner: int, *others: int, **wanted: Any) -> ConversationId:
        """A group that a user made."""
        made = await self.told(
            lambda c: c.create_group(GroupWrite(title="群", **wanted), people(*others), by=doer(owner))
        )
        return made.record.id

    async def say(self, conversation: ConversationId, user: int, text: str, *, node: int = 0) -> Accepted:
        """A member speaks."""
        rig = self.nodes[node]
        return await rig.engine.submit(rig.draft(ToConversation(conversation), sender=user, text=text))

    async def queue(self, user: int) -> list[Message]:
        """What is in a user's queue, from the first number on without a gap."""
        for node in self.nodes:
            await node.published()
        found: list[Message] = []
        after, head = 0, await self.rig.engine.head(UserKey(user))
        async with asyncio.timeout(20):
            while after < head:
                page = await self.rig.engine.sync(UserKey(user), after=after, limit=200)
                numbers = [entry.user_seq for entry, _ in page.entries]
                assert numbers == list(range(after + 1, after + 1 + len(numbers)))
                found += [message for _, message in page.entries if message is not None]
                after = page.next
                if not numbers:
                    await asyncio.sleep(_GAP)
        return found

    async def history(self, conversation: ConversationId, user: int, after: int = 0) -> list[Message]:
        """What a member reads of it past a number."""
        found: list[Message] = []
        async with asyncio.timeout(20):
            while True:
                page = await self.rig.engine.history(
                    conversation, reader=UserKey(user), after=after, before=None, limit=200
                )
                found += page.messages
                after = max(after, page.high)
                if page.gap is not None:
                    await asyncio.sleep(_GAP)
                elif not page.more:
                    return found

    async def events(self, user: int) -> list[dict[str, Any]]:
        """The notices in a user's queue."""
        return [json.loads(message.body) for message in await self.queue(user) if message.kind == "notice"]

    async def client(self, conversation: ConversationId, user: int) -> Client:
        """What somebody knows who has read their queue, pulled what it told them to pull, and done what a connection
        says at its beginning."""
        known = Client()
        for message in await self.queue(user):
            if message.conversation == conversation:
                assert message.seq not in known.seen, f"{message.seq} is in the queue of {user} twice"
                known.seen[message.seq] = message
                known.queued.append(message.seq)
                until = json.loads(message.body).get("read_until") if message.kind == "notice" else None
                if until:
                    await self._pull(known, conversation, user, until)
        rooms = await self.rig.rooms.people.read_diffused(UserKey(user))
        if rooms.get(conversation):
            await self._pull(known, conversation, user, rooms[conversation])
        return known

    async def _pull(self, known: Client, conversation: ConversationId, user: int, until: int) -> None:
        for message in await self.history(conversation, user):
            if message.seq <= until:
                known.seen.setdefault(message.seq, message)


@dataclass
class Client:
    """By seq what a client has, and what of it came through the queue, in the order of its coming."""

    seen: dict[int, Message] = field(default_factory=dict)
    queued: list[int] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """What was said, in the conversation's order."""
        return [
            json.loads(self.seen[seq].body)["text"]
            for seq in sorted(self.seen)
            if self.seen[seq].kind == "text"
        ]


@asynccontextmanager
async def open_town(settings: Settings, *, nodes: int = 1, users: int = 20) -> AsyncIterator[Town]:
    """Nodes on these settings, on an empty database."""
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(open_rig(settings, users=users, fresh=number == 0, groups=True))
            for number in range(nodes)
        ]
        yield Town(opened)
