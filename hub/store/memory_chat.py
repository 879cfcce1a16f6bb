"""What people do to messages, in this process's memory: the same as sql_changes and sql_chat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hub.core.chat_ports import COUNTED, Person, PinnedMessage, ReaderCounts, Readers, Standing
from hub.core.conversation import Membership
from hub.core.message import (
    RECALLED,
    AppId,
    ConversationId,
    Draft,
    Edited,
    Hidden,
    Message,
    MessageId,
    Pinned,
    Reacted,
    ReactionCount,
    Recalled,
    UserKey,
)
from hub.core.ports import Clock
from hub.store.memory_messages import MemoryMessages


@dataclass(frozen=True, slots=True)
class _Pin:
    standing: Standing
    by: UserKey
    at: datetime


class MemoryChat(MemoryMessages):
    """`ChatStore`, and what commits do to it."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.mentions: set[tuple[ConversationId, UserKey, int]] = set()
        self._changed: dict[MessageId, int] = {}
        self._edits: dict[MessageId, set[MessageId]] = {}
        self._reactions: dict[MessageId, dict[tuple[str, UserKey], Standing]] = {}
        self._pins: dict[ConversationId, dict[MessageId, _Pin]] = {}
        self._hidden: dict[tuple[UserKey, ConversationId], set[int]] = {}

    async def membership(self, conversation: ConversationId, user: UserKey) -> Membership | None:
        """See the port."""
        found = await super().membership(conversation, user)
        return found and replace(found, hides=bool(self._hidden.get((user, conversation))))

    # What a commit does.

    def _apply(self, draft: Draft, control: Message) -> None:
        self.mentions.update((control.conversation, user, control.seq) for user in draft.mentioned)
        match draft.change:
            case Edited() as change:
                self._edit(change, control)
            case Recalled() as change:
                self._recall(change, control)
            case Reacted() as change:
                known = self._reactions.setdefault(change.message, {})
                key = (change.emoji, change.user)
                if control.seq > known.get(key, Standing()).seq:
                    known[key] = Standing(change.added, control.seq)
            case Pinned() as change:
                pins = self._pins.setdefault(control.conversation, {})
                before = pins.get(change.message)
                if before is None or control.seq > before.standing.seq:
                    pins[change.message] = _Pin(
                        Standing(change.added, control.seq), change.by, control.created_at
                    )
            case Hidden() as change:
                self._hidden.setdefault((change.user, change.conversation), set()).update(change.seqs)
            case None:
                pass

    def _edit(self, change: Edited, control: Message) -> None:
        target = self._messages.get(change.message)
        self._edits.setdefault(change.message, set()).add(control.id)
        gone = {
            (control.conversation, user, seq)
            for conversation, user, seq in self.mentions
            if (conversation, seq) == (control.conversation, change.seq) and user not in change.mentioned
        }
        self.mentions -= gone
        if target is None or target.conversation != control.conversation:
            return
        if target.kind == RECALLED:
            self._blank(control.id, change.message)
        elif self._changed.get(target.id, 0) < control.seq:
            self._changed[target.id] = control.seq
            self._messages[target.id] = replace(
                target, body=change.body, mentions=change.mentions, edited_at=control.created_at
            )

    def _recall(self, change: Recalled, control: Message) -> None:
        target = self._messages.get(change.message)
        if target is not None and target.conversation == control.conversation:
            self._changed[target.id] = max(control.seq, self._changed.get(target.id, 0))
            self._messages[target.id] = replace(
                target, kind=RECALLED, body="{}", mentions=(), reply_to=None, forward_of=None
            )
        for edit in self._edits.get(change.message, ()):
            self._blank(edit, change.message)
        self.mentions = {m for m in self.mentions if (m[0], m[2]) != (control.conversation, change.seq)}
        pin = self._pins.get(control.conversation, {}).get(change.message)
        if pin is not None:
            standing = Standing(added=False, seq=max(control.seq, pin.standing.seq))
            self._pins[control.conversation][change.message] = replace(pin, standing=standing)

    def _blank(self, edit: MessageId, target: MessageId) -> None:
        if edit in self._messages:
            self._messages[edit] = replace(self._messages[edit], body=f'{{"message":"{target}"}}')

    def _name(self, user: UserKey) -> str:
        return self._users.get(user, str(user))

    # ChatStore.

    async def named_members(
        self, conversation: ConversationId, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        """See the port."""
        known = self._conversations.get(conversation)
        named = {self._name(user): user for user in (known.members if known else ())}
        return {name: named[name] for name in user_ids if name in named}

    async def named_users(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:  # noqa: ARG002
        """See the port. Memory keeps one app's users."""
        named = {self._name(user): user for user in self._users}
        return {name: named[name] for name in user_ids if name in named}

    async def reactions(
        self, messages: Collection[MessageId], *, reader: UserKey | None
    ) -> Mapping[MessageId, tuple[ReactionCount, ...]]:
        """See the port."""
        found = {id_: self._counts(id_, reader) for id_ in messages}
        return {id_: counts for id_, counts in found.items() if counts}

    def _counts(self, message: MessageId, reader: UserKey | None) -> tuple[ReactionCount, ...]:
        users: dict[str, set[UserKey]] = {}
        for (emoji, user), standing in self._reactions.get(message, {}).items():
            if standing.added:
                users.setdefault(emoji, set()).add(user)
        ordered = sorted(users.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        return tuple(ReactionCount(emoji, len(theirs), reader in theirs) for emoji, theirs in ordered)

    async def reacted(self, message: MessageId, emoji: str, *, after: int, limit: int) -> Sequence[Person]:
        """See the port."""
        reactions = self._reactions.get(message, {}).items()
        users = sorted(user for (what, user), now in reactions if what == emoji and now.added)
        return [Person(user, self._name(user), "") for user in users if user > after][:limit]

    async def reaction(self, message: MessageId, user: UserKey, emoji: str) -> Standing:
        """See the port."""
        return self._reactions.get(message, {}).get((emoji, user), Standing())

    async def pins(self, conversation: ConversationId, *, limit: int) -> Sequence[PinnedMessage]:
        """See the port."""
        pinned = [
            PinnedMessage(id_, pin.standing.seq, self._name(pin.by) if pin.by else None, pin.at)
            for id_, pin in self._pins.get(conversation, {}).items()
            if pin.standing.added
        ]
        return sorted(pinned, key=lambda pin: -pin.seq)[:limit]

    async def pin(self, conversation: ConversationId, message: MessageId) -> Standing:
        """See the port."""
        found = self._pins.get(conversation, {}).get(message)
        return found.standing if found else Standing()

    async def hidden(
        self, user: UserKey, conversation: ConversationId, *, low: int, high: int
    ) -> frozenset[int]:
        """See the port."""
        return frozenset(seq for seq in self._hidden.get((user, conversation), ()) if low <= seq <= high)

    async def readers(
        self,
        conversation: ConversationId,
        seq: int,
        *,
        read: bool,
        besides: UserKey,
        after: tuple[int, int],
        limit: int,
    ) -> Readers:
        """See the port."""
        found = self._who(conversation, seq, read=read, besides=besides)
        rest = [person for person in found if (person.place, person.user) > after]
        page = rest[:limit]
        return Readers(page, (page[-1].place, page[-1].user) if len(rest) > limit else None)

    async def reader_counts(
        self, conversation: ConversationId, seq: int, *, besides: UserKey
    ) -> ReaderCounts:
        """See the port."""
        read, unread = (
            len(self._who(conversation, seq, read=read, besides=besides)) for read in (True, False)
        )
        return ReaderCounts(min(read, COUNTED), min(unread, COUNTED), read <= COUNTED, unread <= COUNTED)

    def _who(self, conversation: ConversationId, seq: int, *, read: bool, besides: UserKey) -> list[Person]:
        known = self._conversations.get(conversation)
        found = [
            Person(user, self._name(user), "", own.read_seq)
            for user, own in (known.members.items() if known else ())
            if user != besides and own.joined_seq < seq and (own.read_seq >= seq) is read
        ]
        return sorted(found, key=lambda person: (person.place, person.user))
