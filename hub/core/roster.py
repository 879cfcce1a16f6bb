"""Who a draft goes to: conversations resolved in bulk, with snapshots cached until their version moves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hub.core.conversation import (
    Conversation,
    ConversationKind,
    Fanout,
    Membership,
    direct_id,
    inbox_id,
)
from hub.core.errors import Forbidden, Refused
from hub.core.group_rules import not_there, speech_refusal
from hub.core.groups import GroupStore
from hub.core.message import AppId, ConversationId, Draft, ToConversation, ToInbox, ToUser, UserKey
from hub.core.ports import MessageStore

_CREATED_VERSION = 1
_MEMBERS = 2_000_000
"""Members in all snapshots together: some 40 bytes each."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A draft with the conversation it goes into and the users who get a reference."""

    draft: Draft
    conversation: Conversation
    recipients: tuple[UserKey, ...]


class Roster:
    """Resolves drafts. Snapshots may be stale: the commit checks their versions and says so."""

    def __init__(
        self,
        store: MessageStore,
        *,
        groups: GroupStore | None = None,
        capacity: int = 20_000,
        members: int = _MEMBERS,
    ) -> None:
        """`groups` lets whoever speaks in an open thread join it; without one, speaking needs a membership. At most
        `capacity` snapshots are kept, with at most `members` in all of them."""
        self._store = store
        self._groups = groups
        self._capacity = capacity
        self._members = members
        self._held = 0
        self._known: OrderedDict[ConversationId, Conversation] = OrderedDict()
        self._speakers: OrderedDict[tuple[ConversationId, int, UserKey], Membership | None] = OrderedDict()

    def forget(self, conversations: Collection[str]) -> None:
        """These have changed."""
        for conversation in conversations:
            self._let_go(ConversationId(conversation))

    def created(self, conversations: Collection[Conversation]) -> None:
        """These exist now, as committed by us or by a rival that was a moment earlier."""
        for conversation in conversations:
            self._remember(replace(conversation, version=_CREATED_VERSION))

    def recipients_hint(self, draft: Draft) -> Collection[UserKey]:
        """Who will probably get a reference: for sizing batches, before anything is looked up."""
        if isinstance(draft.to, ToInbox):
            return draft.to.users
        known = self._known.get(target_id(draft))
        if known is not None:
            return (*known.members, *draft.also) if draft.also else known.members
        return (draft.sender, draft.to.user) if isinstance(draft.to, ToUser) else ()

    async def resolve(self, drafts: Sequence[Draft]) -> list[Resolved | Refused]:
        """Each draft with its conversation and recipients, or why it cannot go; one query for all unknown."""
        wanted = {target_id(draft) for draft in drafts}
        # Held here: while somebody is waited for, others may forget what was looked up for these drafts.
        known = {conversation: self._known[conversation] for conversation in wanted & self._known.keys()}
        snapshots = {**known, **await self._load(wanted - known.keys())}
        answers = [await self._resolve(draft, snapshots) for draft in drafts]
        # A snapshot that is out of date may accept, since the commit checks it; it must not refuse.
        doubtful = {
            target_id(draft)
            for draft, answer in zip(drafts, answers, strict=True)
            if isinstance(answer, Refused) and target_id(draft) in known
        }
        answers = await self._again(drafts, answers, doubtful, snapshots)
        joined = await self._let_in(drafts, answers, snapshots)
        return await self._again(drafts, answers, joined, snapshots)

    async def _again(
        self,
        drafts: Sequence[Draft],
        answers: list[Resolved | Refused],
        doubtful: Collection[ConversationId],
        snapshots: dict[ConversationId, Conversation],
    ) -> list[Resolved | Refused]:
        """The answers, those about doubtful conversations from what the store says now: `snapshots` has it too."""
        if not doubtful:
            return answers
        self.forget(doubtful)
        snapshots.update(await self._load(doubtful))
        return [
            await self._resolve(draft, snapshots) if target_id(draft) in doubtful else answer
            for draft, answer in zip(drafts, answers, strict=True)
        ]

    async def _let_in(
        self,
        drafts: Sequence[Draft],
        answers: Sequence[Resolved | Refused],
        snapshots: Mapping[ConversationId, Conversation],
    ) -> Collection[ConversationId]:
        """Make members of those who speak in an open thread for the first time. Which threads that changed."""
        if self._groups is None:
            return ()
        joining: dict[ConversationId, tuple[AppId, set[UserKey]]] = {}
        for draft, answer in zip(drafts, answers, strict=True):
            if isinstance(answer, Refused) and self._may_join(draft, snapshots.get(target_id(draft))):
                joining.setdefault(target_id(draft), (draft.app, set()))[1].add(draft.sender)
        for conversation, (app, users) in joining.items():
            await self._groups.join_open(app, conversation, users)
        return joining

    def _may_join(self, draft: Draft, found: Conversation | None) -> bool:
        """Whether this draft was refused only because its sender is not in an open thread yet."""
        return (
            found is not None
            and found.kind is ConversationKind.THREAD
            and found.speech.open
            and not found.speech.dissolved
            and found.app == draft.app
            and draft.as_member
            and not draft.control
            and not self._is_in(draft, found)
        )

    def _is_in(self, draft: Draft, conversation: Conversation) -> bool:
        if conversation.fanout is Fanout.WRITE:
            return draft.sender in conversation.members
        return self._speakers.get((conversation.id, conversation.version, draft.sender)) is not None

    async def _load(self, conversations: Collection[ConversationId]) -> Mapping[ConversationId, Conversation]:
        """Those that exist, as they are now."""
        if not conversations:
            return {}
        found = await self._store.conversations(conversations)
        for snapshot in found.values():
            self._remember(snapshot)
        return found

    async def _resolve(
        self, draft: Draft, snapshots: Mapping[ConversationId, Conversation]
    ) -> Resolved | Refused:
        conversation = snapshots.get(target_id(draft)) or _new_conversation(draft)
        if conversation is None or conversation.app != draft.app:
            return not_there()
        if isinstance(draft.to, ToInbox):
            return Resolved(draft, conversation, tuple(dict.fromkeys(draft.to.users)))
        refusal = await self._may_speak(draft, conversation)
        if refusal is not None:
            return refusal
        members = conversation.members if conversation.fanout is Fanout.WRITE else ()
        return Resolved(draft, conversation, tuple(dict.fromkeys((*members, *draft.also))))

    async def _may_speak(self, draft: Draft, conversation: Conversation) -> Refused | None:
        if conversation.kind is ConversationKind.INBOX:
            return Forbidden("inbox_not_writable", "Only notifications go to the inbox.")
        membership = None
        if draft.as_member and conversation.fanout is Fanout.READ:
            membership = await self._speaker(conversation, draft.sender)
        return speech_refusal(draft, conversation, membership)

    async def _speaker(self, conversation: Conversation, sender: UserKey) -> Membership | None:
        """How the sender belongs to a conversation whose members are not listed: asked once a version."""
        key = (conversation.id, conversation.version, sender)
        if key not in self._speakers:
            membership = await self._store.membership(conversation.id, sender)
            self._speakers[key] = membership
            while len(self._speakers) > self._capacity:
                self._speakers.popitem(last=False)
            return membership
        return self._speakers[key]

    def _remember(self, conversation: Conversation) -> None:
        self._let_go(conversation.id)
        self._known[conversation.id] = conversation
        self._held += len(conversation.members)
        while len(self._known) > self._capacity or (self._held > self._members and len(self._known) > 1):
            self._let_go(next(iter(self._known)))

    def _let_go(self, conversation: ConversationId) -> None:
        gone = self._known.pop(conversation, None)
        if gone is not None:
            self._held -= len(gone.members)


def target_id(draft: Draft) -> ConversationId:
    """The conversation that a draft goes into, which may not exist yet."""
    match draft.to:
        case ToConversation(conversation):
            return conversation
        case ToUser(user):
            return direct_id(draft.app, draft.sender, user)
        case ToInbox():
            return inbox_id(draft.app)


def _new_conversation(draft: Draft) -> Conversation | None:
    """Version 0: made by the commit. A named conversation that does not exist stays unknown."""
    members: tuple[UserKey, ...] = ()
    kind = ConversationKind.INBOX
    match draft.to:
        case ToConversation():
            return None
        case ToUser(user):
            members = tuple(sorted({draft.sender, user}))
            kind = ConversationKind.DIRECT
        case ToInbox():
            pass
    return Conversation(target_id(draft), draft.app, kind, Fanout.WRITE, version=0, members=members)
