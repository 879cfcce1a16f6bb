"""What the engine asks of the world. Each port is small and says its guarantees at the method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from hub.core.conversation import Conversation, Membership
from hub.core.delivery import Attempt, Delivery, DeliveryId
from hub.core.identity import Device, EndUser, Platform, Recipient, SocketPolicy
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    Entry,
    Message,
    MessageId,
    NotificationDraft,
    NotificationId,
    Published,
    QueueSpan,
    SeqKey,
    UserKey,
)

Clock = Callable[[], datetime]
"""Aware UTC."""
NewId = Callable[[str], str]
"""Makes a new id with the given prefix, such as `msg`; ids sort by time of making."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transaction commits together."""

    id: str
    at: datetime
    published: tuple[Published, ...]
    drafts: tuple[Draft, ...]
    """In the same order as `published`: where client ids, notifications and idempotency claims come from."""
    deliveries: tuple[Delivery, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    """Those to be made if they do not exist yet (version 0)."""
    versions: Mapping[ConversationId, int] = field(default_factory=dict)
    """The membership versions that the batch was built from; any other is a StaleConversation."""
    published_batches: tuple[str, ...] = ()
    """Earlier batches whose publishing is now known to be done."""


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier acceptance of the same draft. `fingerprint` is set where an Idempotency-Key found it."""

    accepted: Accepted
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A notification as stored; `recipients` in the order in which they were named."""

    id: NotificationId
    app: AppId
    message: MessageId
    draft: NotificationDraft
    recipients: tuple[UserKey, ...]
    created_at: datetime


class MessageStore(Protocol):
    """SQL: the truth. Every method is one transaction and may raise `errors.Unavailable`."""

    async def prior(self, drafts: Sequence[Draft]) -> Mapping[MessageId, Prior]:
        """Which drafts were accepted before, by their own new id: same (app, sender, client_msg_id), same
        dedupe_key or same Idempotency-Key."""
        ...

    async def conversations(self, ids: Collection[ConversationId]) -> Mapping[ConversationId, Conversation]:
        """Snapshots of those that exist. Members come in full for WRITE fan-out only."""
        ...

    async def membership(self, conversation: ConversationId, user: UserKey) -> Membership | None:
        """How this user belongs to a conversation, or None where not a member."""
        ...

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """The highest committed number of each sequence, 0 for none."""
        ...

    async def commit(self, batch: Batch) -> None:
        """All or nothing. Raises SequenceTaken when a key of the batch exists already (a number handed out
        twice, or a draft that a rival accepted meanwhile) and StaleConversation when a version moved."""
        ...

    async def mark_published(self, batches: Collection[str]) -> None:
        """Note that these batches have been published."""
        ...

    async def unpublished(self, *, before: datetime, limit: int) -> Sequence[tuple[str, Sequence[Published]]]:
        """Batches committed before a time and not marked published, oldest first."""
        ...

    async def committed_since(
        self, since: datetime, *, limit: int, skip: int = 0
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        """Batches committed since a time that are still remembered, published or not, oldest first: `limit` of them
        after the first `skip`. New ones come at the end, so pages do not shift."""
        ...

    async def entries(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry]:
        """References in a user's queue past `after`, ascending; there may be gaps."""
        ...

    async def entries_of(self, wants: Sequence[QueueSpan]) -> Mapping[QueueSpan, Sequence[Entry]]:
        """The same for many, in few round trips. Every span has an answer."""
        ...

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """Bodies by id; those gone are missing."""
        ...

    async def history(
        self, conversation: ConversationId, *, after: int | None, before: int | None, limit: int
    ) -> Sequence[Message]:
        """Messages of a conversation, tombstones included, ascending: the first `limit` past `after`, or the
        last `limit` before `before` (or of all)."""
        ...

    async def inbox_history(
        self,
        user: UserKey,
        conversation: ConversationId,
        *,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Message]:
        """The same for the inbox: only what this user was sent."""
        ...

    async def floor(self, key: SeqKey) -> int:
        """The highest number of a sequence that retention has removed, 0 for none: what is missing up to it is no
        gap."""
        ...

    async def close_gaps(
        self, gaps: Sequence[tuple[SeqKey, int, int]], *, new_id: NewId, now: datetime
    ) -> None:
        """Put tombstones under the numbers first..last of each sequence that are still unused. Idempotent. Of a wide
        gap the lowest 1,000: the next call goes on."""
        ...

    async def move_cursors(self, cursors: Mapping[DeviceKey, int]) -> None:
        """Device cursors; they only move forward."""
        ...

    async def acknowledged(self, users: Collection[UserKey]) -> Mapping[UserKey, int]:
        """The highest number that any device of each user has acknowledged; who has none is left out."""
        ...

    async def move_read(
        self, user: UserKey, conversation: ConversationId, seq: int
    ) -> tuple[int, int, Collection[UserKey]] | None:
        """Move a read cursor forward, never past the conversation's last message. Returns (old, new, senders of
        what was newly read, other than the reader), or None where nothing moved."""
        ...


class DeliveryStore(Protocol):
    """Delivery rows: compare-and-set on `version`; claims under a lease."""

    async def deliveries(self, ids: Collection[DeliveryId]) -> Sequence[Delivery]:
        """Rows by id, in no order."""
        ...

    async def due(self, *, now: datetime, channels: Collection[str] | None, limit: int) -> Sequence[Delivery]:
        """Rows whose `due_at` has passed, most overdue first; of these channels, or of all."""
        ...

    async def open_of_users(self, users: Collection[UserKey]) -> Sequence[Delivery]:
        """Rows of these users that something may still happen to: not final, or with a timer running."""
        ...

    async def save(
        self, changes: Sequence[Delivery], *, new: Sequence[Delivery] = (), attempts: Sequence[Attempt] = ()
    ) -> frozenset[DeliveryId]:
        """Write each change if the row still has the change's `version` (and raise it by one), and write the
        attempts of the changes that were written. A new row is inserted if it does not exist yet and the change that
        it follows from (`delivery.followers`) was written in this call: a hop follows only from a step that was not
        overtaken.
        Returns the ids written; whoever is missing was overtaken."""
        ...

    async def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Note how attempts ended whose deliveries had come further meanwhile: by a receipt, say, that was quicker."""
        ...

    async def by_provider_id(self, channel: str, provider_id: str) -> Delivery | None:
        """The delivery that a receipt speaks of."""
        ...

    async def notifications(
        self, ids: Collection[NotificationId]
    ) -> Mapping[NotificationId, NotificationRow]:
        """Notifications with their pinned policies."""
        ...

    async def recipients(self, users: Collection[UserKey]) -> Mapping[UserKey, Recipient]:
        """Whom deliveries are for; those who are gone are missing."""
        ...


class Sequencer(Protocol):
    """Hands out numbers, fast and without promise: the store's keys decide. Raises QueueUnavailable."""

    async def draw(self, wants: Mapping[SeqKey, int]) -> Mapping[SeqKey, int]:
        """The first of `n` new consecutive numbers for each key: all keys or, if any of them is not known, none (an
        empty answer; the caller raises them and asks again). Known is what was raised since the counters could last
        have gone back. Atomic over all keys: two draws that share keys agree in their order on every one of them, so
        that a user's order and a conversation's order never contradict."""
        ...

    def witness(self) -> str:
        """To be asked before the store is, for `raise_to`: who keeps the counters now."""
        ...

    async def raise_to(self, heads: Mapping[SeqKey, int], *, witness: str = "") -> None:
        """Make each counter at least this; counters never move back here. Does nothing where the witness, if given,
        does not keep the counters any more: the store was asked too early."""
        ...

    async def give_back(self, ranges: Mapping[SeqKey, tuple[int, int]]) -> None:
        """Undo draws (first, last) that were not committed, where nothing was drawn since. Best effort."""
        ...


class Tail(Protocol):
    """The newest references of each queue, in memory. A partial copy: what it answers is true, or None.

    Raises QueueUnavailable.
    """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add committed entries; twice is harmless, order does not matter. One round trip."""
        ...

    async def read(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry] | None:
        """Entries past `after`, contiguous from after + 1; None where the tail cannot be sure."""
        ...

    async def heads(self, users: Sequence[UserKey]) -> Sequence[int | None]:
        """The newest number of each queue; None where the tail cannot be sure. One round trip."""
        ...

    async def rebuild(self, user: UserKey, entries: Sequence[Entry], *, head: int) -> None:
        """Merge what the store says (its newest entries; the contiguous end of them counts) and trust the tail again
        up to `head`, unless something was forgotten since it was last asked."""
        ...


class Broker(Protocol):
    """Carries what is new to every live session on any node. At most once: the queue makes it certain."""

    async def publish(self, batch: Sequence[Published]) -> None:
        """Push to live sessions. Twice is harmless."""
        ...

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        """A frame that is not stored (read, typing…) for all sessions of these users."""
        ...


class Executor(Protocol):
    """Runs deliveries of the WORKER lane elsewhere and later. May lose a request: the sweep finds it."""

    async def schedule(
        self,
        channel: str,
        deliveries: Sequence[DeliveryId],
        *,
        delay: timedelta,
        priority: str = "normal",
    ) -> None:
        """Ask for these to be delivered after a delay; what is `critical` or `high` before what is `normal` or
        `low`."""
        ...


class People(Protocol):
    """What a gateway must know of users and devices. Raises errors.Refused for bad tokens, errors.Unavailable."""

    async def authenticate(self, token: str) -> EndUser:
        """The user of a token. Refused codes: token_invalid, token_expired, token_revoked."""
        ...

    async def device(self, user: EndUser, device_id: str, platform: Platform, name: str) -> Device:
        """The device, made if it is new; name and last use are noted."""
        ...

    async def socket_policy(self, app: AppId) -> SocketPolicy:
        """The app's socket rules."""
        ...

    async def user_key(self, app: AppId, user_id: str) -> UserKey | None:
        """The hub's number of a user, or None."""
        ...

    async def user_ids(self, users: Collection[UserKey]) -> Mapping[UserKey, str]:
        """The product's ids of users."""
        ...

    async def acquainted(self, user: UserKey, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Those of `user_ids` that share a direct or group conversation with `user`: whose presence and typing
        may be told."""
        ...

    async def members(self, conversation: ConversationId, user: UserKey) -> Sequence[UserKey]:
        """Whom to tell what `user`, who is a member (else errors.NotFound), does at the moment: the members, at most
        the fan-out limit. Of a read-diffused conversation, and of a direct one with somebody blocked: only `user`."""
        ...

    async def read_diffused(self, user: UserKey) -> Mapping[ConversationId, int]:
        """The conversations of this user of which something may not be in the queue: read-diffused ones, and those that
        were so up to a number that the user has not read past. With it the newest number that has to be pulled and
        is not read, 0 for none."""
        ...

    async def seen(self, users: Mapping[UserKey, datetime]) -> None:
        """When users were last online; only moves forward."""
        ...


@dataclass(frozen=True, slots=True)
class Parked:
    """A receipt (encoded) that came before its provider id was saved, and the delivery that it is of."""

    channel: str
    provider_id: str
    receipt: str
    delivery: DeliveryId


CLOCKS_APART = timedelta(seconds=30)
"""How far the clocks of two machines may differ: who sent and who heard of it need not be one."""


class Housekeeping(Protocol):
    """What keeps the store small, and receipts that came too early. All may be stopped and repeated at any time."""

    async def park_receipt(
        self, channel: str, provider_id: str, outcome: str, now: datetime, *, about: str = ""
    ) -> None:
        """Keep a receipt (encoded) for a provider id that is not saved yet; a later one replaces it. `about` (at most
        64 characters) is what the channel can know a lost send by."""
        ...

    async def parked(self, channel: str, provider_ids: Collection[str]) -> Sequence[Parked]:
        """The receipts parked for these provider ids of a channel whose deliveries are saved."""
        ...

    async def overtaken(self, *, since: datetime, limit: int) -> Sequence[Parked]:
        """Receipts parked since a time whose deliveries have been saved meanwhile: left by somebody who died before
        settling them."""
        ...

    async def unpark(self, receipts: Collection[Parked]) -> None:
        """Remove receipts that have been settled. Whoever dies before this settles them again, which is harmless."""
        ...

    async def claim_stray(self, delivery: Delivery, about: str) -> str | None:
        """The provider id of a receipt about this that can only be of a lost try of this delivery: parked since its
        first doubtful try (or as much earlier as clocks may differ) and before any try that still runs for the same
        user, and saved by no delivery. It is given to one delivery only, and to that one again."""
        ...

    async def forget_parked(self, before: datetime) -> int:
        """Remove receipts parked before a time that nobody took. Returns how many."""
        ...

    async def forget_batches(self, before: datetime) -> int:
        """Forget batches committed before a time, published ones only. Returns how many."""
        ...

    async def forget_idempotency(self, before: datetime) -> int:
        """Forget Idempotency-Keys used before a time. Returns how many."""
        ...

    async def expire_messages(self, before: datetime, *, app: AppId) -> int:
        """Remove messages of an app that are older than a time, with the notifications, deliveries and references that
        belong to them. Returns how many. The highest number of each sequence stays in use, so that none begins
        again: its message becomes a tombstone, its reference stays."""
        ...
