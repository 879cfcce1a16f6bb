"""Reading a queue: contiguous sync, heads that can be believed, history; tails rebuilt and gaps noted on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence

from hub.core.conversation import ConversationKind
from hub.core.errors import NotFound, QueueUnavailable, Unavailable
from hub.core.message import (
    TOMBSTONE,
    ConversationId,
    Entry,
    HistoryPage,
    Message,
    MessageId,
    Page,
    SeqKey,
    UserKey,
)
from hub.core.ports import Clock, MessageStore, Tail
from hub.core.sequence import GapWatch, contiguous

log = logging.getLogger("hub.reading")

_REBUILDS = 32


class BodyCache:
    """The bodies of the newest messages: a burst of readers costs the store one query, not one each."""

    def __init__(self, *, capacity: int = 4_096, max_body: int = 8_192) -> None:
        self._capacity = capacity
        self._max_body = max_body
        self._bodies: OrderedDict[MessageId, Message] = OrderedDict()

    def put(self, messages: Collection[Message]) -> None:
        """Remember these, except the large ones."""
        for message in messages:
            if len(message.body) <= self._max_body:
                self._bodies[message.id] = message
        while len(self._bodies) > self._capacity:
            self._bodies.popitem(last=False)

    def known(self, messages: Collection[MessageId]) -> dict[MessageId, Message]:
        """Those of them that are here, for the caller to hold: a moment later the cache may have let go of them."""
        return {id_: self._bodies[id_] for id_ in messages if id_ in self._bodies}


class Reader:
    """The reading verbs. Everything here may be asked twice and changes nothing but caches."""

    def __init__(
        self,
        *,
        store: MessageStore,
        tail: Tail,
        bodies: BodyCache,
        gaps: GapWatch,
        tail_size: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tail = tail
        self._bodies = bodies
        self._gaps = gaps
        self._tail_size = tail_size
        self._clock = clock
        self._rebuilding: dict[UserKey, asyncio.Task[None]] = {}

    async def aclose(self) -> None:
        """Stop what runs beside the readers."""
        tasks = list(self._rebuilding.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        """The entries past `after` up to the first gap, at most `limit`, with their bodies."""
        entries = await self._from_tail(user, after, limit + 1)
        if entries is None:
            entries = await self._store.entries(user, after=after, limit=limit + 1)
            count, gap = contiguous(after, [entry.user_seq for entry in entries])
            if gap is not None:
                if await self._store.floor(SeqKey.of_user(user)) > after:
                    return await self._rebase(user, after)
                self._gaps.note(SeqKey.of_user(user), gap, monotonic=time.monotonic())
            entries = entries[:count]
        if not entries and after > 0 and await self._committed_head(user) < after:
            return await self._rebase(user, after)
        some = entries[:limit]
        reached = some[-1].user_seq if some else after
        return Page(tuple(await self._with_bodies(some)), next=reached, more=len(entries) > limit)

    async def head(self, user: UserKey) -> int:
        """The newest committed number of a queue."""
        return (await self.heads([user]))[0]

    async def heads(self, users: Sequence[UserKey]) -> list[int]:
        """The same for many: one call to the tails, and one to the store for those in doubt."""
        away = False
        try:
            found = list(await self._tail.heads(users))
        except QueueUnavailable:
            found, away = [None] * len(users), True
        doubtful = [user for user, head in zip(users, found, strict=True) if head is None]
        if not doubtful:
            return [head or 0 for head in found]
        stored = await self._store.heads([SeqKey.of_user(user) for user in doubtful])
        for user in () if away else doubtful:
            self._rebuild_soon(user)
        return [
            stored.get(SeqKey.of_user(user), 0) if head is None else head
            for user, head in zip(users, found, strict=True)
        ]

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        """Messages of a conversation that this reader may see; forward pages stop at the first gap.

        `reader` None is the business system. Raises NotFound for who is not in it.
        """
        floor = await self._floor(conversation, reader)
        if floor is None:
            assert reader is not None  # noqa: S101  (only readers have an inbox)
            rows = await self._store.inbox_history(
                reader, conversation, after=after, before=before, limit=limit + 1
            )
            return self._history_page(rows, after=after, limit=limit, floor=0)
        lowest = None if after is None else max(after, floor)
        rows = await self._store.history(conversation, after=lowest, before=before, limit=limit + 1)
        gap = None
        if lowest is not None and before is None:
            rows, gap = await self._up_to_gap(SeqKey.of_conversation(conversation), lowest, rows)
        return self._history_page(rows, after=lowest, limit=limit, floor=floor, gap=gap)

    async def _up_to_gap(
        self, key: SeqKey, after: int, rows: Sequence[Message]
    ) -> tuple[Sequence[Message], tuple[int, int] | None]:
        """The rows before the first gap that is one: what retention removed is none."""
        count, gap = contiguous(after, [row.seq for row in rows])
        if gap is None:
            return rows, None
        removed = await self._store.floor(key)
        if removed >= gap[0]:
            kept = sum(row.seq <= removed for row in rows)
            count, gap = contiguous(removed, [row.seq for row in rows[kept:]])
            count += kept
        if gap is not None:
            self._gaps.note(key, gap, monotonic=time.monotonic())
        return rows[:count], gap

    def _history_page(
        self,
        rows: Sequence[Message],
        *,
        after: int | None,
        limit: int,
        floor: int,
        gap: tuple[int, int] | None = None,
    ) -> HistoryPage:
        more = len(rows) > limit
        some = rows[:limit] if after is not None else rows[-limit:]
        now = self._clock()
        visible = tuple(
            row
            for row in some
            if row.seq > floor and row.kind != TOMBSTONE and (row.expires_at is None or row.expires_at > now)
        )
        low, high = (some[0].seq, some[-1].seq) if some else (0, 0)
        return HistoryPage(visible, more=more, gap=gap, low=low, high=high)

    async def _floor(self, conversation: ConversationId, reader: UserKey | None) -> int | None:
        """The seq above which the reader sees messages; None for an inbox, where references decide."""
        snapshot = (await self._store.conversations([conversation])).get(conversation)
        missing = NotFound("conversation_not_found", "There is no such conversation, or you are not in it.")
        if snapshot is None:
            raise missing
        if reader is None:
            return 0
        if snapshot.kind is ConversationKind.INBOX:
            return None
        membership = await self._store.membership(conversation, reader)
        if membership is None:
            raise missing
        return membership.joined_seq

    async def _from_tail(self, user: UserKey, after: int, limit: int) -> Sequence[Entry] | None:
        try:
            entries = await self._tail.read(user, after=after, limit=limit)
        except QueueUnavailable:
            return None
        if entries is None:
            self._rebuild_soon(user)
        return entries

    async def _committed_head(self, user: UserKey) -> int:
        key = SeqKey.of_user(user)
        return (await self._store.heads([key])).get(key, 0)

    async def _rebase(self, user: UserKey, after: int) -> Page:
        head = await self._committed_head(user)
        log.info("rebase", extra={"after": after, "head": head})
        return Page((), next=head, more=False, rebase=True)

    async def _with_bodies(self, entries: Sequence[Entry]) -> list[tuple[Entry, Message | None]]:
        wanted = {entry.message for entry in entries if entry.message is not None}
        bodies = self._bodies.known(wanted)
        missing = wanted - bodies.keys()
        if missing:
            # The cache is not asked again: while the store was read, and by what comes from it now, it may have let
            # go of what it had. Only what the store itself does not have may be shown as a closed number.
            loaded = await self._store.messages(missing)
            self._bodies.put(loaded.values())
            bodies.update(loaded)
        now = self._clock()
        pairs: list[tuple[Entry, Message | None]] = []
        for entry in entries:
            message = None if entry.message is None else bodies.get(entry.message)
            if message is not None and message.expires_at is not None and message.expires_at <= now:
                message = None
            pairs.append((entry, message))
        return pairs

    def _rebuild_soon(self, user: UserKey) -> None:
        """Only where the tail itself has said that it is not sure: what it loses from then on, it notices, and is not
        rebuilt from a store that was read before. One that was away has not been asked, and could be vouched for with
        a head that is too low, which nobody would ever doubt.

        Bounded: what is not rebuilt now is read from the store again next time.
        """
        if user in self._rebuilding or len(self._rebuilding) >= _REBUILDS:
            return
        task = asyncio.create_task(self._rebuild(user), name="tail-rebuild")
        self._rebuilding[user] = task
        task.add_done_callback(lambda _: self._rebuilding.pop(user, None))

    async def _rebuild(self, user: UserKey) -> None:
        try:
            head = await self._committed_head(user)
            lowest = max(0, head - self._tail_size)
            entries = await self._store.entries(user, after=lowest, limit=self._tail_size)
            if entries or head == 0:
                await self._tail.rebuild(user, entries, head=entries[-1].user_seq if entries else 0)
        except (QueueUnavailable, Unavailable):
            return
