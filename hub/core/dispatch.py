"""Deliveries in motion: claim and try them, settle what comes back, take back what is not wanted any more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from hub.core.advancing import Advancer, DispatchLimits, Known
from hub.core.catching_up import CatchingUp
from hub.core.channel import Lane, Registry, Witness
from hub.core.chores import bad_one_alone
from hub.core.control import EventScope, ReplayFilter
from hub.core.delivery import (
    Acted,
    Attempt,
    Canceled,
    Claimed,
    Delivery,
    DeliveryId,
    DeliveryState,
    Event,
    Lapsed,
    ReadReceipt,
    Replayed,
)
from hub.core.gatekeeper import Gatekeeper, SettingsBook
from hub.core.message import AppId, ConversationId, NotificationId, UserKey
from hub.core.outcome import Delivered, Reason
from hub.core.policy import Success
from hub.core.ports import Clock, DeliveryStore, Executor, Housekeeping, MessageStore, NewId
from hub.core.receipts import Receipt
from hub.core.routing_ports import RoutingStore
from hub.core.trying import Trier, by_channel

__all__ = ["DispatchLimits", "Dispatcher"]


class Dispatcher:
    """Moves deliveries. Every verb may be called twice, by two processes at once; the row's version decides."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        messages: MessageStore,
        parking: Housekeeping,
        routing: RoutingStore,
        channels: Registry,
        executor: Executor,
        limits: DispatchLimits,
        clock: Clock,
        new_id: NewId,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._routing = routing
        self._channels = channels
        self._limits = limits
        self._clock = clock
        settings = SettingsBook(routing)
        self._gate = Gatekeeper(
            store=store, routing=routing, settings=settings, channels=channels, clock=clock
        )
        self._advancer = Advancer(
            store=store,
            settings=settings,
            channels=channels,
            executor=executor,
            limits=limits,
            clock=clock,
            new_id=new_id,
            jitter=jitter,
            on_planned=self.start,
        )
        self._catching_up = CatchingUp(
            store=store,
            messages=messages,
            parking=parking,
            routing=routing,
            channels=channels,
            advancer=self._advancer,
            clock=clock,
        )
        self._trier = Trier(
            store=store,
            messages=messages,
            routing=routing,
            channels=channels,
            advancer=self._advancer,
            call_timeout=limits.call_timeout,
            clock=clock,
        )

    @property
    def tries(self) -> Counter[tuple[str, str]]:
        """How tries of this process ended, by channel and outcome."""
        return self._trier.tries

    async def run(self, ids: Collection[DeliveryId]) -> None:
        """Claim these under a lease and try each once, in batches per channel. Who loses a claim does nothing."""
        rows = await self._store.deliveries(ids)
        await asyncio.gather(*(self._run_on(name, some) for name, some in by_channel(rows).items()))

    async def _run_on(self, name: str, rows: Sequence[Delivery]) -> None:
        """Claimed a call at a time: a lease must outlast one call, not a queue of them. No call is begun that may not
        end within a lease's time from now, after which a task is cut off: the rest is due, and the sweep's."""
        channel = self._channels.get(name)
        size = channel.capabilities.batch if channel else len(rows)
        last_start = self._clock() + self._limits.lease - self._limits.call_timeout
        for start in range(0, len(rows), size):
            if start and self._clock() > last_start:
                break
            await bad_one_alone(rows[start : start + size], self._try)

    async def _try(self, rows: Sequence[Delivery]) -> None:
        await self.attempt(await self._claim(rows, await self._advancer.known(rows)))

    async def _claim(self, rows: Sequence[Delivery], known: Known) -> list[Delivery]:
        """Those that are now this process's to try; what has expired or is not wanted is ended on the way, and what
        must wait waits."""
        claim = Claimed(self._clock() + self._limits.lease)
        steps = [self._advancer.step(row, claim, known) for row in rows]
        claims = {
            step.delivery.id: step.delivery
            for step in steps
            if step.changed and step.delivery.state is DeliveryState.ATTEMPTING
        }
        asked = [row for row in rows if row.id in claims]
        events = await self._gate.turned_away(asked, known.notifications)
        if events:
            await self._advancer.apply({row: events[row.id] for row in asked if row.id in events})
        ended = [s.delivery for s in steps if s.changed and s.delivery.id not in claims]
        going = [claims[row.id] for row in asked if row.id not in events]
        if not going and not ended:
            return []
        attempts = [Attempt(d.id, d.attempts, d.tried_at or self._clock()) for d in going]
        won = await self._store.save([*going, *ended], attempts=attempts)
        return [replace(d, version=d.version + 1) for d in going if d.id in won]

    async def attempt(self, claimed: Sequence[Delivery]) -> None:
        """Try deliveries that this process holds the lease of."""
        results = await self._trier.attempt(claimed)
        await self._catching_up.answered(results)

    async def receive(self, channel: str, provider_id: str, receipt: Receipt, *, about: str = "") -> None:
        """What the provider says afterwards of a send, by its own id. One that comes before the id is saved is parked,
        and settled when the id is. May come twice. By `about` a channel can find it for a send whose answer was
        lost."""
        row = await self._store.by_provider_id(channel, provider_id)
        if row is not None:
            await self._advancer.apply({row: receipt})
            return
        await self._catching_up.park(channel, provider_id, receipt, about=about)

    async def settle_overtaken(self, *, limit: int) -> int:
        """Parked receipts that nobody lived to settle. Returns how many there were."""
        return await self._catching_up.overtaken(limit=limit)

    async def settle(self, delivery: DeliveryId, event: Event) -> None:
        """A receipt, a read or a cancellation for one delivery. May be late, early or a repeat."""
        rows = await self._store.deliveries([delivery])
        await self._advancer.apply(dict.fromkeys(rows, event))

    async def acked(self, users: Mapping[UserKey, int]) -> None:
        """Devices of these users have everything up to these numbers: settle what waited for that."""
        rows = await self._store.open_of_users(users.keys())
        await self._advancer.apply(
            {
                row: Delivered()
                for row in rows
                if row.channel == "ws" and not row.state.final and row.user_seq <= users[row.user]
            }
        )

    async def read(self, user: UserKey, conversation: ConversationId, seq: int) -> None:
        """This user has read up to `seq` there: where the policy stops on that, nothing more is sent for it, on any
        channel; elsewhere it is still the success that a hop may have waited for."""

        async def find() -> Mapping[Delivery, Event]:
            rows = await self._store.open_of_users([user])
            rows = [r for r in rows if r.conversation == conversation and r.seq <= seq and not r.read]
            known = await self._advancer.known(rows)
            return {row: ReadReceipt() for row in rows if _ends_by(Success.READ, row, known)}

        await self._advancer.apply_until_done(find)

    async def acted(self, app: AppId, notification: NotificationId, user: UserKey | None = None) -> int:
        """This user (None: whoever it went to) need not be told any more: somebody acted on it. Where the policy stops
        on that, nothing more is sent on any channel. Returns how many deliveries that changed."""

        async def find() -> Mapping[Delivery, Event]:
            rows = await self._routing.of_notifications(app, [notification])
            rows = [r for r in rows if user in (None, r.user) and not r.read and not _over(r)]
            known = await self._advancer.known(rows)
            return {row: Acted() for row in rows if _ends_by(Success.ACTED, row, known)}

        return await self._advancer.apply_until_done(find)

    async def event(self, app: AppId, scope: EventScope, name: str) -> int:
        """Something happened in the business: what waits for it under `stop_on: event:NAME` is not sent any more.
        Returns how many deliveries that changed."""
        ids = await self._routing.in_scope(app, scope)
        word = f"event:{name}"

        async def find() -> Mapping[Delivery, Event]:
            rows = [r for r in await self._routing.of_notifications(app, ids) if _stoppable(r)]
            known = await self._advancer.known(rows)
            drafts = {row: known.draft_of(row) for row in rows}
            return {
                row: Canceled(Reason.EVENT)
                for row, draft in drafts.items()
                if draft is not None and word in draft.policy.stop_on
            }

        return await self._advancer.apply_until_done(find)

    async def cancel(self, app: AppId, notification: NotificationId, reason: Reason) -> Sequence[Delivery]:
        """What has not left is not sent, and no hop follows. Returns the deliveries as they are afterwards."""

        async def find() -> Mapping[Delivery, Event]:
            rows = await self._routing.of_notifications(app, [notification])
            return {row: Canceled(reason) for row in rows if _stoppable(row)}

        await self._advancer.apply_until_done(find)
        return await self._routing.of_notifications(app, [notification])

    async def supersede(self, newer: Collection[NotificationId]) -> int:
        """What has not left of older ones with the same collapse key is not sent. Returns how many."""

        async def find() -> Mapping[Delivery, Event]:
            return dict.fromkeys(await self._routing.superseded_by(newer), Canceled(Reason.SUPERSEDED))

        return await self._advancer.apply_until_done(find)

    async def replay(self, app: AppId, wanted: ReplayFilter) -> int:
        """Try dead letters again: what failed, and what is settled as unknown. Returns how many."""
        rows = await self._routing.dead(app, wanted)
        done = await self._advancer.apply(dict.fromkeys(rows, Replayed()))
        fresh = await self._store.deliveries([row.id for row in rows])
        await self.start([row for row in fresh if row.state is DeliveryState.QUEUED])
        return done

    async def sweep(self, *, limit: int) -> int:
        """Look at what is due: hand over tries, let patience and leases end. Returns how many were looked at."""
        await self.settle_overtaken(limit=limit)
        rows = await self._due(limit)
        tries = {row.id for row in rows if row.state.cancelable and row.state is not DeliveryState.PLANNED}
        await bad_one_alone([row for row in rows if row.id not in tries], self._lapse)
        await self._hand_over([row for row in rows if row.id in tries])
        return len(rows)

    async def _lapse(self, rows: Sequence[Delivery]) -> None:
        await self._catching_up.before_lapse(rows)
        unsent = await self._unsent([row for row in rows if row.state is DeliveryState.ATTEMPTING])
        await self._advancer.apply({row: Lapsed(row.id in unsent) for row in rows})

    async def _unsent(self, rows: Sequence[Delivery]) -> frozenset[DeliveryId]:
        """Of tries whose worker was lost: those that never left it, as far as their channels can tell."""
        found: set[DeliveryId] = set()
        for name, some in by_channel(rows).items():
            channel = self._channels.get(name)
            if isinstance(channel, Witness):
                found.update(await channel.unsent([row.id for row in some]))
        return frozenset(found)

    async def _due(self, limit: int) -> Sequence[Delivery]:
        """The most overdue; where that fills the page, a share of each channel's, so that none waits for another's
        flood."""
        rows = await self._store.due(now=self._clock(), channels=None, limit=limit)
        names = self._channels.names
        if len(rows) < limit or not names:
            return rows
        share = max(limit // len(names), 1)
        fair = {row.id: row for row in rows[: limit // 2]}
        for name in sorted(names):
            more = await self._store.due(now=self._clock(), channels=[name], limit=share)
            fair.update({row.id: row for row in more})
        return list(fair.values())

    async def _hand_over(self, rows: Sequence[Delivery]) -> None:
        """Inline hops run here, the others are asked of the executor; each rests a while before it is due again."""
        inline = self._channels.on_lane(Lane.INLINE)
        await self.run([row.id for row in rows if row.channel in inline])
        others = [row for row in rows if row.channel not in inline]
        rest = self._clock() + self._limits.nudge
        nudged = [replace(row, state=DeliveryState.QUEUED, due_at=rest) for row in others]
        won = await self._store.save(nudged) if nudged else frozenset()
        await self._advancer.schedule([row for row in others if row.id in won])

    async def start(self, planned: Sequence[Delivery]) -> None:
        """Rows fresh from a commit: inline ones are tried now, the others asked of the executor."""
        inline = self._channels.on_lane(Lane.INLINE)
        queued = [row for row in planned if row.state is DeliveryState.QUEUED]
        await self._advancer.schedule(row for row in queued if row.channel not in inline)
        await self.attempt([row for row in planned if row.state is DeliveryState.ATTEMPTING])
        await self.run([row.id for row in queued if row.channel in inline])


def _ends_by(what: Success, row: Delivery, known: Known) -> bool:
    """Whether reading (or acting, which is more) ends a delivery: by the policy, or as the success it waited for."""
    draft = known.draft_of(row)
    if draft is None or row.hop >= len(draft.policy.hops):
        return True
    if what.value in draft.policy.stop_on:
        return True
    success = draft.policy.hops[row.hop].success
    waited_for = success is what or (what is Success.ACTED and success is Success.READ)
    return waited_for and not row.state.cancelable


def _over(row: Delivery) -> bool:
    return row.state.final and row.due_at is None


def _stoppable(row: Delivery) -> bool:
    """Whether a cancellation would still change something."""
    if row.state.cancelable:
        return True
    if row.state is DeliveryState.ATTEMPTING:
        return row.reason is None
    if _over(row):
        return False
    return not row.escalated or (row.state is DeliveryState.UNKNOWN and row.due_at is not None)
