"""Which messages somebody can see, and what has to be looked up before a message that answers or mentions is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from hub.core.chat_ports import ChatStore
from hub.core.chat_rules import Doer, Seen, mention_all_fault, message_missing
from hub.core.conversation import Conversation, ConversationKind, Membership
from hub.core.errors import NotFound, Refused
from hub.core.message import (
    MENTION_ALL,
    SYSTEM,
    TOMBSTONE,
    ConversationId,
    Draft,
    Message,
    MessageId,
    ToInbox,
    ToUser,
    UserKey,
)
from hub.core.ports import Clock, MessageStore
from hub.core.roster import target_id


class Seeing:
    """Looks up messages for somebody. Whatever they may not see is missing, in the same words as what is not there."""

    def __init__(self, *, messages: MessageStore, chat: ChatStore, clock: Clock) -> None:
        self._messages = messages
        self._chat = chat
        self._clock = clock

    async def one(self, doer: Doer, id_: MessageId) -> Seen:
        """A message. Raises NotFound."""
        found = await self.many(doer, [id_])
        return found[0]

    async def many(self, doer: Doer, ids: Sequence[MessageId]) -> list[Seen]:
        """These messages, in this order. Raises NotFound where one of them cannot be seen."""
        found = await self._messages.messages(ids)
        now = self._clock()
        if any(id_ not in found or not _there(found[id_], doer, now) for id_ in ids):
            raise message_missing()
        by_place: dict[ConversationId, list[Message]] = {}
        for id_ in dict.fromkeys(ids):
            by_place.setdefault(found[id_].conversation, []).append(found[id_])
        conversations = await self._messages.conversations(by_place)
        seen: dict[MessageId, Seen] = {}
        for place, messages in by_place.items():
            if place not in conversations:
                raise message_missing()
            conversation = conversations[place]
            membership = await self._standing(doer, conversation, messages)
            seen.update({m.id: Seen(m, conversation, membership) for m in messages})
        return [seen[id_] for id_ in ids]

    async def place(self, doer: Doer, id_: ConversationId) -> tuple[int, bool]:
        """Of a conversation, the seq above which the doer sees messages, and whether they have hidden any. Raises
        NotFound."""
        conversation = (await self._messages.conversations([id_])).get(id_)
        missing = NotFound("conversation_not_found", "There is no such conversation, or you are not in it.")
        if (
            conversation is None
            or conversation.app != doer.app
            or conversation.kind is ConversationKind.INBOX
        ):
            raise missing
        if doer.business:
            return 0, False
        membership = await self._messages.membership(id_, doer.key)
        if membership is None:
            raise missing
        return max(membership.joined_seq, membership.cleared_seq), membership.hides

    async def _standing(
        self, doer: Doer, conversation: Conversation, messages: Sequence[Message]
    ) -> Membership | None:
        if doer.business:
            return None
        membership = await self._messages.membership(conversation.id, doer.key)
        inbox = conversation.kind is ConversationKind.INBOX
        if membership is None and not inbox:
            raise message_missing()
        seqs = [message.seq for message in messages]
        floor = max(membership.joined_seq, membership.cleared_seq) if membership else 0
        if min(seqs) <= floor:
            raise message_missing()
        if inbox:
            await self._were_sent(doer, conversation.id, seqs)
        if inbox or (membership is not None and membership.hides):
            hidden = await self._chat.hidden(doer.key, conversation.id, low=min(seqs), high=max(seqs))
            if hidden & set(seqs):
                raise message_missing()
        return membership

    async def _were_sent(self, doer: Doer, inbox: ConversationId, seqs: Sequence[int]) -> None:
        for seq in seqs:
            mine = await self._messages.inbox_history(doer.key, inbox, after=seq - 1, before=seq + 1, limit=1)
            if not mine:
                raise message_missing()

    async def prepare(self, draft: Draft) -> Draft:
        """The draft with its mentions reduced to members, and its `reply_to` made sure of. Costs nothing for one that
        has neither. Raises Refused."""
        if not draft.mentions and draft.reply_to is None:
            return draft
        if isinstance(draft.to, ToInbox):
            return draft
        if draft.reply_to is not None:
            await self._check_reply(draft, draft.reply_to)
        if not draft.mentions:
            return draft
        mentions, mentioned = await self.mentioned(draft)
        return replace(draft, mentions=mentions, mentioned=mentioned)

    async def _check_reply(self, draft: Draft, id_: MessageId) -> None:
        fault = Refused("reply_invalid", "`reply_to` is no message of this conversation that you can see.")
        doer = Doer(draft.app, draft.sender if draft.as_member else SYSTEM, draft.sender_id)
        try:
            seen = await self.one(doer, id_)
        except Refused:
            raise fault from None
        if seen.message.conversation != target_id(draft):
            raise fault

    async def mentioned(self, draft: Draft) -> tuple[tuple[str, ...], tuple[UserKey, ...]]:
        """Whom the draft mentions: who is no member is left out, silently (they may just have left). Raises Forbidden
        for everybody at once where that is not allowed."""
        asked = tuple(dict.fromkeys(draft.mentions))
        named = await self._named(draft, [name for name in asked if name != MENTION_ALL])
        if MENTION_ALL in asked and not isinstance(draft.to, ToUser):
            everybody = await self._everybody(draft)
        else:
            everybody = False
        mentions = tuple(name for name in asked if name in named or (name == MENTION_ALL and everybody))
        keys = tuple(SYSTEM if name == MENTION_ALL else named[name] for name in mentions)
        return mentions, keys

    async def _named(self, draft: Draft, names: Collection[str]) -> Mapping[str, UserKey]:
        if not names:
            return {}
        if isinstance(draft.to, ToUser):
            both = {draft.sender, draft.to.user}
            found = await self._chat.named_users(draft.app, names)
            return {name: key for name, key in found.items() if key in both}
        return await self._chat.named_members(target_id(draft), names)

    async def _everybody(self, draft: Draft) -> bool:
        """Whether everybody is mentioned; between two that says nothing. Raises Forbidden."""
        place = target_id(draft)
        conversation = (await self._messages.conversations([place])).get(place)
        if conversation is None or conversation.kind is ConversationKind.DIRECT:
            return False
        membership = await self._messages.membership(place, draft.sender) if draft.as_member else None
        fault = mention_all_fault(
            conversation, membership.role if membership else None, business=not draft.as_member
        )
        if fault is not None:
            raise fault
        return True


def _there(message: Message, doer: Doer, now: datetime) -> bool:
    expired = message.expires_at is not None and message.expires_at <= now
    return message.app == doer.app and not message.control and message.kind != TOMBSTONE and not expired
