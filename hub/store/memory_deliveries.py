"""Deliveries, notifications, users and parked receipts in this process's memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState, followers
from hub.core.identity import Recipient
from hub.core.message import MessageId, NotificationId, UserKey
from hub.core.ports import CLOCKS_APART, Clock, NotificationRow, Parked


class MemoryDeliveries:
    """`DeliveryStore`, and the parking of receipts. What happens in one call happens at once."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._users: dict[UserKey, str] = {}
        self._notifications: dict[NotificationId, NotificationRow] = {}
        self._deliveries: dict[DeliveryId, Delivery] = {}
        self._parked: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._about: dict[tuple[str, str], str] = {}
        self.events: dict[DeliveryId, list[tuple[int, DeliveryState]]] = {}
        """What each delivery has been through: (version, state)."""
        self.attempts: dict[tuple[DeliveryId, int], Attempt] = {}

    def put_user(self, user: UserKey, user_id: str) -> None:
        """A person, with the product's id."""
        self._users[user] = user_id

    async def deliveries(self, ids: Collection[DeliveryId]) -> Sequence[Delivery]:
        """See the port."""
        return [self._deliveries[id_] for id_ in ids if id_ in self._deliveries]

    async def due(self, *, now: datetime, channels: Collection[str] | None, limit: int) -> Sequence[Delivery]:
        """See the port."""
        found = [
            (delivery.due_at, delivery)
            for delivery in self._deliveries.values()
            if delivery.due_at is not None
            and delivery.due_at <= now
            and (channels is None or delivery.channel in channels)
        ]
        return [delivery for _, delivery in sorted(found, key=lambda item: item[0])[:limit]]

    async def open_of_users(self, users: Collection[UserKey]) -> Sequence[Delivery]:
        """See the port."""
        wanted = set(users)
        return [
            delivery
            for delivery in self._deliveries.values()
            if delivery.user in wanted and (not delivery.state.final or delivery.due_at is not None)
        ]

    async def save(
        self, changes: Sequence[Delivery], *, new: Sequence[Delivery] = (), attempts: Sequence[Attempt] = ()
    ) -> frozenset[DeliveryId]:
        """See the port."""
        written: set[DeliveryId] = set()
        for change in changes:
            known = self._deliveries.get(change.id)
            if known is not None and known.version == change.version and change.id not in written:
                self._write(replace(change, version=change.version + 1))
                written.add(change.id)
        fresh = [row for row in followers(new, changes, written) if not self._delivery_taken([row])]
        self._put_deliveries(fresh)
        written.update(delivery.id for delivery in fresh)
        for attempt in attempts:
            if attempt.delivery in written:
                self._note(attempt)
        return frozenset(written)

    async def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """See the port."""
        for attempt in attempts:
            self._note(attempt)

    async def by_provider_id(self, channel: str, provider_id: str) -> Delivery | None:
        """See the port."""
        for delivery in reversed(self._deliveries.values()):
            if delivery.channel == channel and delivery.provider_id == provider_id:
                return delivery
        return None

    async def notifications(
        self, ids: Collection[NotificationId]
    ) -> Mapping[NotificationId, NotificationRow]:
        """See the port."""
        return {id_: self._notifications[id_] for id_ in ids if id_ in self._notifications}

    async def recipients(self, users: Collection[UserKey]) -> Mapping[UserKey, Recipient]:
        """See the port."""
        return {user: Recipient(self._users[user]) for user in users if user in self._users}

    async def park_receipt(
        self, channel: str, provider_id: str, outcome: str, now: datetime, *, about: str = ""
    ) -> None:
        """See the port."""
        before = self._parked.get((channel, provider_id))
        self._parked[channel, provider_id] = (outcome, now if before is None else before[1])
        if before is None:
            self._about[channel, provider_id] = about

    async def claim_stray(self, delivery: Delivery, about: str) -> str | None:
        """See the port."""
        owned = {(row.channel, row.provider_id) for row in self._deliveries.values()}
        running = [
            row.tried_at
            for row in self._deliveries.values()
            if row.user == delivery.user
            and row.channel == delivery.channel
            and row.id != delivery.id
            and row.state is DeliveryState.ATTEMPTING
            and row.tried_at is not None
        ]
        for key, (_, at) in sorted(self._parked.items(), key=lambda item: item[1][1]):
            claimable = self._about.get(key) in (about, delivery.id)
            fits = claimable and key[0] == delivery.channel and key not in owned
            since = delivery.doubt_since is not None and at >= delivery.doubt_since - CLOCKS_APART
            if fits and since and all(at < other for other in running):
                self._about[key] = delivery.id
                return key[1]
        return None

    async def parked(self, channel: str, provider_ids: Collection[str]) -> Sequence[Parked]:
        """See the port."""
        found = self._matched(datetime.min.replace(tzinfo=UTC))
        return [one for one in found if one.channel == channel and one.provider_id in provider_ids]

    async def overtaken(self, *, since: datetime, limit: int) -> Sequence[Parked]:
        """See the port."""
        return self._matched(since)[:limit]

    async def unpark(self, receipts: Collection[Parked]) -> None:
        """See the port."""
        for one in receipts:
            if self._parked.get((one.channel, one.provider_id), ("", None))[0] == one.receipt:
                del self._parked[one.channel, one.provider_id]

    def _matched(self, since: datetime) -> list[Parked]:
        rows = {(row.channel, row.provider_id): row.id for row in self._deliveries.values()}
        return [
            Parked(channel, provider_id, receipt, rows[channel, provider_id])
            for (channel, provider_id), (receipt, at) in self._parked.items()
            if at > since and (channel, provider_id) in rows
        ]

    async def forget_parked(self, before: datetime) -> int:
        """See the port."""
        old = [key for key, (_, at) in self._parked.items() if at < before]
        for key in old:
            del self._parked[key]
        return len(old)

    def _write(self, delivery: Delivery) -> None:
        self._deliveries[delivery.id] = delivery
        self.events.setdefault(delivery.id, []).append((delivery.version, delivery.state))

    def _put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._write(delivery)

    def _delivery_taken(self, deliveries: Sequence[Delivery]) -> bool:
        hops = {(d.message, d.user, d.hop) for d in self._deliveries.values()}
        return any(d.id in self._deliveries or (d.message, d.user, d.hop) in hops for d in deliveries)

    def _note(self, attempt: Attempt) -> None:
        key = (attempt.delivery, attempt.number)
        known = self.attempts.get(key)
        if known is None:
            self.attempts[key] = attempt
        elif attempt.finished_at is not None:
            self.attempts[key] = replace(attempt, started_at=known.started_at)

    def _drop_message_deliveries(self, message: MessageId) -> None:
        gone = [id_ for id_, delivery in self._deliveries.items() if delivery.message == message]
        for id_ in gone:
            del self._deliveries[id_]
            self.events.pop(id_, None)
        dropped = set(gone)
        self.attempts = {key: a for key, a in self.attempts.items() if key[0] not in dropped}
        self._notifications = {id_: row for id_, row in self._notifications.items() if row.message != message}
