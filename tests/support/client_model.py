"""A device that follows the client rules, without a socket: what it is given it applies as an SDK would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hub.core.message import ConversationId, HistoryPage, Message, Page, UserKey

Frame = Mapping[str, Any]
RECALLED = "recalled"


class Source(Protocol):
    """What a device asks of a node. Histories raise NotFound for who is not in the conversation: None here."""

    async def sync(self, user: UserKey, after: int, limit: int) -> Page:
        """A page of the queue."""
        ...

    async def history(
        self, user: UserKey, conversation: ConversationId, after: int, limit: int
    ) -> HistoryPage | None:
        """A page of a conversation."""
        ...

    async def head(self, user: UserKey) -> int:
        """The newest number of the queue, as in a `welcome` or a `pong`."""
        ...

    async def rooms(self, user: UserKey) -> Mapping[ConversationId, int | None]:
        """Conversations that must be pulled."""
        ...


@dataclass(slots=True)
class Seen:
    """A message as the device has it."""

    seq: int
    sender: str | None
    kind: str
    body: str
    control: bool
    queued: bool
    """It came by the queue; otherwise history was asked."""
    changed: int = 0


@dataclass(slots=True)
class Chat:
    """A conversation as the device has it. Up to `top` there is nothing more to be had."""

    top: int = 0
    seen: dict[str, Seen] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)


class Device:
    """One device of one user. `node` is where its socket is, None while it is offline."""

    def __init__(self, name: str, user: UserKey) -> None:
        self.name = name
        self.user = user
        self.node: str | None = None
        self.cursor = 0
        self.chats: dict[ConversationId, Chat] = {}
        self.inbox: list[tuple[int, Frame]] = []
        """Live frames that were written and not looked at yet."""
        self.grown: set[ConversationId] = set()
        self.acked = 0

    def chat(self, conversation: ConversationId) -> Chat:
        """What it has of a conversation."""
        return self.chats.setdefault(conversation, Chat())

    async def look(self, source: Source, *, limit: int = 50) -> None:
        """Apply what came live: in order of q; on a gap, sync."""
        frames, self.inbox = self.inbox, []
        for q, frame in frames:
            if q <= self.cursor:
                continue
            if q > self.cursor + 1:
                await self.sync(source, limit=limit)
            if q != self.cursor + 1 or not await self._entry(source, q, frame):
                break  # the rest comes by the next sync
        if self.grown and await self.caught_up(source, limit=limit):
            grown, self.grown = self.grown, set()
            for conversation in sorted(grown):
                await self.pull(source, conversation, limit=limit)

    async def sync(self, source: Source, *, limit: int, pages: int | None = None) -> bool:
        """Read the queue from the cursor on. True where a page came that has nothing behind it."""
        while pages is None or pages > 0:
            page = await source.sync(self.user, self.cursor, limit)
            assert not page.rebase, f"{self.name}: rebase at {self.cursor}"
            numbers = [entry.user_seq for entry, _ in page.entries]
            assert numbers == list(range(self.cursor + 1, self.cursor + 1 + len(numbers))), numbers
            for entry, message in page.entries:
                frame = None if message is None else frame_of(message)
                if not await self._entry(source, entry.user_seq, frame):
                    return False
            assert page.next == self.cursor
            if not page.more:
                return True
            pages = None if pages is None else pages - 1
        return False

    async def caught_up(self, source: Source, *, limit: int) -> bool:
        """Read the queue to its head, if no gap is in the way. Histories come after that: what the queue still holds
        may be older, such as that one was taken out before one was let in again."""
        head = await source.head(self.user)
        return self.cursor >= head or (await self.sync(source, limit=limit) and self.cursor >= head)

    async def refresh(self, source: Source, *, limit: int) -> None:
        """As after a reconnect: whatever the list says is to be pulled."""
        if not await self.caught_up(source, limit=limit):
            return
        rooms = await source.rooms(self.user)
        for conversation, known in sorted(rooms.items()):
            if known is None or known > self.chat(conversation).top:
                await self.pull(source, conversation, limit=limit)

    async def pull(
        self, source: Source, conversation: ConversationId, *, limit: int, before: int | None = None
    ) -> bool:
        """History from what is had on, up to a number. False where a gap was in the way: to be tried again."""
        chat = self.chat(conversation)
        after = chat.top
        while True:
            page = await source.history(self.user, conversation, after, limit)
            if page is None:
                return True
            for message in page.messages:
                if message.seq > chat.top and (before is None or message.seq < before):
                    self._show(chat, frame_of(message), queued=False)
            after = max(after, page.high)
            if before is None or page.high < before:
                chat.top = max(chat.top, page.high)
            if before is not None and (page.high >= before or (page.gap and page.gap[0] >= before)):
                return True
            if page.gap is not None:
                return False
            if not page.more:
                return True

    async def _entry(self, source: Source, q: int, frame: Frame | None) -> bool:
        """Apply one entry, with what was said before it first. False where that is not to be had yet."""
        if frame is not None and frame.get("id") is not None:
            conversation, seq = ConversationId(frame["conversation"]), frame["seq"]
            chat = self.chat(conversation)
            if seq > chat.top + 1 and not await self.pull(source, conversation, limit=50, before=seq):
                return False
            self._show(chat, frame, queued=True)
        self.cursor = q
        return True

    def _show(self, chat: Chat, frame: Frame, *, queued: bool) -> None:
        known = chat.seen.get(frame["id"])
        if known is not None:
            assert known.seq == frame["seq"], (known, frame)
            known.queued = known.queued or queued
            return
        seq = frame["seq"]
        chat.order.append(seq)
        chat.top = max(chat.top, seq)
        body = json.dumps(frame["body"], ensure_ascii=False)
        control = bool(frame.get("control", False))
        chat.seen[frame["id"]] = Seen(seq, frame.get("sender"), frame["kind"], body, control, queued)
        self._change(chat, frame)

    def _change(self, chat: Chat, frame: Frame) -> None:
        """A control message changes another one; of two changes the higher number holds."""
        kind, body, seq = frame["kind"], frame["body"], frame["seq"]
        if kind not in ("recall", "edit") or not isinstance(body, dict):
            return
        target = chat.seen.get(body.get("message", ""))
        if target is None or target.kind == RECALLED:
            return
        if kind == "recall":
            target.kind, target.body = RECALLED, "null"
        elif "body" in body and seq > target.changed:  # an edit of what is recalled by now says no more
            target.changed = seq
            target.body = json.dumps(body["body"], ensure_ascii=False)


def frame_of(message: Message) -> Frame:
    """The part of a frame that this model looks at."""
    return {
        "id": message.id,
        "conversation": message.conversation,
        "seq": message.seq,
        "sender": message.sender_id,
        "kind": message.kind,
        "body": json.loads(message.body),
        "control": message.control,
    }
