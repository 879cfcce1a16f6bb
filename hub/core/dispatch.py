"""Deliveries in motion: try them, settle what comes back, escalate what lapses. Decisions are lifecycle's."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hub.core.batching import plan_hop
from hub.core.channel import Channel, Envelope, Lane, Registry
from hub.core.delivery import (
    Attempt,
    Claimed,
    Delivery,
    DeliveryId,
    DeliveryState,
    Event,
    HopContext,
    Lapsed,
    ReadReceipt,
    Step,
)
from hub.core.lifecycle import advance
from hub.core.message import ConversationId, NotificationId, UserKey
from hub.core.outcome import Accepted, Delivered, Outcome, Reason, Rejected, Unknown
from hub.core.policy import Hop, OnUnknown, Success
from hub.core.ports import Clock, DeliveryStore, Executor, Housekeeping, MessageStore, NewId, NotificationRow
from hub.core.receipts import Receipt, decode, encode
from hub.core.retry import RetryPolicy
from hub.core.routing import next_hop

log = logging.getLogger("hub.dispatch")

_OVERTAKEN_TRIES = 8
_NEAR = timedelta(minutes=10)
"""Longer delays stay in `due_at` for the sweep: a Redis broker redelivers what outlives its visibility time-out."""
_ALONE = HopContext(Hop("none"), repeatable=False, hold_unknown=True)


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """`lease` outlives a batch's worst case; `nudge` is how long a handed-over row rests before it is again."""

    lease: timedelta
    call_timeout: timedelta
    nudge: timedelta = timedelta(seconds=30)
    retry: RetryPolicy = field(default_factory=RetryPolicy)


