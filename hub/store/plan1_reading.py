"""Plan 1, reading: queues with their overflow, bodies, history, batches to publish again, earlier acceptances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from hub.core.conversation import inbox_id
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    Draft,
    Entry,
    Message,
    MessageId,
    NotificationId,
    Published,
    QueueSpan,
    SeqKey,
    UserKey,
)
from hub.core.ports import Prior
from hub.store import plan1_wire as wire
from hub.store import sql_rows as rows
from hub.store.columns import to_micros
from hub.store.plan1_pending import Pending
from hub.store.plan1_redis import Life, Plan1Redis
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata

IDEMPOTENCY = metadata.tables["idempotency"]
NOTIFICATION = metadata.tables["notification"]

_BODIES = 500


class Plan1Reading:
    """The reading half of `MessageStore`, as far as messages are concerned."""

    def __init__(self, redis: Plan1Redis, life: Life) -> None:
        self._redis = redis
        self._life = life
        self._entries, self._floor, self._bodies, self._history, self._batches = map(
            wire.script, ("entries", "floor", "bodies", "history", "batches")
        )

    async def heads(self, keys: Collection[SeqKey]) -> Mapping[SeqKey, int]:
        """See the port. Beyond it: never lower than what a device has acknowledged or a member has read."""
        return await self._life.heads(list(keys))

    async def entries(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry]:
        """See the port. Newest in the queue, older in the overflow: nobody notices which."""
        found = await self._redis.ask(self._entries, [wire.queue(user)], after, limit)
        return [wire.entry_of(user, raw) for raw in found]

    async def entries_of(self, wants: Sequence[QueueSpan]) -> Mapping[QueueSpan, Sequence[Entry]]:
        """See the port. One round trip."""
        answers = await self._redis.run(
            [(self._entries, 1, wire.queue(want.user), want.after, want.limit) for want in wants]
        )
        return {
            want: [wire.entry_of(want.user, raw) for raw in found]
            for want, found in zip(wants, answers, strict=True)
        }

    async def floor(self, key: SeqKey) -> int:
        """See the port."""
        return int(await self._redis.ask(self._floor, [wire.sequence(key)]))

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """See the port."""
        listed = list(ids)
        found: dict[MessageId, Message] = {}
        for start in range(0, len(listed), _BODIES):
            some = listed[start : start + _BODIES]
            raw = await self._redis.ask(self._bodies, [], *some)
            found.update(
                (id_, wire.message_of(id_, body)) for id_, body in zip(some, raw, strict=True) if body
            )
        return found

    async def history(
        self, conversation: ConversationId, *, after: int | None, before: int | None, limit: int
    ) -> Sequence[Message]:
        """See the port."""
        words = ("c", "" if after is None else after, "" if before is None else before, limit)
        return wire.messages_of(await self._redis.ask(self._history, [wire.room(conversation)], *words))

    async def inbox_history(
        self,
        user: UserKey,
        conversation: ConversationId,
        *,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Message]:
        """See the port."""
        words = ("i", "" if after is None else after, "" if before is None else before, limit)
        found = wire.messages_of(await self._redis.ask(self._history, [wire.queue(user)], *words))
        return [message for message in found if message.conversation == conversation]

    async def unpublished(self, *, before: datetime, limit: int) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port."""
        return await self._remembered(":unmarked", "-inf", f"({to_micros(before)}", 0, limit)

    async def committed_since(
        self, since: datetime, *, limit: int, skip: int = 0
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port; oldest first."""
        return await self._remembered("", str(to_micros(since)), "+inf", skip, limit)

    async def _remembered(
        self, which: str, low: str, high: str, skip: int, limit: int
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        flat = await self._redis.ask(self._batches, [wire.BATCHES], which, low, high, skip, limit)
        batches = [
            (id_.decode(), rows.refs_from(raw[wire.NONCE :]))
            for id_, raw in zip(flat[::2], flat[1::2], strict=True)
        ]
        bodies = await self.messages({MessageId(message) for _, refs in batches for message, _, _ in refs})
        return [(id_, rows.published_of(refs, bodies)) for id_, refs in batches]


class Plan1Prior:
    """`MessageStore.prior`: identities in Redis, what they were asked with in SQL."""

    def __init__(
        self,
        redis: Plan1Redis,
        database: Database,
        reading: Plan1Reading,
        pending: Pending,
        *,
        idempotency_ttl: timedelta,
    ) -> None:
        self._redis = redis
        self._database = database
        self._reading = reading
        self._pending = pending
        self._ttl = idempotency_ttl
        self._prior = wire.script("prior")
        self._keys = Listing(database.dialect, id=str)
        self._pairs = Listing(database.dialect, app=str, dedupe=str)
        listed = self._pairs.select.subquery("listed")
        self._claims = select(IDEMPOTENCY).where(IDEMPOTENCY.c.key.in_(self._keys.select))
        self._told = select(
            NOTIFICATION.c.id,
            NOTIFICATION.c.app_id,
            NOTIFICATION.c.dedupe_key,
            NOTIFICATION.c.message_id,
            NOTIFICATION.c.created_at,
        ).join_from(
            listed,
            NOTIFICATION,
            (NOTIFICATION.c.app_id == listed.c.app) & (NOTIFICATION.c.dedupe_key == listed.c.dedupe),
        )

    async def prior(self, drafts: Sequence[Draft]) -> Mapping[MessageId, Prior]:
        """See the port. What Redis has accepted and SQL does not know yet is completed first: nobody is told of a
        message whose notification may still be lost."""
        owned = [(draft, key, counts) for draft in drafts for key, counts in _keys_of(draft)]
        if not owned:
            return {}
        flat = await self._redis.ask(self._prior, [], *(key for _, key, _ in owned))
        found: dict[MessageId, Prior] = {}
        unsure = False
        for (draft, _, counts), id_, raw in zip(owned, flat[::2], flat[1::2], strict=True):
            unsure |= bool(raw)
            if raw and counts:
                found[draft.id] = Prior(_accepted(wire.message_of(id_, raw)))
        if unsure:
            await self._pending.complete(older_than=timedelta(0), strict=True)
        if any(d.notification is not None and d.notification.dedupe_key is not None for d in drafts):
            found = await self._with_dedupe_key(drafts) | found
        if any(d.idempotency is not None for d in drafts):
            found.update(await self._with_claim(drafts))
        return found

    async def _with_dedupe_key(self, drafts: Sequence[Draft]) -> dict[MessageId, Prior]:
        """A notification whose message Redis has lost was accepted all the same: it is not sent again."""
        keys = {
            d.id: (d.app, d.notification.dedupe_key)
            for d in drafts
            if d.notification is not None and d.notification.dedupe_key is not None
        }
        told = await self._database.rows(self._told, self._pairs.of(list(keys.values())))
        bodies = await self._reading.messages({MessageId(row.message_id) for row in told})
        known = {(row.app_id, row.dedupe_key): Prior(_told(row, bodies)) for row in told}
        return {id_: known[key] for id_, key in keys.items() if key in known}

    async def _with_claim(self, drafts: Sequence[Draft]) -> Mapping[MessageId, Prior]:
        """An Idempotency-Key goes before the other keys, since it has a fingerprint to compare."""
        claims = {d.id: (d.idempotency, d.created_at) for d in drafts if d.idempotency is not None}
        asked = self._keys.of([claim.key for claim, _ in claims.values()])
        kept = {row.key: row for row in await self._database.rows(self._claims, asked)}
        bodies = await self._reading.messages({MessageId(row.resource_id) for row in kept.values()})
        answers: dict[MessageId, Prior] = {}
        for id_, (claim, at) in claims.items():
            row = kept.get(claim.key)
            body = None if row is None else bodies.get(MessageId(row.resource_id))
            if row is not None and body is not None and row.created_at >= at - self._ttl:
                answers[id_] = Prior(_accepted(body), row.fingerprint)
        return answers


def _keys_of(draft: Draft) -> Sequence[tuple[bytes, bool]]:
    """The identities that a draft may have in common with an earlier one, and whether what is found under it answers:
    a claim's answer is in SQL, with its fingerprint and time."""
    keys: list[tuple[bytes, bool]] = []
    if draft.idempotency is not None:
        keys.append((wire.claim_identity(draft.idempotency.key), False))
    if draft.notification is not None and draft.notification.dedupe_key is not None:
        keys.append((wire.dedupe_identity(draft.app, draft.notification.dedupe_key), True))
    if draft.client_msg_id is not None:
        keys.append((wire.client_identity(draft.app, draft.sender, draft.client_msg_id), True))
    return keys


def _accepted(message: Message) -> Accepted:
    return Accepted(
        message.id,
        message.conversation,
        message.seq,
        message.created_at,
        message.notification,
        duplicate=True,
    )


def _told(row: Any, bodies: Mapping[MessageId, Message]) -> Accepted:
    body = bodies.get(MessageId(row.message_id))
    if body is not None:
        return _accepted(body)
    place = inbox_id(AppId(row.app_id))
    return Accepted(
        MessageId(row.message_id), place, 0, row.created_at, NotificationId(row.id), duplicate=True
    )
