"""What a page of history shows beside its messages: emojis, and what its messages answer; and what it leaves out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from hub.core.chat_ports import ChatStore
from hub.core.message import RECALLED, TOMBSTONE, HistoryPage, Message, UserKey
from hub.core.ports import Clock, MessageStore


@dataclass(frozen=True, slots=True)
class View:
    """What of a conversation a reader sees: what is past `floor`, and not hidden one by one (asked for where they have
    hidden anything at all)."""

    floor: int = 0
    hides: bool = False
    inbox: bool = False


class Showing:
    """One query for the emojis of a page; one more each where something was hidden, and where something off the page is
    answered."""

    def __init__(self, *, store: MessageStore, chat: ChatStore, clock: Clock) -> None:
        self._store = store
        self._chat = chat
        self._clock = clock

    async def dressed(self, page: HistoryPage, reader: UserKey | None, view: View) -> HistoryPage:
        """The page as this reader sees it. It covers the same numbers."""
        messages = await self._not_hidden(page.messages, reader, view)
        quoted = () if view.inbox else await self._quoted(messages, reader, view)
        plain = [message.id for message in messages if not message.control and message.kind != RECALLED]
        reactions = {} if view.inbox else await self._chat.reactions(plain, reader=reader)
        return replace(page, messages=messages, reactions=reactions, quoted=quoted)

    async def _not_hidden(
        self, messages: Collection[Message], reader: UserKey | None, view: View
    ) -> tuple[Message, ...]:
        if not view.hides or reader is None or not messages:
            return tuple(messages)
        seqs = [message.seq for message in messages]
        place = next(iter(messages)).conversation
        hidden = await self._chat.hidden(reader, place, low=min(seqs), high=max(seqs))
        return tuple(message for message in messages if message.control or message.seq not in hidden)

    async def _quoted(
        self, messages: Collection[Message], reader: UserKey | None, view: View
    ) -> tuple[Message, ...]:
        here = {message.id for message in messages}
        answered = {m.reply_to for m in messages if m.reply_to is not None and not m.control} - here
        if not answered:
            return ()
        place = next(iter(messages)).conversation
        now = self._clock()
        found = [
            message
            for message in (await self._store.messages(answered)).values()
            if message.conversation == place
            and message.seq > view.floor
            and message.kind != TOMBSTONE
            and (message.expires_at is None or message.expires_at > now)
        ]
        found.sort(key=lambda message: message.seq)
        return await self._not_hidden(found, reader, view)
