"""The verbs of what people do with messages. Each change is a control message: its commit does what it says, and every
device, live or not, learns of it in order."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hub.core import bodies
from hub.core.chat_forward import Forwarding
from hub.core.chat_ports import ChatStore, Person, PinnedMessage, ReaderCounts, Readers
from hub.core.chat_rules import (
    MAX_EMOJI,
    MAX_HIDDEN,
    MAX_PINS,
    ChatLimits,
    Doer,
    Seen,
    changeable_fault,
    derived_id,
    edit_fault,
    emoji_fault,
    message_missing,
    pin_fault,
    recall_fault,
)
from hub.core.chat_seeing import Seeing
from hub.core.conversation import ConversationKind
from hub.core.errors import Forbidden, Refused
from hub.core.message import (
    RECALLED,
    Accepted,
    Change,
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
    Target,
    ToConversation,
    ToInbox,
)
from hub.core.ports import Clock, MessageStore, NewId
from hub.core.turns import Turns

Submit = Callable[[Draft], Awaitable[Accepted]]


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message with the emojis at it."""

    message: Message
    reactions: tuple[ReactionCount, ...] = ()


class Chat:
    """Every verb raises NotFound for a message that the doer cannot see, Forbidden and Conflict for what they may not
    do to it, Unavailable. A change that is there already is answered as one (`duplicate`) and told to nobody."""

    def __init__(
        self,
        *,
        messages: MessageStore,
        chat: ChatStore,
        submit: Submit,
        limits: ChatLimits,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._messages = messages
        self._chat = chat
        self._submit = submit
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._turns = Turns()
        self._seeing = Seeing(messages=messages, chat=chat, clock=clock)
        self.prepare = self._seeing.prepare
        forwarding = Forwarding(self._seeing, submit=submit, clock=clock, new_id=new_id)
        self.forward = forwarding.forward

    async def send(self, draft: Draft) -> Accepted:
        """Submit a message that somebody wrote: what it answers and whom it mentions is made sure of."""
        return await self._submit(await self.prepare(draft))

    async def message(self, doer: Doer, id_: MessageId) -> MessageView:
        """One message."""
        seen = await self._seeing.one(doer, id_)
        reader = None if doer.business else doer.key
        found = {} if seen.message.kind == RECALLED else await self._chat.reactions([id_], reader=reader)
        return MessageView(seen.message, found.get(id_, ()))

    async def edit(
        self,
        doer: Doer,
        id_: MessageId,
        body: str,
        mentions: tuple[str, ...] = (),
        *,
        client_msg_id: str | None = None,
    ) -> Accepted:
        """Another body (encoded JSON) for a message of the doer's own. Nobody is mentioned anew by it."""
        seen = await self._seeing.one(doer, id_)
        message = seen.message
        _raise(edit_fault(seen, doer, self._limits, self._clock()))
        fault = bodies.body_fault(message.kind, json.loads(body))
        if fault is not None:
            raise Refused("body_invalid", f"{fault.pointer or '/'}: {fault.detail}")
        if client_msg_id is None and (message.body, message.mentions) == (body, mentions):
            return _already(message)
        about: Mapping[str, Any] = {"body": json.loads(body)}
        draft = self._control(seen, doer, bodies.EDIT, about, as_member=not doer.business)
        if mentions:
            named, keys = await self._seeing.mentioned(replace(draft, mentions=mentions))
            about = {**about, "mentions": list(named)}
            draft = replace(draft, mentions=(), body=_told(seen, about, doer))
        else:
            named, keys = (), ()
        change = Edited(id_, body, named, seq=message.seq, mentioned=keys)
        own = client_msg_id or (message.edited_at, body, named)
        return await self._change(draft, change, derived_id(bodies.EDIT, id_, own))

    async def recall(self, doer: Doer, id_: MessageId) -> Accepted:
        """Take a message back: nobody can read it any more, not even in what edited it."""
        seen = await self._seeing.one(doer, id_)
        sender = None
        if seen.message.sender != doer.key and seen.membership is not None:
            sender = await self._messages.membership(seen.conversation.id, seen.message.sender)
        _raise(recall_fault(seen, doer, sender, self._limits, self._clock()))
        draft = self._control(seen, doer, bodies.RECALL, {}, as_member=False)
        return await self._change(draft, Recalled(id_, seen.message.seq), derived_id(bodies.RECALL, id_))

    async def react(self, doer: Doer, id_: MessageId, emoji: str, *, added: bool) -> Accepted:
        """Put an emoji to a message, or take it back."""
        _raise(emoji_fault(emoji))
        if doer.business:
            raise Refused("user_required", "Reactions are people's: say whose.")
        seen = await self._seeing.one(doer, id_)
        _raise(changeable_fault(seen.message) if seen.message.kind == RECALLED else None)
        standing = await self._chat.reaction(id_, doer.key, emoji)
        if standing.added is added:
            return _already(seen.message, standing.seq)
        if seen.conversation.kind is ConversationKind.INBOX:
            raise Forbidden("inbox_not_writable", "A notification is yours alone: nobody would see it.")
        draft = self._control(seen, doer, bodies.REACTION, {"emoji": emoji, "added": added}, as_member=True)
        own = derived_id(bodies.REACTION, id_, doer.key, emoji, added, standing.seq)
        change = Reacted(id_, doer.key, emoji, added)
        if not added or emoji in await self._emojis(id_):
            return await self._change(draft, change, own)
        # A new emoji waits for the others of its message, which the bound has to count.
        async with self._turns.of(id_):
            known = await self._emojis(id_)
            if emoji not in known and len(known) >= MAX_EMOJI:
                raise Refused("reaction_limit", f"At most {MAX_EMOJI} different emojis at one message.")
            return await self._change(draft, change, own)

    async def _emojis(self, id_: MessageId) -> set[str]:
        return {one.emoji for one in (await self._chat.reactions([id_], reader=None)).get(id_, ())}

    async def pin(self, doer: Doer, id_: MessageId, *, added: bool) -> Accepted:
        """Pin a message in its conversation for everybody, or unpin it."""
        seen = await self._seeing.one(doer, id_)
        _raise(pin_fault(seen, doer))
        if added:
            _raise(changeable_fault(seen.message) if seen.message.kind == RECALLED else None)
        standing = await self._chat.pin(seen.conversation.id, id_)
        if standing.added is added:
            return _already(seen.message, standing.seq)
        direct = seen.conversation.kind is ConversationKind.DIRECT
        draft = self._control(
            seen, doer, bodies.PIN, {"added": added}, as_member=direct and not doer.business
        )
        own = derived_id(bodies.PIN, id_, added, standing.seq)
        async with self._turns.of(seen.conversation.id):
            if added and len(await self._chat.pins(seen.conversation.id, limit=MAX_PINS)) >= MAX_PINS:
                raise Refused(
                    "pin_limit", f"At most {MAX_PINS} pinned messages in a conversation. Unpin one first."
                )
            return await self._change(draft, Pinned(id_, doer.key, added), own)

    async def hide(self, doer: Doer, ids: Sequence[MessageId]) -> Accepted:
        """Delete messages of one conversation for the doer alone, on all their devices."""
        if doer.business:
            raise Refused("user_required", "Messages are hidden for somebody: say for whom.")
        if not 1 <= len(set(ids)) <= MAX_HIDDEN:
            raise Refused("request_invalid", f"1 to {MAX_HIDDEN} messages.")
        seen = await self._seeing.many(doer, sorted(set(ids)))
        place = seen[0].conversation.id
        if any(one.conversation.id != place for one in seen):
            raise Refused("messages_apart", "These messages are not of one conversation.")
        names = [one.message.id for one in seen]
        seqs = tuple(one.message.seq for one in seen)
        draft = replace(
            self._control(seen[0], doer, bodies.HIDDEN, {}, as_member=False, to=ToInbox((doer.key,))),
            body=_json({"conversation": place, "messages": names, "seqs": list(seqs)}),
            reply_to=None,
        )
        done = await self._change(draft, Hidden(doer.key, place, seqs), derived_id(bodies.HIDDEN, *names))
        return replace(done, message=names[0], conversation=place)

    async def reacted(
        self, doer: Doer, id_: MessageId, emoji: str, *, after: int, limit: int
    ) -> Sequence[Person]:
        """Who put an emoji to a message."""
        seen = await self._seeing.one(doer, id_)
        if seen.message.kind == RECALLED:
            return []
        return await self._chat.reacted(id_, emoji, after=after, limit=limit)

    async def readers(
        self, doer: Doer, id_: MessageId, *, read: bool, after: tuple[int, int], limit: int
    ) -> Readers:
        """Who of the members has (or has not) read a message, its sender left out. A page may be short and have a
        next."""
        seen = await self._read_by_members(doer, id_)
        message = seen.message
        return await self._chat.readers(
            message.conversation, message.seq, read=read, besides=message.sender, after=after, limit=limit
        )

    async def reader_counts(self, doer: Doer, id_: MessageId) -> ReaderCounts:
        """How many those are."""
        message = (await self._read_by_members(doer, id_)).message
        return await self._chat.reader_counts(message.conversation, message.seq, besides=message.sender)

    async def _read_by_members(self, doer: Doer, id_: MessageId) -> Seen:
        seen = await self._seeing.one(doer, id_)
        if seen.conversation.kind is ConversationKind.INBOX:
            raise message_missing()
        return seen

    async def pins(self, doer: Doer, place: ConversationId) -> list[tuple[PinnedMessage, Message]]:
        """The pinned messages of a conversation that the doer sees, last pinned first."""
        floor, hides = await self._seeing.place(doer, place)
        pinned = await self._chat.pins(place, limit=MAX_PINS * 2)
        found = await self._messages.messages([pin.message for pin in pinned])
        shown = [(pin, found[pin.message]) for pin in pinned if pin.message in found]
        shown = [(pin, m) for pin, m in shown if m.seq > floor and m.kind != RECALLED]
        if hides and shown:
            seqs = [m.seq for _, m in shown]
            hidden = await self._chat.hidden(doer.key, place, low=min(seqs), high=max(seqs))
            shown = [(pin, m) for pin, m in shown if m.seq not in hidden]
        return shown

    def _control(
        self,
        seen: Seen,
        doer: Doer,
        kind: str,
        about: Mapping[str, Any],
        *,
        as_member: bool,
        to: Target | None = None,
    ) -> Draft:
        return Draft(
            id=MessageId(self._new_id("msg")),
            app=doer.app,
            sender=doer.key,
            sender_id=doer.id,
            to=to or ToConversation(seen.conversation.id),
            kind=kind,
            body=_told(seen, about, doer),
            created_at=self._clock(),
            as_member=as_member,
            control=True,
            reply_to=seen.message.id,
        )

    async def _change(self, draft: Draft, change: Change, client_msg_id: str) -> Accepted:
        done = await self._submit(replace(draft, change=change, client_msg_id=client_msg_id))
        return done if draft.reply_to is None else replace(done, message=draft.reply_to)


def _told(seen: Seen, about: Mapping[str, Any], doer: Doer) -> str:
    return _json({"message": seen.message.id, "seq": seen.message.seq, "by": doer.id, **about})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _already(message: Message, seq: int | None = None) -> Accepted:
    at = message.edited_at or message.created_at
    return Accepted(message.id, message.conversation, seq or message.seq, at, duplicate=True)


def _raise(fault: Refused | None) -> None:
    if fault is not None:
        raise fault
