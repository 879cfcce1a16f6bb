"""Reading a queue: contiguous sync, heads that can be believed, history; tails rebuilt and gaps noted on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from hub.core.body_cache import BodyCache
from hub.core.chat_ports import ChatStore
from hub.core.contact_ports import ClearedMarks, Glimpse, Unseen
from hub.core.conversation import ConversationKind
from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.gathered import Gathered
from hub.core.group_rules import not_there
from hub.core.groups import GroupStore
from hub.core.message import (
    TOMBSTONE,
    ConversationId,
    Entry,
    HistoryPage,
    Message,
    Page,
    QueueSpan,
    SeqKey,
    UserKey,
)
from hub.core.ports import Clock, MessageStore, Tail
from hub.core.sequence import GapWatch, contiguous
from hub.core.showing import Showing, View

log = logging.getLogger("hub.reading")

_REBUILDS = 128
_QUEUES = 64
"""Queues of which one call reads at most."""


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
        groups: GroupStore | None = None,
        cleared: ClearedMarks | None = None,
        chat: ChatStore | None = None,
    ) -> None:
        """`cleared` hides what a user has cleared or hidden from pages of the queue; histories know by themselves.
        Without `chat` histories show no reactions."""
        self._store = store
        self._groups = groups
        self._cleared = cleared
        self._showing = None if chat is None else Showing(store=store, chat=chat, clock=clock)
        self._tail = tail
        self._bodies = bodies
        self._gaps = gaps
        self._tail_size = tail_size
        self._clock = clock
        # After a restart thousands of queues are asked for at once.
        self._heads: Gathered[SeqKey, int] = Gathered(store.heads)
        self._queues: Gathered[QueueSpan, Sequence[Entry]] = Gathered(store.entries_of, most=_QUEUES)
        self._glimpsed: Gathered[tuple[Glimpse, ...], Unseen] = Gathered(self._unseen)
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
            entries = await self._queues.get(QueueSpan(user, after, limit + 1)) or ()
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
        pairs = await self._without_unseen(user, await self._with_bodies(some))
        return Page(tuple(pairs), next=reached, more=len(entries) > limit)

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
        view = await self._view(conversation, reader)
        if view.inbox:
            assert reader is not None  # noqa: S101  (only readers have an inbox)
            rows = await self._store.inbox_history(
                reader, conversation, after=after, before=before, limit=limit + 1
            )
            page = self._history_page(rows, after=after, limit=limit, floor=view.floor)
        else:
            lowest = None if after is None else max(after, view.floor)
            rows = await self._store.history(conversation, after=lowest, before=before, limit=limit + 1)
            gap = None
            if lowest is not None and before is None:
                rows, gap = await self._up_to_gap(SeqKey.of_conversation(conversation), lowest, rows)
            page = self._history_page(rows, after=lowest, limit=limit, floor=view.floor, gap=gap)
        if self._showing is None or not page.messages:
            return page
        return await self._showing.dressed(page, reader, view)

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

    async def _view(self, conversation: ConversationId, reader: UserKey | None) -> View:
        """What of a conversation the reader sees; of an inbox what references say."""
        snapshot = (await self._store.conversations([conversation])).get(conversation)
        if snapshot is None:
            raise not_there()
        if reader is None:
            return View()
        own = await self._store.membership(conversation, reader)
        if snapshot.kind is ConversationKind.INBOX:
            return View(own.cleared_seq if own is not None else 0, hides=True, inbox=True)
        if own is not None:
            return View(max(own.joined_seq, own.cleared_seq), hides=own.hides)
        public = snapshot.kind is ConversationKind.THREAD and snapshot.speech.open
        if public and self._groups is not None and await self._groups.reads_open(conversation, reader):
            return View()
        raise not_there()

    async def _from_tail(self, user: UserKey, after: int, limit: int) -> Sequence[Entry] | None:
        try:
            entries = await self._tail.read(user, after=after, limit=limit)
        except QueueUnavailable:
            return None
        if entries is None:
            self._rebuild_soon(user)
        return entries

    async def _committed_head(self, user: UserKey) -> int:
        return await self._heads.get(SeqKey.of_user(user)) or 0

    async def _rebase(self, user: UserKey, after: int) -> Page:
        head = await self._committed_head(user)
        log.info("rebase", extra={"after": after, "head": head})
        return Page((), next=head, more=False, rebase=True)

    async def _with_bodies(self, entries: Sequence[Entry]) -> list[tuple[Entry, Message | None]]:
        wanted = {entry.message for entry in entries if entry.message is not None}
        bodies = self._bodies.known(wanted)
        missing = wanted - bodies.keys()
        if missing:
            since = self._bodies.forgotten
            # The cache is not asked again: while the store was read, and by what comes from it now, it may have let
            # go of what it had. Only what the store itself does not have may be shown as a closed number.
            loaded = await self._store.messages(missing)
            self._bodies.put(loaded.values(), since=since)
            bodies.update(loaded)
        now = self._clock()
        pairs: list[tuple[Entry, Message | None]] = []
        for entry in entries:
            message = None if entry.message is None else bodies.get(entry.message)
            if message is not None and message.expires_at is not None and message.expires_at <= now:
                message = None
            pairs.append((entry, message))
        return pairs

    async def _without_unseen(
        self, user: UserKey, pairs: list[tuple[Entry, Message | None]]
    ) -> list[tuple[Entry, Message | None]]:
        """Numbers of messages that the user has cleared or hidden stay, for contiguity; what they said does not.
        Changes are told all the same: nobody should miss having been removed."""
        spans: dict[ConversationId, tuple[int, int]] = {}
        for _, message in pairs:
            if message is not None and not message.control:
                low, high = spans.get(message.conversation, (message.seq, message.seq))
                spans[message.conversation] = (min(low, message.seq), max(high, message.seq))
        if self._cleared is None or not spans:
            return pairs
        asked = tuple(Glimpse(user, place, low, high) for place, (low, high) in spans.items())
        unseen = await self._glimpsed.get(asked)
        if unseen is None:
            return pairs
        return [(entry, None if _is_unseen(message, unseen) else message) for entry, message in pairs]

    async def _unseen(self, asked: Sequence[tuple[Glimpse, ...]]) -> Mapping[tuple[Glimpse, ...], Unseen]:
        assert self._cleared is not None  # noqa: S101  (asked where there is one)
        found = await self._cleared.unseen_of([glimpse for some in asked for glimpse in some])
        return {some: found[some[0].user] for some in asked if some[0].user in found}

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
            entries = await self._queues.get(QueueSpan(user, lowest, self._tail_size)) or ()
            if entries or head == 0:
                await self._tail.rebuild(user, entries, head=entries[-1].user_seq if entries else 0)
        except (QueueUnavailable, Unavailable):
            return


def _is_unseen(message: Message | None, unseen: Unseen) -> bool:
    if message is None or message.control:
        return False
    place = message.conversation
    return message.seq <= unseen.cleared.get(place, 0) or (place, message.seq) in unseen.hidden
