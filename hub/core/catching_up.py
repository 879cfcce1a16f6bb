"""News of deliveries that was written down and not acted upon: whoever heard it died before it was settled."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from hub.core.advancing import Advancer
from hub.core.channel import Registry
from hub.core.delivery import Delivery, DeliveryState, Event, ReadReceipt
from hub.core.outcome import Accepted, Delivered, Outcome
from hub.core.policy import Success
from hub.core.ports import Clock, DeliveryStore, Housekeeping, MessageStore, Parked
from hub.core.receipts import Receipt, decode, encode
from hub.core.routing_ports import RoutingStore

log = logging.getLogger("hub.dispatch")

_WATCHED = timedelta(hours=1)
"""An id is saved within the lease of its try. What is older belongs to sends of others who share the account, or is
found when the send that it speaks of lapses."""


class CatchingUp:
    """Settles what is known already. Every verb may be called twice, by two processes at once."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        messages: MessageStore,
        parking: Housekeeping,
        routing: RoutingStore,
        channels: Registry,
        advancer: Advancer,
        clock: Clock,
    ) -> None:
        self._store = store
        self._messages = messages
        self._parking = parking
        self._routing = routing
        self._channels = channels
        self._advancer = advancer
        self._clock = clock

    async def park(self, channel: str, provider_id: str, receipt: Receipt, *, about: str = "") -> None:
        """Keep a receipt whose delivery is not known yet. It may have become known between the look and this: whoever
        comes second looks again."""
        await self._parking.park_receipt(channel, provider_id, encode(receipt), self._clock(), about=about)
        await self._settle(await self._parking.parked(channel, [provider_id]))

    async def overtaken(self, *, limit: int) -> int:
        """Parked receipts that nobody lived to settle. Returns how many there were."""
        found = await self._parking.overtaken(since=self._clock() - _WATCHED, limit=limit)
        await self._settle(found)
        return len(found)

    async def answered(self, results: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Receipts that overtook the ids just saved."""
        ids: dict[str, list[str]] = defaultdict(list)
        for row, outcome in results:
            if isinstance(outcome, Accepted) and outcome.provider_id is not None:
                ids[row.channel].append(outcome.provider_id)
        await self._parked_for(ids)

    async def before_lapse(self, rows: Collection[Delivery]) -> None:
        """Before these are taken for unanswered: a receipt may be parked, a device may have acknowledged and a person
        may have read what nobody lived to settle."""
        waiting = [row for row in rows if row.state in (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)]
        ids: dict[str, list[str]] = defaultdict(list)
        for row in waiting:
            if row.provider_id is not None:
                ids[row.channel].append(row.provider_id)
        await self._parked_for(ids)
        heard = {**await self._acknowledged(waiting), **await self._read(rows)}
        await self._advancer.apply(heard)

    async def _acknowledged(self, rows: Sequence[Delivery]) -> Mapping[Delivery, Event]:
        asked = [row for row in rows if self._knows_presence(row.channel)]
        reached = await self._messages.acknowledged({row.user for row in asked}) if asked else {}
        return {row: Delivered() for row in asked if reached.get(row.user, 0) >= row.user_seq}

    async def _read(self, rows: Collection[Delivery]) -> Mapping[Delivery, Event]:
        """Only where reading is what the hop waits for, or what ends it: elsewhere it would change its course."""
        seen = (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN, DeliveryState.DELIVERED)
        open_ = [row for row in rows if row.state in seen and not row.read and not row.escalated]
        if not open_:
            return {}
        known = await self._advancer.known(open_)
        asked = []
        for row in open_:
            draft = known.draft_of(row)
            if draft is None or row.hop >= len(draft.policy.hops):
                continue
            if "read" in draft.policy.stop_on or draft.policy.hops[row.hop].success is Success.READ:
                asked.append(row)
        facts = await self._routing.facts(asked) if asked else {}
        return {row: ReadReceipt() for row in asked if row.id in facts and facts[row.id].read}

    def _knows_presence(self, name: str) -> bool:
        channel = self._channels.get(name)
        return channel is not None and channel.capabilities.knows_presence

    async def _parked_for(self, ids: Mapping[str, Collection[str]]) -> None:
        for channel, said in ids.items():
            await self._settle(await self._parking.parked(channel, said))

    async def _settle(self, parked: Sequence[Parked]) -> None:
        """Settled first and removed then: who dies in between leaves it to the sweep."""
        if not parked:
            return
        receipts: dict[str, Receipt] = {}
        for one in parked:
            try:
                receipts[one.delivery] = decode(one.receipt)
            except (ValueError, KeyError):
                # Of another release, say. The others must not wait for it.
                log.warning("parked_receipt_unreadable", extra={"delivery": one.delivery})
        done = [one for one in parked if one.delivery in receipts]
        rows = await self._store.deliveries([one.delivery for one in done])
        await self._advancer.apply({row: receipts[row.id] for row in rows})
        await self._parking.unpark(done)
