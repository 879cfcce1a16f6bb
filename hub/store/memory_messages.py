"""Conversations, queues and bodies in this process's memory: what was committed, read; cursors, moved."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hub.core.conversation import FREE, Conversation, ConversationKind, Fanout, Membership, Role, Speech
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    AppId,
    ConversationId,
    DeviceKey,
    Entry,
    Message,
    MessageId,
    QueueSpan,
    SeqKey,
    SeqKind,
    UserKey,
)
from hub.core.ports import Clock, NewId
from hub.store.memory_deliveries import MemoryDeliveries

_GAP_LIMIT = 1_000
_SENDERS = 50
_MADE_VERSION = 1


@dataclass(slots=True)
class _Conversation:
    app: AppId
    kind: ConversationKind
    fanout: Fanout
    version: int
    speech: Speech = FREE
    members: dict[UserKey, Membership] = field(default_factory=dict)
    messages: dict[int, MessageId] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    """Ascending."""


@dataclass(slots=True)
class _Queue:
    entries: dict[int, Entry] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)


class MemoryMessages(MemoryDeliveries):
    """`MessageStore` without its commits. What happens in one call happens at once."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._conversations: dict[ConversationId, _Conversation] = {}
        self._messages: dict[MessageId, Message] = {}
        self._queues: dict[UserKey, _Queue] = {}
        self._devices: dict[DeviceKey, int] = {}
        self._owners: dict[DeviceKey, UserKey] = {}
        self._removed: dict[SeqKey, int] = {}

    # What a directory would do.

    def put_conversation(
        self, conversation: Conversation, *, memberships: Mapping[UserKey, Membership] | None = None
    ) -> None:
        """Make or change a conversation: its version rises where it was there already."""
        known = self._conversations.get(conversation.id)
        if known is None:
            version = conversation.version or _MADE_VERSION
            known = _Conversation(conversation.app, conversation.kind, conversation.fanout, version)
            self._conversations[conversation.id] = known
        else:
            known.version += 1
            known.fanout = conversation.fanout
        known.speech = conversation.speech
        before = known.members
        known.members = {
            user: before.get(user) or Membership(_role(conversation, user), 0, 0)
            for user in conversation.members
        }
        known.members.update(memberships or {})

    def put_device(self, device: DeviceKey, user: UserKey | None = None) -> None:
        """A device that may acknowledge, and whose it is."""
        self._devices.setdefault(device, 0)
        if user is not None:
            self._owners[device] = user

    def cursor(self, device: DeviceKey) -> int:
        """How far a device is."""
        return self._devices[device]

    async def conversations(self, ids: Collection[ConversationId]) -> Mapping[ConversationId, Conversation]:
        """See the port."""
        return {id_: self._snapshot(id_) for id_ in ids if id_ in self._conversations}

    def _snapshot(self, id_: ConversationId) -> Conversation:
        known = self._conversations[id_]
        whole = known.fanout is Fanout.WRITE and known.kind is not ConversationKind.INBOX
        members = tuple(sorted(known.members)) if whole else ()
        readonly = frozenset(user for user in members if known.members[user].role is Role.READONLY)
        return Conversation(
            id_, known.app, known.kind, known.fanout, known.version, members, readonly, known.speech
        )

    async def membership(self, conversation: ConversationId, user: UserKey) -> Membership | None:
        """See the port."""
        known = self._conversations.get(conversation)
        return None if known is None else known.members.get(user)

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """See the port."""
        return {key: self._head(key) for key in keys}

    def _head(self, key: SeqKey) -> int:
        counted: _Queue | _Conversation | None
        if key.kind is SeqKind.USER:
            counted = self._queues.get(UserKey(int(key.id)))
        else:
            counted = self._conversations.get(ConversationId(key.id))
        return counted.numbers[-1] if counted is not None and counted.numbers else 0

    async def entries(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry]:
        """See the port."""
        queue = self._queue(user)
        start = bisect_right(queue.numbers, after)
        return [queue.entries[number] for number in queue.numbers[start : start + limit]]

    async def entries_of(self, wants: Sequence[QueueSpan]) -> Mapping[QueueSpan, Sequence[Entry]]:
        """See the port."""
        return {want: await self.entries(want.user, after=want.after, limit=want.limit) for want in wants}

    async def floor(self, key: SeqKey) -> int:
        """See the port."""
        return self._removed.get(key, 0)

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """See the port."""
        return {id_: self._messages[id_] for id_ in ids if id_ in self._messages}

    async def history(
        self, conversation: ConversationId, *, after: int | None, before: int | None, limit: int
    ) -> Sequence[Message]:
        """See the port."""
        known = self._conversations.get(conversation)
        messages = [self._messages[known.messages[n]] for n in known.numbers] if known else []
        return _page(messages, after=after, before=before, limit=limit)

    async def inbox_history(
        self,
        user: UserKey,
        conversation: ConversationId,
        *,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Message]:
        """See the port."""
        sent = {e.message for e in self._queue(user).entries.values() if e.inbox_seq is not None}
        known = self._conversations.get(conversation)
        ids = [known.messages[number] for number in known.numbers] if known else []
        mine = [self._messages[id_] for id_ in ids if id_ in sent]
        return _page(mine, after=after, before=before, limit=limit)

    async def close_gaps(
        self, gaps: Sequence[tuple[SeqKey, int, int]], *, new_id: NewId, now: datetime
    ) -> None:
        """See the port."""
        for key, first, last in gaps:
            for number in range(first, min(last, first + _GAP_LIMIT - 1) + 1):
                self._close(key, number, new_id, now)

    def _close(self, key: SeqKey, number: int, new_id: NewId, now: datetime) -> None:
        if key.kind is SeqKind.USER:
            user = UserKey(int(key.id))
            if number not in self._queue(user).entries:
                self._put_entry(Entry(user, number, None))
            return
        conversation = ConversationId(key.id)
        known = self._conversations.get(conversation)
        if known is not None and number not in known.messages:
            id_ = MessageId(new_id("msg"))
            self._put_message(
                Message(id_, known.app, conversation, number, SYSTEM, None, TOMBSTONE, "null", now)
            )

    async def move_cursors(self, cursors: Mapping[DeviceKey, int]) -> None:
        """See the port."""
        for device, seq in cursors.items():
            if device in self._devices:
                self._devices[device] = max(seq, self._devices[device])

    async def acknowledged(self, users: Collection[UserKey]) -> Mapping[UserKey, int]:
        """See the port."""
        reached: dict[UserKey, int] = {}
        for device, user in self._owners.items():
            if user in users:
                reached[user] = max(self._devices[device], reached.get(user, 0))
        return reached

    async def move_read(
        self, user: UserKey, conversation: ConversationId, seq: int
    ) -> tuple[int, int, Collection[UserKey]] | None:
        """See the port."""
        known = self._conversations.get(conversation)
        own = known.members.get(user) if known else None
        if known is None or (own is None and known.kind is not ConversationKind.INBOX):
            return None
        place = own or Membership(Role.MEMBER, 0, 0)
        old = place.read_seq
        new = min(seq, self._head(SeqKey.of_conversation(conversation)))
        if new <= old:
            return None
        known.members[user] = replace(place, read_seq=new)
        return old, new, self._senders(user, known, max(old, place.joined_seq), new)

    def _senders(self, user: UserKey, known: _Conversation, floor: int, new: int) -> Collection[UserKey]:
        sent = {e.message for e in self._queue(user).entries.values() if e.inbox_seq is not None}
        inbox = known.kind is ConversationKind.INBOX
        read = [known.messages[n] for n in known.numbers if floor < n <= new]
        senders = {self._messages[id_].sender for id_ in read if not inbox or id_ in sent}
        return frozenset(sorted(senders - {SYSTEM, user})[:_SENDERS])

    def _put_message(self, message: Message) -> None:
        conversation = self._conversations[message.conversation]
        self._messages[message.id] = message
        conversation.messages[message.seq] = message.id
        insort(conversation.numbers, message.seq)

    def _put_entry(self, entry: Entry) -> None:
        queue = self._queue(entry.user)
        queue.entries[entry.user_seq] = entry
        insort(queue.numbers, entry.user_seq)

    def _queue(self, user: UserKey) -> _Queue:
        return self._queues.setdefault(user, _Queue())


def _role(conversation: Conversation, user: UserKey) -> Role:
    return Role.READONLY if user in conversation.readonly else Role.MEMBER


def _page(
    messages: Sequence[Message], *, after: int | None, before: int | None, limit: int
) -> Sequence[Message]:
    some = [m for m in messages if (after is None or m.seq > after) and (before is None or m.seq < before)]
    return some[:limit] if after is not None else some[-limit:]
