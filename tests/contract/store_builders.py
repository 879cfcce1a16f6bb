"""Short ways to say what a batch holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from hub.core.conversation import Conversation, ConversationKind, Fanout, direct_id, inbox_id
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.message import (
    SYSTEM,
    ConversationId,
    Draft,
    Entry,
    IdempotencyClaim,
    Message,
    MessageId,
    NotificationDraft,
    NotificationId,
    Published,
    ToConversation,
    UserKey,
)
from hub.core.policy import PUSH_ONLY, Policy
from hub.core.ports import Batch
from tests.contract.store_world import APP, NOW

_counter = itertools.count(1)
Item = tuple[Draft, Published]


def new_id(prefix: str) -> str:
    """Ids that sort by time of making."""
    return f"{prefix}_{next(_counter):032d}"


def item(
    conversation: ConversationId,
    seq: int,
    entries: Mapping[UserKey, int],
    *,
    sender: UserKey = SYSTEM,
    body: str = '"hi"',
    at: datetime = NOW,
    client: str | None = None,
    mentions: tuple[str, ...] = (),
    expires_at: datetime | None = None,
    notification: NotificationDraft | None = None,
    claim: IdempotencyClaim | None = None,
    inbox: bool = False,
    grew: bool = False,
) -> Item:
    """One message with its number, and who gets it under which number."""
    sender_id = None if sender == SYSTEM else f"u{sender}"
    id_ = MessageId(new_id("msg"))
    draft = Draft(
        id=id_,
        app=APP,
        sender=sender,
        sender_id=sender_id,
        to=ToConversation(conversation),
        kind="text",
        body=body,
        created_at=at,
        client_msg_id=client,
        mentions=mentions,
        expires_at=expires_at,
        notification=notification,
        idempotency=claim,
    )
    message = Message(
        id=id_,
        app=APP,
        conversation=conversation,
        seq=seq,
        sender=sender,
        sender_id=sender_id,
        kind="text",
        body=body,
        created_at=at,
        client_msg_id=client,
        mentions=mentions,
        expires_at=expires_at,
        notification=notification.id if notification else None,
    )
    references = tuple(
        Entry(user, user_seq, id_, seq if inbox else None) for user, user_seq in entries.items()
    )
    return draft, Published(message, references, grew=grew)


def batch(
    *items: Item,
    made: Sequence[Conversation] = (),
    versions: Mapping[ConversationId, int] | None = None,
    deliveries: Sequence[Delivery] = (),
    done: Sequence[str] = (),
    at: datetime = NOW,
) -> Batch:
    """A batch of these, built from conversations at version 1 unless told otherwise."""
    names = {published.message.conversation for _, published in items} - {c.id for c in made}
    return Batch(
        id=new_id("bat"),
        at=at,
        published=tuple(published for _, published in items),
        drafts=tuple(draft for draft, _ in items),
        deliveries=tuple(deliveries),
        conversations=tuple(made),
        versions=dict.fromkeys(names, 1) if versions is None else versions,
        published_batches=tuple(done),
    )


def direct(one: UserKey, other: UserKey) -> Conversation:
    """The direct conversation of two, not made yet."""
    members = tuple(sorted({one, other}))
    return Conversation(direct_id(APP, one, other), APP, ConversationKind.DIRECT, Fanout.WRITE, 0, members)


def inbox() -> Conversation:
    """The inbox, not made yet."""
    return Conversation(inbox_id(APP), APP, ConversationKind.INBOX, Fanout.WRITE, 0)


def delivery(published: Published, user: UserKey, *, hop: int = 0, channel: str = "wechat_mp") -> Delivery:
    """A queued delivery of a message to one of its recipients."""
    message = published.message
    numbers = {entry.user: entry.user_seq for entry in published.entries}
    return Delivery(
        id=DeliveryId(new_id("dlv")),
        app=APP,
        message=message.id,
        notification=message.notification,
        conversation=message.conversation,
        seq=message.seq,
        user=user,
        user_seq=numbers[user],
        hop=hop,
        channel=channel,
        state=DeliveryState.QUEUED,
        created_at=NOW,
        due_at=NOW,
    )


def saved(change: Delivery) -> Delivery:
    """A change as the row that it becomes."""
    return replace(change, version=change.version + 1)


def notification(policy: Policy = PUSH_ONLY, *, dedupe: str | None = None) -> NotificationDraft:
    """A notification's own part."""
    id_ = NotificationId(new_id("ntf"))
    return NotificationDraft(id_, "approval.assigned", policy, dedupe_key=dedupe, metadata='{"oa":"申请"}')
