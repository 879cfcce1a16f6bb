"""The ledger of subscriptions in this process's memory; what happens in one call happens at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hub.core.accounts import AccountId, GrantBalance, GrantKey, Reservation
from hub.core.books import GRANTS_MOST, HOLDERS_SHOWN
from hub.core.delivery import DeliveryId
from hub.core.ports import Clock


@dataclass(slots=True)
class _Row:
    updated_at: datetime
    remaining: int = 0
    unlimited: bool = False
    epoch: int = 0
    """One life of the row between two clearings: what was reserved in another is not given back."""


@dataclass(frozen=True, slots=True)
class _Hold:
    key: GrantKey
    at: datetime
    epoch: int
    counted: bool
    spent: bool = False


class MemoryGrants:
    """`GrantBook`."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[GrantKey, _Row] = {}
        self._holds: dict[DeliveryId, _Hold] = {}
        self._once: dict[tuple[GrantKey, str], datetime] = {}

    def _row(self, key: GrantKey) -> _Row:
        row = self._rows.setdefault(key, _Row(self._clock()))
        row.updated_at = self._clock()
        return row

    async def add(self, key: GrantKey, count: int, *, once: str) -> bool:
        """See the port."""
        if count < 1:
            raise ValueError(count)
        if (key, once) in self._once:
            return False
        self._once[key, once] = self._clock()
        row = self._row(key)
        row.remaining = min(row.remaining + count, GRANTS_MOST)
        return True

    async def set_unlimited(self, key: GrantKey, unlimited: bool) -> None:
        """See the port."""
        self._row(key).unlimited = unlimited

    async def clear(self, key: GrantKey) -> None:
        """See the port."""
        if key in self._rows:
            row = self._row(key)
            row.remaining = 0
            row.unlimited = False
            row.epoch += 1

    async def reserve(self, key: GrantKey, delivery: DeliveryId, *, now: datetime) -> Reservation:
        """See the port."""
        hold = self._holds.get(delivery)
        if hold is not None:
            return Reservation.SPENT if hold.spent else Reservation.HELD
        row = self._rows.get(key)
        if row is None or (not row.unlimited and row.remaining < 1):
            return Reservation.NONE_LEFT
        if not row.unlimited:
            row.remaining -= 1
        row.updated_at = self._clock()
        self._holds[delivery] = _Hold(key, now, row.epoch, counted=not row.unlimited)
        return Reservation.MADE

    async def commit(self, delivery: DeliveryId) -> None:
        """See the port."""
        hold = self._holds.get(delivery)
        if hold is not None:
            self._holds[delivery] = replace(hold, spent=True)

    async def release(self, delivery: DeliveryId) -> None:
        """See the port."""
        hold = self._holds.get(delivery)
        if hold is None or hold.spent:
            return
        del self._holds[delivery]
        row = self._row(hold.key)
        if hold.counted and hold.epoch == row.epoch:
            row.remaining = min(row.remaining + 1, GRANTS_MOST)

    async def holders(self, key: GrantKey) -> Sequence[DeliveryId]:
        """See the port."""
        held = [(h.at, delivery) for delivery, h in self._holds.items() if h.key == key and not h.spent]
        return [delivery for _, delivery in sorted(held)[:HOLDERS_SHOWN]]

    async def noted(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        """See the port."""
        return [delivery for delivery in deliveries if delivery in self._holds]

    async def stale(self, before: datetime, limit: int) -> Sequence[DeliveryId]:
        """See the port."""
        held = [(h.at, delivery) for delivery, h in self._holds.items() if not h.spent and h.at < before]
        return [delivery for _, delivery in sorted(held)[:limit]]

    async def balances(self, account: AccountId, address: str) -> Sequence[GrantBalance]:
        """See the port."""
        own = [key for key in self._rows if key.account == account and key.address == address]
        return [self._balance(key) for key in sorted(own, key=lambda key: key.template)]

    def _balance(self, key: GrantKey) -> GrantBalance:
        row = self._rows[key]
        reserved = sum(hold.key == key and not hold.spent for hold in self._holds.values())
        return GrantBalance(key, row.remaining, reserved, row.unlimited, row.updated_at)

    async def forget(self, before: datetime) -> int:
        """See the port."""
        spent = [delivery for delivery, hold in self._holds.items() if hold.spent and hold.at < before]
        counted = [key for key, at in self._once.items() if at < before]
        for delivery in spent:
            del self._holds[delivery]
        for key in counted:
            del self._once[key]
        return len(spent) + len(counted)

    def forget_account(self, account: AccountId) -> None:
        """It was deleted."""
        self._rows = {key: row for key, row in self._rows.items() if key.account != account}
        self._holds = {id_: hold for id_, hold in self._holds.items() if hold.key.account != account}
        self._once = {key: at for key, at in self._once.items() if key[0].account != account}
