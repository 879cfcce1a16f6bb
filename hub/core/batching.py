"""Pure: resolved drafts and drawn numbers -> the batch that one transaction commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hub.core.channel import Lane, Registry
from hub.core.conversation import Conversation, Fanout
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.message import Entry, Message, Published, SeqKey, ToInbox
from hub.core.outcome import Reason
from hub.core.policy import Hop
from hub.core.ports import Batch, NewId
from hub.core.roster import Resolved
from hub.core.routing import first_hops, passed_over


def wanted_numbers(resolved: Sequence[Resolved]) -> dict[SeqKey, int]:
    """How many numbers each sequence needs for these drafts."""
    wants: Counter[SeqKey] = Counter()
    for item in resolved:
        wants[SeqKey.of_conversation(item.conversation.id)] += 1
        wants.update(map(SeqKey.of_user, item.recipients))
    return dict(wants)


def build_batch(
    resolved: Sequence[Resolved],
    first: Mapping[SeqKey, int],
    *,
    now: datetime,
    new_id: NewId,
    channels: Registry,
    lease: timedelta,
    published_batches: tuple[str, ...] = (),
) -> Batch:
    """Number the drafts in their order and plan the first hops of those that are notifications."""
    following = dict(first)
    published: list[Published] = []
    deliveries: list[Delivery] = []
    for item in resolved:
        committed = _number(item, following)
        published.append(committed)
        deliveries.extend(_plan(item, committed, now=now, new_id=new_id, channels=channels, lease=lease))
    conversations: dict[str, Conversation] = {item.conversation.id: item.conversation for item in resolved}
    return Batch(
        id=new_id("bat"),
        at=now,
        published=tuple(published),
        drafts=tuple(item.draft for item in resolved),
        deliveries=tuple(deliveries),
        conversations=tuple(c for c in conversations.values() if c.version == 0),
        versions={c.id: c.version for c in conversations.values() if c.version > 0},
        published_batches=published_batches,
    )


def _take(following: dict[SeqKey, int], key: SeqKey) -> int:
    number = following[key]
    following[key] = number + 1
    return number


def _number(item: Resolved, following: dict[SeqKey, int]) -> Published:
    draft = item.draft
    seq = _take(following, SeqKey.of_conversation(item.conversation.id))
    message = Message(
        id=draft.id,
        app=draft.app,
        conversation=item.conversation.id,
        seq=seq,
        sender=draft.sender,
        sender_id=draft.sender_id,
        kind=draft.kind,
        body=draft.body,
        created_at=draft.created_at,
        client_msg_id=draft.client_msg_id,
        mentions=draft.mentions,
        expires_at=draft.expires_at,
        notification=draft.notification.id if draft.notification else None,
        control=draft.control,
        reply_to=draft.reply_to,
        forward_of=draft.forward_of,
    )
    inbox_seq = seq if isinstance(draft.to, ToInbox) and not draft.control else None
    entries = tuple(
        Entry(user, _take(following, SeqKey.of_user(user)), draft.id, inbox_seq) for user in item.recipients
    )
    return Published(message, entries, grew=item.conversation.fanout is Fanout.READ)


def _plan(
    item: Resolved,
    committed: Published,
    *,
    now: datetime,
    new_id: NewId,
    channels: Registry,
    lease: timedelta,
) -> list[Delivery]:
    """The rows of the first hops. An inline hop is born claimed by the accepting node, to save a round trip."""
    notification = item.draft.notification
    if notification is None or notification.policy.push_only:
        return []
    hops = first_hops(notification.policy, priority=notification.priority, category=notification.category)
    inline = channels.on_lane(Lane.INLINE)
    message = committed.message
    seeds = [
        Delivery(
            id=DeliveryId(""),
            app=message.app,
            message=message.id,
            notification=message.notification,
            conversation=message.conversation,
            seq=message.seq,
            user=entry.user,
            user_seq=entry.user_seq,
            hop=0,
            channel="",
            state=DeliveryState.PLANNED,
            created_at=now,
            expires_at=message.expires_at,
            priority=notification.priority,
            callback=notification.callback,
        )
        for entry in committed.entries
    ]
    policy = notification.policy
    passed = passed_over(policy, -1, priority=notification.priority, category=notification.category)
    made = [
        plan_hop(
            seed,
            hop=hop,
            channel=policy.hops[hop].channel,
            inline=runs_inline(policy.hops[hop], inline),
            now=now,
            new_id=new_id,
            lease=lease,
        )
        for seed in seeds
        for hop in hops
    ]
    made += [
        pass_hop(seed, hop=hop, channel=policy.hops[hop].channel, now=now, new_id=new_id)
        for seed in seeds
        for hop in passed
    ]
    return made


def runs_inline(hop: Hop, inline: Collection[str]) -> bool:
    """Whether a hop is born claimed: only where nothing about its person has to be looked up first."""
    return hop.channel in inline and not hop.only_locale


def pass_hop(origin: Delivery, *, hop: int, channel: str, now: datetime, new_id: NewId) -> Delivery:
    """A hop that is not for this notification: never tried, and part of its story."""
    fresh = plan_hop(
        origin, hop=hop, channel=channel, inline=False, now=now, new_id=new_id, lease=timedelta(0)
    )
    return replace(
        fresh, state=DeliveryState.SKIPPED, due_at=None, reason=Reason.NOT_APPLICABLE, escalated=True
    )


def plan_hop(
    origin: Delivery, *, hop: int, channel: str, inline: bool, now: datetime, new_id: NewId, lease: timedelta
) -> Delivery:
    """A fresh delivery of the same message to the same user: claimed if it runs here and now, else queued."""
    return replace(
        origin,
        id=DeliveryId(new_id("dlv")),
        hop=hop,
        channel=channel,
        state=DeliveryState.ATTEMPTING if inline else DeliveryState.QUEUED,
        created_at=now,
        version=0,
        attempts=1 if inline else 0,
        due_at=now + lease if inline else now,
        reason=None,
        provider_id=None,
        escalated=False,
        read=False,
        tried_at=now if inline else None,
        doubt_since=None,
        spent=0,
        replayed_at=None,
    )
