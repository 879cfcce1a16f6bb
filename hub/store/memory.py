"""The store in this process's memory: the same promises as the SQL store, except that nothing outlives it.

For tests, examples and one-process use. What happens in one call happens at once: there is no await inside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.core.errors import SequenceTaken, StaleConversation
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    Accepted,
    AppId,
    Draft,
    Message,
    MessageId,
    Published,
    SeqKey,
    UserKey,
)
from hub.core.ports import Batch, Clock, NotificationRow, Prior
from hub.store.clock import utc_now
from hub.store.memory_chat import MemoryChat

_MADE_VERSION = 1


@dataclass(slots=True)
class _Committed:
    at: datetime
    published: tuple[Published, ...]
    marked: bool = False


@dataclass(frozen=True, slots=True)
class _Claim:
    fingerprint: str
    message: MessageId
    at: datetime


class MemoryStore(MemoryChat):
    """`MessageStore`, `ChatStore`, `DeliveryStore` and `Housekeeping`."""

    def __init__(self, *, clock: Clock = utc_now, idempotency_ttl: timedelta = timedelta(hours=24)) -> None:
        super().__init__(clock=clock)
        self._ttl = idempotency_ttl
        self._clients: dict[tuple[AppId, UserKey, str], MessageId] = {}
        self._dedupes: dict[tuple[AppId, str], MessageId] = {}
        self._claims: dict[str, _Claim] = {}
        self._batches: dict[str, _Committed] = {}

    # MessageStore.

    async def prior(self, drafts: Sequence[Draft]) -> Mapping[MessageId, Prior]:
        """See the port."""
        found = {draft.id: self._prior(draft) for draft in drafts}
        return {id_: prior for id_, prior in found.items() if prior is not None}

    def _prior(self, draft: Draft) -> Prior | None:
        claim = self._claims.get(draft.idempotency.key) if draft.idempotency else None
        if claim is not None and claim.at >= draft.created_at - self._ttl and claim.message in self._messages:
            return Prior(self._accepted(claim.message), claim.fingerprint)
        id_: MessageId | None = None
        if draft.client_msg_id is not None:
            id_ = self._clients.get((draft.app, draft.sender, draft.client_msg_id))
        dedupe = draft.notification.dedupe_key if draft.notification else None
        if id_ is None and dedupe is not None:
            id_ = self._dedupes.get((draft.app, dedupe))
        return None if id_ is None else Prior(self._accepted(id_))

    def _accepted(self, id_: MessageId) -> Accepted:
        message = self._messages[id_]
        return Accepted(
            id_, message.conversation, message.seq, message.created_at, message.notification, duplicate=True
        )

    async def commit(self, batch: Batch) -> None:
        """See the port."""
        expected = {c.id: _MADE_VERSION for c in batch.conversations}
        expected |= {id_: version or _MADE_VERSION for id_, version in batch.versions.items()}
        made = {c.id for c in batch.conversations if c.id not in self._conversations}
        actual = {id_: known.version for id_, known in self._conversations.items()}
        moved = [i for i, v in expected.items() if i not in made and actual.get(i) != v]
        if moved:
            raise StaleConversation(moved)
        if self._takes_a_key_twice(batch):
            raise SequenceTaken
        for conversation in batch.conversations:
            if conversation.id in made:
                self.put_conversation(replace(conversation, version=_MADE_VERSION))
        for draft, item in zip(batch.drafts, batch.published, strict=True):
            self._put(draft, item, batch.at)
        for draft, item in zip(batch.drafts, batch.published, strict=True):
            self._apply(draft, item.message)
        self._put_deliveries(batch.deliveries)
        self._batches[batch.id] = _Committed(batch.at, batch.published)
        await self.mark_published(batch.published_batches)

    def _takes_a_key_twice(self, batch: Batch) -> bool:
        keys: list[object] = [batch.id]
        taken = batch.id in self._batches or self._delivery_taken(batch.deliveries)
        for draft, item in zip(batch.drafts, batch.published, strict=True):
            message = item.message
            known = self._conversations.get(message.conversation)
            keys += [message.id, (message.conversation, message.seq)]
            keys += [(e.user, e.user_seq) for e in item.entries]
            taken |= message.id in self._messages
            taken |= known is not None and message.seq in known.messages
            taken |= any(e.user_seq in self._queue(e.user).entries for e in item.entries)
            if message.client_msg_id is not None:
                client = (message.app, message.sender, message.client_msg_id)
                keys.append(client)
                taken |= client in self._clients
            if draft.notification is not None and draft.notification.dedupe_key is not None:
                dedupe = (draft.app, draft.notification.dedupe_key)
                keys.append(("dedupe", dedupe))
                taken |= dedupe in self._dedupes
            if draft.idempotency is not None:
                keys.append(("claim", draft.idempotency.key))
                taken |= self._claim_stands(draft)
        return taken or len(set(keys)) < len(keys)

    def _claim_stands(self, draft: Draft) -> bool:
        claim = self._claims.get(draft.idempotency.key) if draft.idempotency else None
        return (
            claim is not None and claim.message in self._messages and claim.at >= draft.created_at - self._ttl
        )

    def _put(self, draft: Draft, item: Published, at: datetime) -> None:
        message = item.message
        self._put_message(message)
        for entry in item.entries:
            self._put_entry(entry)
        if message.client_msg_id is not None:
            self._clients[message.app, message.sender, message.client_msg_id] = message.id
        if draft.idempotency is not None:
            self._claims[draft.idempotency.key] = _Claim(draft.idempotency.fingerprint, message.id, at)
        notification = draft.notification
        if notification is not None:
            if notification.dedupe_key is not None:
                self._dedupes[draft.app, notification.dedupe_key] = message.id
            people = tuple(entry.user for entry in item.entries)
            self._notifications[notification.id] = NotificationRow(
                notification.id, draft.app, message.id, notification, people, message.created_at
            )

    async def mark_published(self, batches: Collection[str]) -> None:
        """See the port."""
        for id_ in batches:
            if id_ in self._batches:
                self._batches[id_].marked = True

    async def unpublished(self, *, before: datetime, limit: int) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port."""
        return self._remembered(
            [i for i, b in self._batches.items() if not b.marked and b.at < before], limit
        )

    async def committed_since(
        self, since: datetime, *, limit: int, skip: int = 0
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port."""
        return self._remembered([i for i, b in self._batches.items() if b.at >= since], limit, skip)

    def _remembered(
        self, ids: Sequence[str], limit: int, skip: int = 0
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        oldest = sorted(ids, key=lambda id_: (self._batches[id_].at, id_))[skip : skip + limit]
        return [
            (
                id_,
                [
                    replace(p, message=self._messages[p.message.id])
                    for p in self._batches[id_].published
                    if p.message.id in self._messages
                ],
            )
            for id_ in oldest
        ]

    # Housekeeping.

    async def forget_batches(self, before: datetime) -> int:
        """See the port."""
        old = [id_ for id_, batch in self._batches.items() if batch.marked and batch.at < before]
        for id_ in old:
            del self._batches[id_]
        return len(old)

    async def forget_idempotency(self, before: datetime) -> int:
        """See the port."""
        old = [key for key, claim in self._claims.items() if claim.at < before]
        for key in old:
            del self._claims[key]
        return len(old)

    async def expire_messages(self, before: datetime, *, app: AppId) -> int:
        """See the port."""
        old = [m for m in self._messages.values() if m.app == app and m.created_at < before]
        removed = sum(self._expire(message) for message in old)
        for user, queue in self._queues.items():
            while len(queue.numbers) > 1 and queue.entries[queue.numbers[0]].message not in self._messages:
                number = queue.numbers.pop(0)
                del queue.entries[number]
                self._removed[SeqKey.of_user(user)] = number
        return removed

    def _expire(self, message: Message) -> bool:
        known = self._conversations[message.conversation]
        self._drop_message_deliveries(message.id)
        self._clients = {key: id_ for key, id_ in self._clients.items() if id_ != message.id}
        self._dedupes = {key: id_ for key, id_ in self._dedupes.items() if id_ != message.id}
        if message.seq == known.numbers[-1]:
            self._messages[message.id] = Message(
                message.id, message.app, message.conversation, message.seq, SYSTEM, None, TOMBSTONE, "null",
                message.created_at, expires_at=message.expires_at,
            )  # fmt: skip
            return message.kind != TOMBSTONE
        key = SeqKey.of_conversation(message.conversation)
        self._removed[key] = max(message.seq, self._removed.get(key, 0))
        del self._messages[message.id]
        del known.messages[message.seq]
        known.numbers.remove(message.seq)
        return True
