"""Pure: the small moves that the rules of a delivery's life share."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hub.core.delivery import Delivery, DeliveryState, Step
from hub.core.outcome import Reason
from hub.core.retry import RetryPolicy


def same(delivery: Delivery) -> Step:
    """Nothing changes."""
    return Step(delivery, changed=False)


def finish(delivery: Delivery, state: DeliveryState, reason: Reason | None) -> Delivery:
    """In this state, with nothing more to come by itself."""
    return replace(delivery, state=state, reason=reason, due_at=None)


def onward(delivery: Delivery) -> bool:
    """Whether the next hop is to follow: it does so once, and not for what the person has seen."""
    return not (delivery.escalated or delivery.read)


def fail(delivery: Delivery, reason: Reason) -> Step:
    """Failed for good: the cascade goes on, except where the whole notification has expired."""
    goes_on = onward(delivery) and reason is not Reason.EXPIRED
    return Step(replace(finish(delivery, DeliveryState.FAILED, reason), escalated=True), next_hop=goes_on)


def expired(delivery: Delivery, at: datetime) -> bool:
    """Whether it is not worth sending any more."""
    return delivery.expires_at is not None and delivery.expires_at <= at


def impatient(delivery: Delivery, until: datetime, retry: RetryPolicy) -> bool:
    """Whether waiting until then is longer than anything may wait for its turn."""
    return until > (delivery.replayed_at or delivery.created_at) + retry.patience
