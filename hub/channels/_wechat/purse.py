"""One send and the grant that it uses up: set aside before the call, spent, given back or kept in doubt after it.

WeChat knows no repeat of a subscribe message. So whoever finds a grant set aside by an earlier try sends again only
where that try is known not to have arrived, or where the time for its receipt is over.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from hub.channels._wechat.answers import Sent
from hub.channels._wechat.faults import Effect, Failure, Kind, Pauses, outcome_of
from hub.channels._wechat.receipts import about
from hub.core.accounts import GrantBook, GrantKey, Reservation
from hub.core.delivery import Delivery, DeliveryState
from hub.core.errors import HubError
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Unknown
from hub.core.ports import DeliveryStore

log = logging.getLogger("hub.wechat")

RECEIPT_WITHIN: Final = timedelta(minutes=10)
"""The event for a send comes within seconds; one that is tried three times comes within a minute. What WeChat has not
told of by then was not sent."""

_SLACK: Final = timedelta(seconds=30)
"""Clocks of two machines differ, and the engine asks as soon as the window is over by its own. A window that was set
shorter leaves a quarter of it."""
_DONE: Final = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED})
_SPENT: Final = "accepted at an earlier try"
_ARRIVED: Final = "not sent again: WeChat's event tells of an earlier try"
_SPENT_BEFORE: Final = Rejected(
    Reason.QUOTA_EXHAUSTED,
    "the grant was used by the send that is replayed; a new notification needs a new one",
    "wx.grant.used_up",
)
_WAITING: Final = Unknown(Reason.NO_RECEIPT, "not sent again: an earlier try may have arrived")


@dataclass(frozen=True, slots=True)
class Held:
    """A grant set aside. `doubt`: an earlier try of the same delivery may have used it."""

    key: GrantKey
    delivery: Delivery
    unlimited: bool
    doubt: bool


class Strays(Protocol):
    """core.ports.Housekeeping, as far as it is needed here."""

    async def claim_stray(self, delivery: Delivery, about: str) -> str | None:
        """The provider id of a receipt that can only be of a lost try of this delivery; to one caller only."""
        ...


class Purse:
    """`take` before a send, `settle` after it. With `strays` a lost send whose event has come is not repeated."""

    def __init__(
        self,
        grants: GrantBook,
        *,
        pauses: Pauses | None = None,
        receipt_within: timedelta = RECEIPT_WITHIN,
        strays: Strays | None = None,
    ) -> None:
        self._grants = grants
        self._strays = strays
        self._window = receipt_within - min(_SLACK, receipt_within / 4)
        self._pauses = pauses or Pauses()

    async def take(
        self, key: GrantKey, delivery: Delivery, *, unlimited: bool, now: datetime
    ) -> Held | Outcome:
        """Set a grant aside, or the outcome where nothing must be sent. May raise errors.Unavailable."""
        doubt = delivery.doubt_since
        early = doubt is not None and now - doubt < self._window
        match await self._grants.reserve(key, delivery.id, now=now):
            case Reservation.SPENT if delivery.replayed_at is not None:
                return _SPENT_BEFORE
            case Reservation.SPENT:
                return Accepted(await self._stray(key, delivery), _SPENT)
            case Reservation.NONE_LEFT:
                return await self._none_left(key)
            case Reservation.MADE if early:
                await self._grants.release(delivery.id)
                return _WAITING
            case Reservation.HELD if early:
                return _WAITING
            case Reservation.MADE | Reservation.HELD:
                arrived = await self._stray(key, delivery)
                if arrived is not None:
                    await self._grants.commit(delivery.id)
                    return Accepted(arrived, _ARRIVED)
                return Held(key, delivery, unlimited, doubt is not None)

    async def settle(
        self, held: Held, result: Sent | Failure, *, provider_id: str | None, now: datetime
    ) -> Outcome:
        """What a delivery makes of the answer. Where the ledger cannot be written it catches up later: a grant too few
        costs one question to the person, one too many a refused send."""
        if isinstance(result, Sent):
            await self._write("commit", held)
            return Accepted(provider_id)
        if result.effect is Effect.NO_GRANT:
            return await self._refused(held, result, now)
        if result.kind is not Kind.AMBIGUOUS and not (held.doubt and result.kind is not Kind.MESSAGE):
            await self._write("release", held)
        return outcome_of(result, now=now, attempt=held.delivery.attempts, pauses=self._pauses)

    async def tidy(self, deliveries: DeliveryStore, *, before: datetime, limit: int) -> int:
        """End the reservations older than `before` whose deliveries are over: what may have arrived counts as sent.
        Returns how many. May raise errors.Unavailable."""
        stale = await self._grants.stale(before, limit)
        rows = {row.id: row for row in await deliveries.deliveries(stale)}
        ended = 0
        for delivery in stale:
            row = rows.get(delivery)
            if row is not None and not (row.state.final or row.state in _DONE or row.settled):
                continue
            sent = row is None or row.state in _DONE or row.doubt_since is not None
            await (self._grants.commit(delivery) if sent else self._grants.release(delivery))
            ended += 1
        return ended

    async def _refused(self, held: Held, failure: Failure, now: datetime) -> Outcome:
        """43101: nothing is left. After a doubtful try of a one-time grant that is because the try arrived."""
        arrived = held.doubt and not held.unlimited
        await self._write("clear", held)  # first: what is given back after it does not count
        await self._write("commit" if arrived else "release", held)
        if arrived:
            return Accepted(None, f"probably delivered by an earlier try: {failure.detail}")
        return outcome_of(failure, now=now, attempt=held.delivery.attempts, pauses=self._pauses)

    async def _stray(self, key: GrantKey, delivery: Delivery) -> str | None:
        """The number of an event that came for this template and person while nobody knew whose it was."""
        if self._strays is None or delivery.doubt_since is None:
            return None
        return await self._strays.claim_stray(delivery, about(key))

    async def _none_left(self, key: GrantKey) -> Rejected:
        balances = await self._grants.balances(key.account, key.address)
        if any(balance.key == key for balance in balances):
            return Rejected(
                Reason.QUOTA_EXHAUSTED, "all that the person agreed to has been sent", "wx.grant.used_up"
            )
        return Rejected(Reason.OPT_IN_REQUIRED, "the person has not agreed to this template", "wx.grant.none")

    async def _write(self, verb: str, held: Held) -> None:
        try:
            match verb:
                case "commit":
                    await self._grants.commit(held.delivery.id)
                case "release":
                    await self._grants.release(held.delivery.id)
                case _:
                    await self._grants.clear(held.key)
        except HubError as error:
            extra = {"verb": verb, "delivery": held.delivery.id, "error": error.code}
            log.warning("grant_not_written", extra=extra)
