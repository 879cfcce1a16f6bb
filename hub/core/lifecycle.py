"""The pure heart of delivery: (delivery, event, now) -> Step. No clock, no I/O, no randomness of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from hub.core.delivery import (
    Canceled,
    Claimed,
    Delivery,
    DeliveryState,
    Event,
    HopContext,
    Lapsed,
    ReadReceipt,
    Step,
)
from hub.core.outcome import Accepted, Delivered, Reason, Rejected, Retry, Unknown
from hub.core.policy import Success
from hub.core.retry import RetryPolicy, delay

Jitter = Callable[[], float]
State = DeliveryState

_REACHED = {State.ACCEPTED: 1, State.DELIVERED: 2}
_WANTED = {Success.ACCEPTED: 1, Success.DELIVERED: 2, Success.READ: 3, Success.ACTED: 3}


def advance(
    delivery: Delivery, event: Event, *, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter
) -> Step:
    """What `event` makes of `delivery`. Any event may come twice, late or early; none undoes a final state."""
    match event:
        case Claimed(lease_until):
            return _claim(delivery, lease_until, now)
        case Delivered(provider_id):
            return _progress(delivery, State.DELIVERED, provider_id, now, hop)
        case Accepted(provider_id):
            return _progress(delivery, State.ACCEPTED, provider_id, now, hop)
        case Retry(reason, after):
            if delivery.state is not State.ATTEMPTING:
                return _same(delivery)
            pause = after if after is not None else delay(retry, delivery.attempts, jitter())
            return _again(delivery, reason, now + pause, retry)
        case Rejected(reason):
            return _reject(delivery, reason)
        case Unknown(reason):
            return _unknown(delivery, reason, now, hop, retry, jitter)
        case ReadReceipt():
            return _read(delivery)
        case Canceled(reason):
            if not delivery.state.cancelable:
                return _quiet(delivery)
            return Step(_end(delivery, State.CANCELED, reason))
        case Lapsed():
            return _lapse(delivery, now, hop, retry, jitter)
        case _:
            assert_never(event)


def _same(delivery: Delivery) -> Step:
    return Step(delivery, changed=False)


def _quiet(delivery: Delivery) -> Step:
    """Nothing left to wait for: the escalation timer stops, the state stays."""
    if delivery.escalated or delivery.state is State.ATTEMPTING:
        return _same(delivery)
    return Step(replace(delivery, due_at=None, escalated=True))


def _end(delivery: Delivery, state: State, reason: Reason | None) -> Delivery:
    return replace(delivery, state=state, reason=reason, due_at=None)


def _claim(delivery: Delivery, lease_until: datetime, now: datetime) -> Step:
    if delivery.state not in (State.QUEUED, State.RETRY_WAIT, State.WAITING):
        return _same(delivery)
    if delivery.expires_at is not None and delivery.expires_at <= now:
        return _expire(delivery)
    return Step(replace(delivery, state=State.ATTEMPTING, attempts=delivery.attempts + 1, due_at=lease_until))


def _expire(delivery: Delivery) -> Step:
    state = State.FAILED if delivery.attempts else State.SKIPPED
    return Step(replace(_end(delivery, state, Reason.EXPIRED), escalated=True))


def _progress(
    delivery: Delivery, state: State, provider_id: str | None, now: datetime, hop: HopContext
) -> Step:
    """Accepted or delivered. A receipt may settle what looked lost, but never what was not sent at all."""
    if delivery.state.final or _REACHED.get(delivery.state, 0) >= _REACHED[state]:
        return _same(delivery)
    content = _REACHED[state] >= _WANTED[hop.hop.success] or delivery.read or delivery.escalated
    patience = None if content or hop.hop.wait is None else now + hop.hop.wait
    return Step(
        replace(
            delivery,
            state=state,
            provider_id=provider_id or delivery.provider_id,
            reason=None,
            due_at=patience,
            escalated=delivery.escalated or content,
        )
    )


def _again(delivery: Delivery, reason: Reason, due: datetime, retry: RetryPolicy) -> Step:
    if delivery.attempts >= retry.attempts:
        return _fail(delivery, Reason.ATTEMPTS_EXHAUSTED)
    if delivery.expires_at is not None and due >= delivery.expires_at:
        return _fail(delivery, Reason.EXPIRED)
    return Step(replace(delivery, state=State.RETRY_WAIT, reason=reason, due_at=due))


def _fail(delivery: Delivery, reason: Reason) -> Step:
    """Failed for good: the cascade goes on, unless it already did or the person has read it."""
    onward = not (delivery.escalated or delivery.read or reason is Reason.EXPIRED)
    return Step(replace(_end(delivery, State.FAILED, reason), escalated=True), next_hop=onward)


def _reject(delivery: Delivery, reason: Reason) -> Step:
    if delivery.state.final:
        return _same(delivery)
    if delivery.attempts == 0:
        onward = not (delivery.escalated or delivery.read)
        return Step(replace(_end(delivery, State.SKIPPED, reason), escalated=True), next_hop=onward)
    return _fail(delivery, reason)


def _unknown(
    delivery: Delivery, reason: Reason, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter
) -> Step:
    """Repeat where a repeat is harmless; otherwise wait for a receipt as long as the hop is patient."""
    if delivery.state is not State.ATTEMPTING:
        return _same(delivery)
    if hop.repeatable and delivery.attempts < retry.attempts:
        pause = delay(retry, delivery.attempts, jitter())
        return _again(delivery, reason, now + pause, retry)
    patience = None if hop.hop.wait is None else now + hop.hop.wait
    if patience is None and not hop.hold_unknown:
        patience = now
    return Step(replace(delivery, state=State.UNKNOWN, reason=reason, due_at=patience))


def _read(delivery: Delivery) -> Step:
    if delivery.read:
        return _same(delivery)
    seen = replace(delivery, read=True)
    if delivery.state.cancelable:
        return Step(replace(_end(seen, State.CANCELED, Reason.READ), escalated=True))
    if delivery.state is State.ATTEMPTING:
        return Step(replace(seen, escalated=True))
    return Step(replace(seen, due_at=None, escalated=True))


def _lapse(delivery: Delivery, now: datetime, hop: HopContext, retry: RetryPolicy, jitter: Jitter) -> Step:
    if delivery.due_at is None or delivery.due_at > now:
        return _same(delivery)
    match delivery.state:
        case State.ATTEMPTING:
            return _unknown(delivery, Reason.WORKER_LOST, now, hop, retry, jitter)
        case State.ACCEPTED | State.DELIVERED | State.UNKNOWN:
            onward = not (delivery.escalated or delivery.read)
            if delivery.state is State.UNKNOWN and hop.hold_unknown:
                onward = False
            return Step(replace(delivery, due_at=None, escalated=True), next_hop=onward)
        case State.PLANNED:
            return Step(replace(delivery, state=State.QUEUED))
        case State.QUEUED | State.RETRY_WAIT | State.WAITING:
            return _same(delivery)
        case State.SKIPPED | State.FAILED | State.CANCELED:
            return Step(replace(delivery, due_at=None))
        case _:
            assert_never(delivery.state)
