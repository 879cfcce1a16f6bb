"""The pure heart of delivery: (delivery, event, now) -> Step. No clock, no I/O, no randomness of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from hub.core.delivery import (
    Acted,
    Canceled,
    Claimed,
    Delivery,
    DeliveryState,
    Event,
    Held,
    HopContext,
    Joined,
    Lapsed,
    ReadReceipt,
    Replayed,
    Step,
)
from hub.core.doubt import in_doubt, no_news, retry_in_doubt
from hub.core.outcome import Accepted, Delivered, Reason, Rejected, Retry, Unknown
from hub.core.policy import Success
from hub.core.retry import RetryPolicy, delay
from hub.core.steps import expired, fail, finish, impatient, onward, same

Jitter = Callable[[], float]
State = DeliveryState

_REACHED = {State.ACCEPTED: 1, State.DELIVERED: 2}
_WANTED = {Success.ACCEPTED: 1, Success.DELIVERED: 2, Success.READ: 3, Success.ACTED: 3}
_EARLY = timedelta(seconds=1)
"""How far before its time a waiting delivery may be claimed: alarms and clocks are not exact."""


def advance(
    delivery: Delivery, event: Event, *, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter
) -> Step:
    """What `event` makes of `delivery`. Any event may come twice, late or early; none but Replayed undoes a final
    state."""
    match event:
        case Claimed(lease_until):
            return _claim(delivery, lease_until, now)
        case Delivered(provider_id) | Accepted(provider_id):
            state = State.DELIVERED if isinstance(event, Delivered) else State.ACCEPTED
            return _progress(delivery, state, provider_id, now, hop)
        case Retry():
            return _not_now(delivery, event, now, hop, retry, jitter)
        case Rejected(reason):
            return _reject(delivery, reason)
        case Unknown(reason):
            return in_doubt(delivery, reason, now, hop, retry, jitter)
        case ReadReceipt() | Acted():
            return _answered(delivery, Reason.ACTED if isinstance(event, Acted) else Reason.READ)
        case Canceled(reason):
            return _cancel(delivery, reason)
        case Lapsed(unsent):
            return _lapse(delivery, unsent, now, hop, retry, jitter)
        case Held(until, reason):
            return _hold(delivery, until, reason, retry)
        case Joined():
            return _join(delivery)
        case Replayed():
            return _replay(delivery, now)
        case _:
            assert_never(event)


# While it is being tried, a delivery's reason says why no other try is wanted: it is None otherwise.


def _claim(delivery: Delivery, lease_until: datetime, now: datetime) -> Step:
    if delivery.state not in (State.QUEUED, State.RETRY_WAIT, State.WAITING):
        return same(delivery)
    if delivery.state is not State.QUEUED and delivery.due_at is not None and delivery.due_at > now + _EARLY:
        return same(delivery)  # a double or belated request: its time has not come
    if expired(delivery, now):
        return _expire(delivery)
    return Step(
        replace(
            delivery,
            state=State.ATTEMPTING,
            attempts=delivery.attempts + 1,
            due_at=lease_until,
            tried_at=now,
            reason=None,
        )
    )


def _expire(delivery: Delivery) -> Step:
    """Nothing more is sent. What may have arrived is not called failed."""
    if delivery.doubt_since is not None:
        return Step(replace(finish(delivery, State.UNKNOWN, Reason.EXPIRED), escalated=True))
    state = State.FAILED if delivery.attempts else State.SKIPPED
    return Step(replace(finish(delivery, state, Reason.EXPIRED), escalated=True))


def _progress(
    delivery: Delivery, state: State, provider_id: str | None, now: datetime, hop: HopContext
) -> Step:
    """Accepted or delivered. A receipt may settle what looked lost, but never what was not sent at all."""
    if delivery.state.final or _REACHED.get(delivery.state, 0) >= _REACHED[state]:
        return same(delivery)
    content = _REACHED[state] >= _WANTED[hop.hop.success] or delivery.read or delivery.escalated
    patience = None if content else hop.patience_from(_since(delivery, state, now))
    receipt = None
    if state is State.ACCEPTED and not delivery.read and hop.receipt_within is not None:
        receipt = (delivery.tried_at or now) + hop.receipt_within
    return Step(
        replace(
            delivery,
            state=state,
            provider_id=provider_id or delivery.provider_id,
            reason=None,
            tried_at=delivery.tried_at or now,
            due_at=min((at for at in (patience, receipt) if at is not None), default=None),
            escalated=delivery.escalated or content,
        )
    )


def _since(delivery: Delivery, state: State, now: datetime) -> datetime:
    """An accepted send's wait counts from its try, so that it can be told again later; a receipt begins a new one."""
    return delivery.tried_at or now if state is State.ACCEPTED else now


def _not_now(
    delivery: Delivery, said: Retry, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter
) -> Step:
    """To be tried again: while tries are left, it is worth it, and a repeat stays harmless."""
    if delivery.state is not State.ATTEMPTING:
        return same(delivery)
    pause = said.after if said.after is not None else delay(retry, delivery.attempts, jitter())
    if not said.tried:
        delivery = replace(delivery, attempts=max(delivery.attempts - 1, 0))
    due = now + pause
    if delivery.doubt_since is None and delivery.reason is not None:
        return Step(replace(finish(delivery, State.CANCELED, delivery.reason), escalated=True))
    if delivery.doubt_since is not None:
        return retry_in_doubt(delivery, said.reason, due, now, hop, retry)
    if delivery.expires_at is not None and due >= delivery.expires_at:
        return fail(delivery, Reason.EXPIRED)
    if delivery.attempts - delivery.spent >= retry.attempts or impatient(delivery, due, retry):
        return fail(delivery, Reason.ATTEMPTS_EXHAUSTED)
    return Step(replace(delivery, state=State.RETRY_WAIT, reason=said.reason, due_at=due))


