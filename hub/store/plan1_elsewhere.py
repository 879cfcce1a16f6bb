"""Plan 1, for the directory: what stories and the inbox show of messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hub.core.list_ports import ListedMessages
from hub.core.message import ConversationId, Message, MessageId, SeqKey, UserKey
from hub.core.records import UNREAD_WINDOW
from hub.store import plan1_wire as wire
from hub.store.plan1_lists import Plan1Lists
from hub.store.plan1_reading import Plan1Reading
from hub.store.plan1_redis import Plan1Redis

_QUEUES = 500


class Plan1Elsewhere:
    """`MessagesElsewhere`. Calls of more than some hundred keys are cut, so that none holds Redis up."""

    def __init__(self, redis: Plan1Redis, reading: Plan1Reading, lists: Plan1Lists) -> None:
        self.lists: ListedMessages = lists
        self._listed = lists
        self._redis = redis
        self._reading = reading
        self._inbox, self._numbers, self._tops = map(wire.script, ("inbox", "numbers", "tops"))

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """See the protocol."""
        listed = list(keys)
        found: dict[SeqKey, int] = {}
        for start in range(0, len(listed), _QUEUES):
            some = listed[start : start + _QUEUES]
            tops = await self._redis.ask(self._tops, list(map(wire.sequence, some)))
            found.update(zip(some, tops, strict=True))
        return found

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """See the protocol."""
        return await self._reading.messages(ids)

    async def newest(self, past: Mapping[ConversationId, int]) -> Mapping[ConversationId, Message]:
        """See the protocol."""
        return await self._listed.newest(past)

    async def inbox(self, user: UserKey, past: int) -> tuple[Message | None, int]:
        """See the protocol."""
        id_, body, count = await self._redis.ask(self._inbox, [wire.queue(user)], past, UNREAD_WINDOW)
        return (wire.message_of(id_, body) if body else None), int(count)

    async def numbers(
        self, message: Message, users: Sequence[UserKey], *, inbox: bool
    ) -> Mapping[UserKey, int]:
        """See the protocol."""
        found: dict[UserKey, int] = {}
        for start in range(0, len(users), _QUEUES):
            some = users[start : start + _QUEUES]
            words = (message.id, message.seq if inbox else 0)
            numbers = await self._redis.ask(self._numbers, [wire.queue(user) for user in some], *words)
            found.update((user, number) for user, number in zip(some, numbers, strict=True) if number)
        return found