class Dispatcher:
    """Moves deliveries. Every verb may be called twice, by two processes at once; the row's version decides."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        messages: MessageStore,
        parking: Housekeeping,
        channels: Registry,
        executor: Executor,
        limits: DispatchLimits,
        clock: Clock,
        new_id: NewId,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._messages = messages
        self._parking = parking
        self._channels = channels
        self._executor = executor
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._jitter = jitter

    async def run(self, ids: Collection[DeliveryId]) -> None:
        """Claim these under a lease and try each once, in batches per channel. Who loses a claim does nothing."""
        rows = await self._store.deliveries(ids)
        await asyncio.gather(*(self._run_on(name, some) for name, some in _by_channel(rows).items()))

    async def _run_on(self, name: str, rows: Sequence[Delivery]) -> None:
        """Claimed a call at a time: a lease must outlast one call, not a queue of them."""
        channel = self._channels.get(name)
        size = channel.capabilities.batch if channel else len(rows)
        notifications = await self._notifications(rows)
        for start in range(0, len(rows), size):
            await self.attempt(await self._claim(rows[start : start + size], notifications))

    async def _claim(
        self, rows: Sequence[Delivery], notifications: Mapping[NotificationId, NotificationRow]
    ) -> list[Delivery]:
        """Those that are now this process's to try; what has expired is ended on the way."""
        now = self._clock()
        steps = [self._advance(row, Claimed(now + self._limits.lease), notifications) for row in rows]
        changed = [step.delivery for step in steps if step.changed]
        if not changed:
            return []
        claims = [delivery for delivery in changed if delivery.state is DeliveryState.ATTEMPTING]
        attempts = [Attempt(delivery.id, delivery.attempts, now) for delivery in claims]
        won = await self._store.save(changed, attempts=attempts)
        return [replace(claim, version=claim.version + 1) for claim in claims if claim.id in won]

    async def attempt(self, claimed: Sequence[Delivery]) -> None:
        """Try deliveries that this process holds the lease of."""
        await asyncio.gather(*(self._attempt_on(name, some) for name, some in _by_channel(claimed).items()))

    async def _attempt_on(self, name: str, claimed: Sequence[Delivery]) -> None:
        channel = self._channels.get(name)
        size = channel.capabilities.batch if channel else len(claimed)
        bodies = await self._messages.messages({d.message for d in claimed})
        people = await self._store.recipients({d.user for d in claimed})
        for start in range(0, len(claimed), max(size, 1)):
            some = claimed[start : start + size]
            ready = [d for d in some if d.message in bodies and d.user in people]
            gone = [d for d in some if d.message not in bodies or d.user not in people]
            envelopes = [Envelope(d, bodies[d.message], people[d.user]) for d in ready]
            outcomes = await self._call(channel, envelopes)
            if channel is not None and channel.capabilities.knows_presence:
                outcomes = await self._already_there(envelopes, outcomes)
            lost: list[tuple[Delivery, Outcome]] = [(d, Rejected(Reason.EXPIRED)) for d in gone]
            await self._finish([*zip(ready, outcomes, strict=True), *lost])

    async def _call(self, channel: Channel | None, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """One call, one try. What a channel must not do (raise, hang, miscount) becomes an outcome here."""
        if not batch:
            return []
        if channel is None:
            return [Rejected(Reason.NO_CHANNEL)] * len(batch)
        try:
            async with asyncio.timeout(self._limits.call_timeout.total_seconds()):
                outcomes = await channel.deliver(batch)
        except TimeoutError:
            return [Unknown(Reason.TIMED_OUT)] * len(batch)
        except Exception as error:
            log.exception("channel_raised", extra={"channel": channel.name})
            return [Unknown(Reason.ADAPTER_BUG, type(error).__name__)] * len(batch)
        if len(outcomes) != len(batch):
            log.error("channel_miscounted", extra={"channel": channel.name, "asked": len(batch)})
            return [Unknown(Reason.ADAPTER_BUG, "wrong number of answers")] * len(batch)
        return outcomes

    async def _finish(self, results: Sequence[tuple[Delivery, Outcome]]) -> None:
        now = self._clock()
        attempts = [Attempt(d.id, d.attempts, now, now, outcome) for d, outcome in results]
        await self._apply(dict(results), attempts)
        await self._settle_parked(results)

    async def receive(self, channel: str, provider_id: str, receipt: Receipt) -> None:
        """What the provider says afterwards of a send, by its own id. One that comes before the id is saved is parked,
        and settled when the id is. May come twice."""
        row = await self._store.by_provider_id(channel, provider_id)
        if row is None:
            await self._parking.park_receipt(channel, provider_id, encode(receipt), self._clock())
            # The id may have been saved between the look and the parking: whoever comes second looks again.
            row = await self._store.by_provider_id(channel, provider_id)
            if row is None or not await self._parking.take_parked(channel, [provider_id]):
                return
        await self._apply({row: receipt})

    async def _settle_parked(self, results: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Receipts that overtook the ids just saved."""
        ids: dict[str, dict[str, DeliveryId]] = defaultdict(dict)
        for row, outcome in results:
            if isinstance(outcome, Accepted) and outcome.provider_id is not None:
                ids[row.channel][outcome.provider_id] = row.id
        for channel, saved in ids.items():
            for provider_id, text in (await self._parking.take_parked(channel, saved.keys())).items():
                await self.settle(saved[provider_id], decode(text))

    async def settle(self, delivery: DeliveryId, event: Event) -> None:
        """A receipt, a read or a cancellation for one delivery. May be late, early or a repeat."""
        rows = await self._store.deliveries([delivery])
        await self._apply(dict.fromkeys(rows, event))

    async def acked(self, users: Mapping[UserKey, int]) -> None:
        """Devices of these users have everything up to these numbers: settle what waited for that."""
        rows = await self._store.open_of_users(users.keys())
        await self._apply(
            {
                row: Delivered()
                for row in rows
                if row.channel == "ws" and not row.state.final and row.user_seq <= users[row.user]
            }
        )

    async def read(self, user: UserKey, conversation: ConversationId, seq: int) -> None:
        """This user has read up to `seq` there: where the policy stops on that, nothing more is sent for it, on any
        channel; elsewhere it is still the success that a hop may have waited for."""
        rows = await self._store.open_of_users([user])
        rows = [row for row in rows if row.conversation == conversation and row.seq <= seq]
        notifications = await self._notifications(rows)
        await self._apply({row: ReadReceipt() for row in rows if _ends_by_reading(row, notifications)})

    async def _already_there(
        self, batch: Sequence[Envelope], outcomes: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """A device that acknowledged before this hop began will not do so again: it has been delivered."""
        accepted = {e.delivery.user for e, o in zip(batch, outcomes, strict=True) if isinstance(o, Accepted)}
        reached = await self._messages.acknowledged(accepted) if accepted else {}
        return [
            Delivered(detail="acknowledged before")
            if isinstance(outcome, Accepted)
            and reached.get(envelope.delivery.user, 0) >= envelope.delivery.user_seq
            else outcome
            for envelope, outcome in zip(batch, outcomes, strict=True)
        ]

    async def sweep(self, *, limit: int) -> int:
        """Look at what is due: hand over tries, let patience and leases end. Returns how many were looked at."""
        rows = await self._store.due(now=self._clock(), channels=None, limit=limit)
        tries = {row.id for row in rows if row.state.cancelable and row.state is not DeliveryState.PLANNED}
        await self._apply({row: Lapsed() for row in rows if row.id not in tries})
        await self._hand_over([row for row in rows if row.id in tries])
        return len(rows)

    async def _hand_over(self, rows: Sequence[Delivery]) -> None:
        """Inline hops run here, the others are asked of the executor; each rests a while before it is due again."""
        inline = self._channels.on_lane(Lane.INLINE)
        await self.run([row.id for row in rows if row.channel in inline])
        others = [row for row in rows if row.channel not in inline]
        nudged = [replace(row, due_at=self._clock() + self._limits.nudge) for row in others]
        won = await self._store.save(nudged) if nudged else frozenset()
        await self._schedule([row for row in others if row.id in won])

    async def _schedule(self, rows: Iterable[Delivery]) -> None:
        for channel, some in _by_channel(rows).items():
            await self._executor.schedule(channel, [row.id for row in some], delay=timedelta(0))

    async def _set_alarms(self, rows: Iterable[Delivery]) -> None:
        """Ask for near retries by countdown; the sweep finds those too whose alarm is lost."""
        alarms: dict[tuple[str, timedelta], list[DeliveryId]] = defaultdict(list)
        now = self._clock()
        for row in rows:
            if row.state is DeliveryState.RETRY_WAIT and row.due_at is not None and row.due_at - now < _NEAR:
                wait = timedelta(seconds=max(0, math.ceil((row.due_at - now).total_seconds())))
                alarms[(row.channel, wait)].append(row.id)
        for (channel, wait), ids in alarms.items():
            await self._executor.schedule(channel, ids, delay=wait)

    async def start(self, planned: Sequence[Delivery]) -> None:
        """Rows fresh from a commit: inline ones are tried now, the others asked of the executor."""
        held = [row for row in planned if row.state is DeliveryState.ATTEMPTING]
        await self._schedule(row for row in planned if row.state is DeliveryState.QUEUED)
        await self.attempt(held)

    async def _apply(self, events: Mapping[Delivery, Event], attempts: Sequence[Attempt] = ()) -> None:
        """Advance and save; whoever is overtaken is advanced again from the row as it is now."""
        pending = dict(events)
        started: list[Delivery] = []
        for _ in range(_OVERTAKEN_TRIES):
            if not pending:
                break
            notifications = await self._notifications(pending)
            steps = [(self._advance(row, event, notifications), event) for row, event in pending.items()]
            steps = [(step, event) for step, event in steps if step.changed]
            following = [hop for step, _ in steps for hop in self._following(step, notifications)]
            won = await self._store.save([s.delivery for s, _ in steps], new=following, attempts=attempts)
            reached = {(s.delivery.message, s.delivery.user) for s, _ in steps if s.delivery.id in won}
            await self._set_alarms(s.delivery for s, _ in steps if s.delivery.id in won)
            started.extend(hop for hop in following if (hop.message, hop.user) in reached)
            lost = {s.delivery.id: event for s, event in steps if s.delivery.id not in won}
            pending = {row: lost[row.id] for row in await self._store.deliveries(lost)} if lost else {}
        if pending:
            log.error("delivery_contention", extra={"deliveries": len(pending)})
        if started:
            await self.start(started)

    def _advance(
        self, row: Delivery, event: Event, notifications: Mapping[NotificationId, NotificationRow]
    ) -> Step:
        return advance(
            row,
            event,
            now=self._clock(),
            hop=self._context(row, notifications),
            retry=self._limits.retry,
            jitter=self._jitter,
        )

    def _context(self, row: Delivery, notifications: Mapping[NotificationId, NotificationRow]) -> HopContext:
        channel = self._channels.get(row.channel)
        repeatable = channel is not None and channel.capabilities.repeatable
        notification = notifications.get(row.notification) if row.notification else None
        if notification is None or row.hop >= len(notification.draft.policy.hops):
            return replace(_ALONE, repeatable=repeatable)
        policy = notification.draft.policy
        return HopContext(
            policy.hops[row.hop],
            repeatable=repeatable,
            hold_unknown=policy.on_unknown is OnUnknown.HOLD,
        )

    def _following(
        self, step: Step, notifications: Mapping[NotificationId, NotificationRow]
    ) -> list[Delivery]:
        """The next hop of a step that asks for it, as a new row: none at the policy's end."""
        row = step.delivery
        notification = notifications.get(row.notification) if row.notification else None
        if not step.next_hop or notification is None:
            return []
        draft = notification.draft
        hop = next_hop(draft.policy, row.hop, priority=draft.priority, category=draft.category)
        if hop is None:
            return []
        channel = draft.policy.hops[hop].channel
        inline = channel in self._channels.on_lane(Lane.INLINE)
        return [
            plan_hop(
                row,
                hop=hop,
                channel=channel,
                inline=inline,
                now=self._clock(),
                new_id=self._new_id,
                lease=self._limits.lease,
            )
        ]

    async def _notifications(self, rows: Iterable[Delivery]) -> Mapping[NotificationId, NotificationRow]:
        return await self._store.notifications({r.notification for r in rows if r.notification})


def _ends_by_reading(row: Delivery, notifications: Mapping[NotificationId, NotificationRow]) -> bool:
    notification = notifications.get(row.notification) if row.notification else None
    if notification is None or "read" in notification.draft.policy.stop_on:
        return True
    waited_for = notification.draft.policy.hops[row.hop].success is Success.READ
    return waited_for and not row.state.cancelable


def _by_channel(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in rows:
        found[row.channel].append(row)
    return found
