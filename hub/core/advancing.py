"""Events in, rows out: deliveries are advanced and saved, and what follows from them is planned and asked for."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hub.core.batching import pass_hop, plan_hop, runs_inline
from hub.core.channel import Lane, Registry
from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState, Event, HopContext, Step
from hub.core.errors import Unavailable
from hub.core.gatekeeper import SettingsBook
from hub.core.lifecycle import advance
from hub.core.message import AppId, NotificationDraft, NotificationId
from hub.core.policy import Hop, OnUnknown, TimerClock
from hub.core.ports import Clock, DeliveryStore, Executor, NewId, NotificationRow
from hub.core.retry import RetryPolicy
from hub.core.routing import next_hop, passed_over
from hub.core.worktime import WorkCalendar

log = logging.getLogger("hub.dispatch")

OVERTAKEN_TRIES = 8
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


@dataclass(frozen=True, slots=True)
class Known:
    """What decisions about some deliveries need: their notifications, and the calendars that policies count in."""

    notifications: Mapping[NotificationId, NotificationRow]
    calendars: Mapping[AppId, WorkCalendar]

    def draft_of(self, row: Delivery) -> NotificationDraft | None:
        """The notification of a delivery; None for a chat message, or where it is gone."""
        found = self.notifications.get(row.notification) if row.notification else None
        return found.draft if found is not None else None


class Advancer:
    """Moves rows. Every call may be made twice, by two processes at once; the row's version decides."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        settings: SettingsBook,
        channels: Registry,
        executor: Executor,
        limits: DispatchLimits,
        clock: Clock,
        new_id: NewId,
        jitter: Callable[[], float],
        on_planned: Callable[[Sequence[Delivery]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._channels = channels
        self._executor = executor
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._jitter = jitter
        self._on_planned = on_planned

    async def known(self, rows: Iterable[Delivery]) -> Known:
        """What must be looked up before these can be advanced."""
        notifications = await self._store.notifications({r.notification for r in rows if r.notification})
        apps = {
            row.app for row in notifications.values() if row.draft.policy.clock is TimerClock.WORKING_HOURS
        }
        settings = await self._settings.of(apps)
        return Known(notifications, {app: own.calendar for app, own in settings.items()})

    async def apply(self, events: Mapping[Delivery, Event], attempts: Sequence[Attempt] = ()) -> int:
        """Advance and save, all in one transaction; whoever is overtaken is advanced again from the row as it is now.
        Returns how many were changed. Raises Unavailable where others were quicker every time."""
        pending = dict(events)
        planned: list[Delivery] = []
        changed = 0
        for _ in range(OVERTAKEN_TRIES):
            if not pending:
                break
            known = await self.known(pending)
            steps = [(self.step(row, event, known), event) for row, event in pending.items()]
            steps = [(step, event) for step, event in steps if step.changed]
            following = [hop for step, _ in steps for hop in self._following(step, known)]
            won = await self._store.save([s.delivery for s, _ in steps], new=following, attempts=attempts)
            changed += sum(step.delivery.id in won for step, _ in steps)
            await self._set_alarms(s.delivery for s, _ in steps if s.delivery.id in won)
            planned.extend(hop for hop in following if hop.id in won)
            lost = {s.delivery.id: event for s, event in steps if s.delivery.id not in won}
            pending = {row: lost[row.id] for row in await self._store.deliveries(lost)} if lost else {}
        if planned:
            await self._on_planned(planned)
        if pending:
            # Said, not swallowed: whoever brought a receipt brings it again, and a parked one stays.
            log.error("delivery_contention", extra={"deliveries": len(pending)})
            raise Unavailable("contention", "Others were changing the same deliveries. Try again shortly.")
        return changed

    async def apply_until_done(self, find: Callable[[], Awaitable[Mapping[Delivery, Event]]]) -> int:
        """Apply what `find` finds until it finds nothing: a hop that was planned while a read or a recall was on its
        way is met by it too."""
        changed = 0
        for _ in range(OVERTAKEN_TRIES):
            events = await find()
            if not events:
                break
            done = await self.apply(events)
            changed += done
            if not done:
                break
        return changed

    def step(self, row: Delivery, event: Event, known: Known) -> Step:
        """What an event makes of a row, now."""
        return advance(
            row,
            event,
            now=self._clock(),
            hop=self._context(row, known),
            retry=self._limits.retry,
            jitter=self._jitter,
        )

    def _context(self, row: Delivery, known: Known) -> HopContext:
        channel = self._channels.get(row.channel)
        context = _ALONE
        if channel is not None:
            able = channel.capabilities
            context = replace(
                _ALONE,
                repeatable=able.repeatable,
                repeatable_for=able.repeatable_for,
                receipt_within=able.receipt_within,
            )
        draft = known.draft_of(row)
        if draft is None or row.hop >= len(draft.policy.hops):
            return context
        policy = draft.policy
        return replace(
            context,
            hop=policy.hops[row.hop],
            hold_unknown=policy.on_unknown is OnUnknown.HOLD,
            calendar=known.calendars.get(row.app) if policy.clock is TimerClock.WORKING_HOURS else None,
        )

    def _following(self, step: Step, known: Known) -> list[Delivery]:
        """The next hop of a step that asks for it, as a new row, with those that are passed over on the way to it."""
        row = step.delivery
        draft = known.draft_of(row)
        if not step.next_hop or draft is None:
            return []
        policy, now = draft.policy, self._clock()
        words = {"priority": draft.priority, "category": draft.category}
        made = [
            pass_hop(row, hop=hop, channel=policy.hops[hop].channel, now=now, new_id=self._new_id)
            for hop in passed_over(policy, row.hop, **words)
        ]
        hop = next_hop(policy, row.hop, **words)
        if hop is not None:
            inline = runs_inline(policy.hops[hop], self._channels.on_lane(Lane.INLINE))
            made.append(
                plan_hop(
                    row,
                    hop=hop,
                    channel=policy.hops[hop].channel,
                    inline=inline,
                    now=now,
                    new_id=self._new_id,
                    lease=self._limits.lease,
                )
            )
        return made

    async def schedule(self, rows: Iterable[Delivery]) -> None:
        """Ask the executor for these, now."""
        now: dict[tuple[str, str, timedelta], list[DeliveryId]] = defaultdict(list)
        for row in rows:
            now[row.channel, row.priority, timedelta(0)].append(row.id)
        await self._ask(now)

    async def _set_alarms(self, rows: Iterable[Delivery]) -> None:
        """Ask for near retries by countdown; the sweep finds those too whose alarm is lost."""
        alarms: dict[tuple[str, str, timedelta], list[DeliveryId]] = defaultdict(list)
        now = self._clock()
        for row in rows:
            if row.state is DeliveryState.RETRY_WAIT and row.due_at is not None and row.due_at - now < _NEAR:
                wait = timedelta(seconds=max(0, math.ceil((row.due_at - now).total_seconds())))
                alarms[row.channel, row.priority, wait].append(row.id)
        await self._ask(alarms)

    async def _ask(self, wanted: Mapping[tuple[str, str, timedelta], Collection[DeliveryId]]) -> None:
        for (channel, priority, wait), ids in wanted.items():
            await self._executor.schedule(channel, list(ids), delay=wait, priority=priority)
