"""Pure: what becomes of a send of which nobody knows whether it arrived.

Where the provider knows a repeat, it is repeated while it does; otherwise its receipt is waited for. A provider that
reports every send in the end (`receipt_within`) and stays silent has not sent it: then it is tried once more, and after
a second silence it has failed. Without any such promise it stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from hub.core.delivery import Delivery, DeliveryState, HopContext, Step
from hub.core.outcome import Reason
from hub.core.retry import RetryPolicy, delay
from hub.core.steps import expired, fail, finish, impatient, onward, same

State = DeliveryState


def in_doubt(
    delivery: Delivery,
    reason: Reason,
    now: datetime,
    hop: HopContext,
    retry: RetryPolicy,
    jitter: Callable[[], float],
) -> Step:
    """A try ended without an answer."""
    if delivery.state is not State.ATTEMPTING:
        return same(delivery)
    doubtful = replace(delivery, doubt_since=delivery.doubt_since or delivery.tried_at or now)
    due = now + delay(retry, delivery.attempts, jitter())
    if hop.repeatable and _worth_it(doubtful, due, hop, retry):
        return Step(replace(doubtful, state=State.RETRY_WAIT, reason=reason, due_at=due))
    return _wait_for_receipt(doubtful, reason, now, hop)


def retry_in_doubt(
    delivery: Delivery, reason: Reason, due: datetime, now: datetime, hop: HopContext, retry: RetryPolicy
) -> Step:
    """The provider said "not now" to a repeat. What may have arrived is repeated in time or not at all, and is not
    called failed."""
    if _worth_it(delivery, due, hop, retry):
        return Step(replace(delivery, state=State.RETRY_WAIT, reason=reason, due_at=due))
    return _wait_for_receipt(delivery, reason, now, hop)


def no_news(delivery: Delivery, now: datetime, hop: HopContext, retry: RetryPolicy) -> Step:
    """The time is over in which a receipt would have come."""
    if not hop.hold_unknown:
        return Step(replace(delivery, due_at=None, escalated=True), next_hop=onward(delivery))
    if hop.receipt_within is None:
        return Step(replace(delivery, due_at=None))
    if hop.repeatable:
        return Step(finish(delivery, State.UNKNOWN, Reason.NO_RECEIPT))
    if delivery.read:
        return Step(replace(delivery, due_at=None))
    if expired(delivery, now):
        return fail(delivery, Reason.EXPIRED)
    first_silence = delivery.tried_at is None or delivery.doubt_since == delivery.tried_at
    left = delivery.attempts - delivery.spent < retry.attempts and not impatient(delivery, now, retry)
    if first_silence and left:
        return Step(replace(delivery, state=State.RETRY_WAIT, reason=Reason.NO_RECEIPT, due_at=now))
    return fail(delivery, Reason.UNKNOWN)


def _worth_it(delivery: Delivery, due: datetime, hop: HopContext, retry: RetryPolicy) -> bool:
    if delivery.attempts - delivery.spent >= retry.attempts or delivery.read or delivery.reason is not None:
        return False
    if expired(delivery, due) or impatient(delivery, due, retry):
        return False
    if not hop.repeatable or hop.repeatable_for is None or delivery.doubt_since is None:
        return True
    return due < delivery.doubt_since + hop.repeatable_for


def _wait_for_receipt(delivery: Delivery, reason: Reason, now: datetime, hop: HopContext) -> Step:
    """With a policy that goes on where a send is unknown, no longer than the hop itself may take."""
    receipt = None if hop.receipt_within is None else (delivery.tried_at or now) + hop.receipt_within
    patience = hop.patience_from(now)
    due = patience if receipt is None else receipt
    if not hop.hold_unknown:
        due = min((at for at in (receipt, patience) if at is not None), default=now)
    return Step(replace(delivery, state=State.UNKNOWN, reason=reason, due_at=due))
