"""One try of deliveries that this process holds the lease of: the call, its bounds, and what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from hub.core.advancing import Advancer, Known
from hub.core.channel import Channel, Envelope, Registry
from hub.core.delivery import Attempt, Delivery, DeliveryId
from hub.core.errors import Unavailable
from hub.core.identity import Recipient
from hub.core.message import Message, MessageId, UserKey
from hub.core.outcome import Accepted, Delivered, Outcome, Reason, Rejected, Unknown
from hub.core.ports import Clock, DeliveryStore, MessageStore
from hub.core.routing_ports import RoutingStore

log = logging.getLogger("hub.dispatch")

_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0)
"""Seconds between tries of writing what came of a call."""


class Trier:
    """Calls channels. No database connection is held while a provider answers."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        messages: MessageStore,
        routing: RoutingStore,
        channels: Registry,
        advancer: Advancer,
        call_timeout: timedelta,
        clock: Clock,
    ) -> None:
        self._store = store
        self._messages = messages
        self._routing = routing
        self._channels = channels
        self._advancer = advancer
        self._call_timeout = call_timeout.total_seconds()
        self._clock = clock
        self.tries: Counter[tuple[str, str]] = Counter()
        """How tries of this process ended, by channel and outcome."""

    async def attempt(self, claimed: Sequence[Delivery]) -> list[tuple[Delivery, Outcome]]:
        """Try each once and note its outcome."""
        groups = by_channel(claimed).items()
        results = await asyncio.gather(*(self._attempt_on(name, some) for name, some in groups))
        return [result for some in results for result in some]

    async def _attempt_on(self, name: str, claimed: Sequence[Delivery]) -> list[tuple[Delivery, Outcome]]:
        channel = self._channels.get(name)
        size = channel.capabilities.batch if channel else len(claimed)
        bodies = await self._messages.messages({d.message for d in claimed})
        people = await self._store.recipients({d.user for d in claimed})
        known = await self._advancer.known(claimed)
        results: list[tuple[Delivery, Outcome]] = []
        for start in range(0, len(claimed), max(size, 1)):
            some = claimed[start : start + size]
            envelopes = await self._envelopes(some, bodies, people, known)
            outcomes = await self._call(channel, envelopes)
            if channel is not None and channel.capabilities.knows_presence:
                outcomes = await self._already_there(envelopes, outcomes)
            ready = {e.delivery.id for e in envelopes}
            done: list[tuple[Delivery, Outcome]] = [
                (e.delivery, outcome) for e, outcome in zip(envelopes, outcomes, strict=True)
            ]
            done += [(d, Rejected(Reason.EXPIRED)) for d in some if d.id not in ready]
            await self._finish(done)
            results += done
        return results

    async def _envelopes(
        self,
        rows: Sequence[Delivery],
        bodies: Mapping[MessageId, Message],
        people: Mapping[UserKey, Recipient],
        known: Known,
    ) -> list[Envelope]:
        """Those whose body and person are still there."""
        ready = [row for row in rows if row.message in bodies and row.user in people]
        drafts = {row.id: known.draft_of(row) for row in ready}
        gathered = [id_ for id_, draft in drafts.items() if draft is not None and draft.policy.digest]
        sizes: Mapping[DeliveryId, int] = await self._routing.digest_sizes(gathered) if gathered else {}
        return [
            Envelope(
                row,
                bodies[row.message],
                people[row.user],
                drafts[row.id],
                digest_of=max(sizes.get(row.id, 1), 1),
            )
            for row in ready
        ]

    async def _call(self, channel: Channel | None, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """One call, one try. What a channel must not do (raise, hang, miscount) becomes an outcome here."""
        if not batch:
            return []
        if channel is None:
            return [Rejected(Reason.NO_CHANNEL)] * len(batch)
        try:
            async with asyncio.timeout(self._call_timeout):
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
        """Counted, and written again and again while the lease lasts: what a provider has answered must not come to be
        in doubt because the database was away for a moment."""
        now = self._clock()
        self.tries.update((d.channel, type(outcome).__name__.lower()) for d, outcome in results)
        attempts = [Attempt(d.id, d.attempts, d.tried_at or now, now, outcome) for d, outcome in results]
        leases = [d.due_at for d, _ in results if d.due_at is not None]
        for pause in _PAUSES:
            try:
                await self._write(results, attempts)
            except Unavailable as error:
                if self._clock() + timedelta(seconds=pause) >= min(leases, default=now):
                    raise
                log.warning("outcomes_not_written", extra={"deliveries": len(results), "code": error.code})
                await asyncio.sleep(pause)
            else:
                return
        await self._write(results, attempts)

    async def _write(self, results: Sequence[tuple[Delivery, Outcome]], attempts: Sequence[Attempt]) -> None:
        if await self._advancer.apply(dict(results), attempts) < len(results):
            # Some had come further meanwhile. How their try ended belongs to their story all the same.
            await self._store.note_attempts(attempts)

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


def by_channel(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    """The deliveries of each channel."""
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in rows:
        found[row.channel].append(row)
    return found