def _reject(delivery: Delivery, reason: Reason) -> Step:
    """A receipt may refuse what was accepted; where nothing was tried, the hop was passed over."""
    if delivery.state.final:
        return same(delivery)
    if delivery.attempts == 0:
        skipped = replace(finish(delivery, State.SKIPPED, reason), escalated=True)
        return Step(skipped, next_hop=onward(delivery))
    return fail(delivery, reason)


def _answered(delivery: Delivery, reason: Reason) -> Step:
    """Read, or acted on: nothing more is sent, and nothing waited for."""
    if delivery.read:
        return same(delivery)
    seen = replace(delivery, read=True, escalated=True)
    if delivery.state.cancelable:
        return Step(finish(seen, State.CANCELED, reason))
    if delivery.state is State.ATTEMPTING:
        return Step(replace(seen, reason=reason))
    return Step(replace(seen, due_at=None))


def _cancel(delivery: Delivery, reason: Reason) -> Step:
    """What has not left is not sent. What has stays as it is, and no other hop follows."""
    if delivery.state.cancelable:
        return Step(replace(finish(delivery, State.CANCELED, reason), escalated=True))
    if delivery.state.final and delivery.due_at is None:
        return same(delivery)
    if delivery.state is State.ATTEMPTING and delivery.reason is None:
        return Step(replace(delivery, escalated=True, reason=reason))
    if delivery.state is State.ATTEMPTING or (delivery.escalated and delivery.state is not State.UNKNOWN):
        return same(delivery)
    return Step(replace(delivery, due_at=None, escalated=True))


def _hold(delivery: Delivery, until: datetime, reason: Reason, retry: RetryPolicy) -> Step:
    """Kept back until then; passed over where that is too late to be worth it."""
    if delivery.state not in (State.QUEUED, State.RETRY_WAIT, State.WAITING):
        return same(delivery)
    late = delivery.expires_at is not None and until >= delivery.expires_at
    if late or impatient(delivery, until, retry):
        return _reject(delivery, reason)
    if (delivery.state, delivery.reason, delivery.due_at) == (State.WAITING, reason, until):
        return same(delivery)
    return Step(replace(delivery, state=State.WAITING, reason=reason, due_at=until))


def _join(delivery: Delivery) -> Step:
    """Told by another: the person need not hear of it a second time by the next hop."""
    if delivery.state not in (State.QUEUED, State.RETRY_WAIT, State.WAITING):
        return same(delivery)
    return Step(replace(finish(delivery, State.SKIPPED, Reason.DIGESTED), escalated=True))


def _replay(delivery: Delivery, now: datetime) -> Step:
    if not (delivery.state.replayable and delivery.settled) or delivery.read or expired(delivery, now):
        return same(delivery)
    return Step(
        replace(
            delivery,
            state=State.QUEUED,
            reason=None,
            due_at=now,
            spent=delivery.attempts,
            replayed_at=now,
            doubt_since=None,
            provider_id=None,
        )
    )


def _lapse(
    delivery: Delivery, unsent: bool, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter
) -> Step:
    if delivery.due_at is None or delivery.due_at > now:
        return same(delivery)
    match delivery.state:
        case State.ATTEMPTING if unsent and delivery.doubt_since is None:
            nothing_left = Retry(Reason.WORKER_LOST, timedelta(0), tried=False)
            return _not_now(delivery, nothing_left, now, hop, retry, jitter)
        case State.ATTEMPTING:
            return in_doubt(delivery, Reason.WORKER_LOST, now, hop, retry, jitter)
        case State.UNKNOWN:
            return no_news(delivery, now, hop, retry)
        case State.ACCEPTED:
            return _no_receipt(delivery, now, hop)
        case State.DELIVERED:
            return Step(replace(delivery, due_at=None, escalated=True), next_hop=onward(delivery))
        case State.PLANNED:
            return Step(replace(delivery, state=State.QUEUED))
        case State.QUEUED | State.RETRY_WAIT | State.WAITING:
            return same(delivery)
        case State.SKIPPED | State.FAILED | State.CANCELED:
            return Step(replace(delivery, due_at=None))
        case _:
            assert_never(delivery.state)


def _no_receipt(delivery: Delivery, now: datetime, hop: HopContext) -> Step:
    """Of an accepted send two times run: the hop's wait, and that of its receipt. Each is noted when it is over."""
    since = delivery.tried_at
    patience = receipt = None
    if not delivery.escalated and hop.hop.wait is not None:
        patience = hop.patience_from(since) if since is not None else now
    if hop.receipt_within is not None:
        receipt = since + hop.receipt_within if since is not None else now
    ahead = [at for at in (patience, receipt) if at is not None and at > now]
    goes_on = patience is not None and patience <= now
    silent = receipt is not None and receipt <= now
    return Step(
        replace(
            delivery,
            due_at=min(ahead, default=None),
            escalated=delivery.escalated or goes_on,
            reason=Reason.NO_RECEIPT if silent else delivery.reason,
        ),
        next_hop=goes_on and onward(delivery),
    )
