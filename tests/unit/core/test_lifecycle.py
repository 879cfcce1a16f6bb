"""Properties of the delivery life cycle, over every history of events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.core.delivery import (
    Acted,
    Canceled,
    Claimed,
    Delivery,
    DeliveryId,
    DeliveryState,
    Event,
    Held,
    HopContext,
    Lapsed,
    ReadReceipt,
    Replayed,
    Step,
)
from hub.core.lifecycle import advance
from hub.core.message import AppId, ConversationId, MessageId, UserKey
from hub.core.outcome import Accepted, Delivered, Reason, Rejected, Retry, Unknown
from hub.core.policy import Hop, Success
from hub.core.retry import RetryPolicy
from hub.core.worktime import DEFAULT_CALENDAR

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RETRY = RetryPolicy(attempts=4, base=timedelta(seconds=2), cap=timedelta(minutes=1))
S = DeliveryState

events: st.SearchStrategy[Event] = st.one_of(
    st.just(Claimed(NOW + timedelta(minutes=2))),
    st.builds(Accepted, st.sampled_from([None, "p-1"])),
    st.builds(Delivered, st.sampled_from([None, "p-1"])),
    st.builds(
        Retry,
        st.sampled_from(list(Reason)),
        st.sampled_from([None, timedelta(hours=1)]),
        tried=st.booleans(),
    ),
    st.builds(Rejected, st.sampled_from(list(Reason))),
    st.builds(Unknown, st.sampled_from(list(Reason))),
    st.just(ReadReceipt()),
    st.builds(Canceled, st.sampled_from([Reason.RECALLED, Reason.ACTED])),
    st.just(Lapsed()),
    st.just(Acted()),
    st.builds(
        Held,
        st.sampled_from([NOW + timedelta(minutes=5), NOW + timedelta(days=9)]),
        st.sampled_from([Reason.QUIET_HOURS, Reason.FREQUENCY_CAP]),
    ),
)
contexts = st.builds(
    HopContext,
    st.builds(
        Hop,
        st.just("scripted"),
        st.sampled_from(list(Success)),
        st.sampled_from([None, timedelta(seconds=60)]),
    ),
    repeatable=st.booleans(),
    hold_unknown=st.booleans(),
    repeatable_for=st.sampled_from([None, timedelta(minutes=9)]),
    receipt_within=st.sampled_from([None, timedelta(seconds=30), timedelta(hours=2)]),
    calendar=st.sampled_from([None, DEFAULT_CALENDAR]),
)
CONTEXT = HopContext(
    Hop("scripted", Success.READ, timedelta(seconds=60)), repeatable=False, hold_unknown=True
)


def a_delivery(state: DeliveryState = S.QUEUED, attempts: int = 0) -> Delivery:
    return Delivery(
        id=DeliveryId("dlv_1"),
        app=AppId("app_1"),
        message=MessageId("msg_1"),
        notification=None,
        conversation=ConversationId("cnv_1"),
        seq=1,
        user=UserKey(1),
        user_seq=1,
        hop=0,
        channel="scripted",
        state=state,
        created_at=NOW,
        attempts=attempts,
        due_at=NOW,
    )


def step(
    delivery: Delivery, event: Event, *, now: datetime = NOW, hop: HopContext = CONTEXT, jitter: float = 1.0
) -> Step:
    return advance(delivery, event, now=now, hop=hop, retry=RETRY, jitter=lambda: jitter)


@given(st.lists(events, max_size=30), contexts)
def test_a_final_state_stays_final(history: list[Event], hop: HopContext) -> None:
    delivery = a_delivery()
    for event in history:
        after = step(delivery, event, hop=hop).delivery
        if delivery.state.final:
            assert after.state is delivery.state
        delivery = after


@given(st.lists(events, max_size=40), contexts)
def test_the_next_hop_is_asked_for_at_most_once(history: list[Event], hop: HopContext) -> None:
    delivery, asked, now = a_delivery(), 0, NOW
    for event in history:
        now += timedelta(seconds=45)
        result = step(delivery, event, now=now, hop=hop)
        asked += result.next_hop
        delivery = result.delivery
    assert asked <= 1


@given(st.lists(st.one_of(events, st.just(Replayed())), max_size=40), contexts)
def test_even_a_replay_does_not_ask_for_the_next_hop_again(history: list[Event], hop: HopContext) -> None:
    delivery, asked, now = a_delivery(), 0, NOW
    for event in history:
        now += timedelta(seconds=45)
        result = step(delivery, event, now=now, hop=hop)
        asked += result.next_hop
        delivery = result.delivery
    assert asked <= 1


@given(st.lists(st.one_of(events, st.just(Replayed())), max_size=40), contexts)
def test_tries_never_exceed_what_a_life_allows(history: list[Event], hop: HopContext) -> None:
    delivery, now = a_delivery(), NOW
    for event in history:
        now += timedelta(seconds=45)
        delivery = step(delivery, event, now=now, hop=hop).delivery
        assert 0 <= delivery.spent <= delivery.attempts
        assert delivery.attempts - delivery.spent <= RETRY.attempts


@given(st.lists(events, max_size=30), contexts)
def test_every_event_may_come_twice(history: list[Event], hop: HopContext) -> None:
    delivery = a_delivery()
    for event in history:
        once = step(delivery, event, hop=hop)
        twice = step(once.delivery, event, hop=hop)
        if not isinstance(event, Claimed | Lapsed):
            assert twice.delivery.state is once.delivery.state
            assert not twice.next_hop
        delivery = once.delivery


@given(st.lists(events, max_size=30), contexts)
def test_every_history_ends_when_time_goes_on(history: list[Event], hop: HopContext) -> None:
    """Whatever happened: claims that are never answered run out, and nothing stays due for ever."""
    delivery, now = a_delivery(), NOW
    for event in history:
        delivery = step(delivery, event, now=now, hop=hop).delivery
    for _ in range(120):
        if delivery.due_at is None:
            break
        now = max(now, delivery.due_at) + timedelta(seconds=1)
        if delivery.state in (S.QUEUED, S.RETRY_WAIT, S.WAITING):
            delivery = step(delivery, Claimed(now + timedelta(minutes=2)), now=now, hop=hop).delivery
        else:
            delivery = step(delivery, Lapsed(), now=now, hop=hop).delivery
    assert delivery.due_at is None
    assert delivery.settled


@given(st.permutations([Accepted("p-1"), Delivered(), ReadReceipt()]), contexts)
def test_outcomes_agree_whatever_order_they_come_in(order: list[Event], hop: HopContext) -> None:
    delivery = step(a_delivery(), Claimed(NOW + timedelta(minutes=2)), hop=hop).delivery
    for event in order:
        delivery = step(delivery, event, hop=hop).delivery
    assert (delivery.state, delivery.read, delivery.due_at) == (S.DELIVERED, True, None)


@given(st.permutations([Unknown(Reason.TIMED_OUT), Delivered(), Acted()]), contexts)
def test_a_receipt_and_a_time_out_agree_on_what_arrived(order: list[Event], hop: HopContext) -> None:
    """Whether the time-out or the receipt is heard of first: it arrived. Only a try that may be repeated is on its way
    again, and then nothing of it is wanted any more."""
    delivery = step(a_delivery(), Claimed(NOW + timedelta(minutes=2)), hop=hop).delivery
    for event in order:
        delivery = step(delivery, event, hop=hop).delivery
    assert delivery.read
    assert delivery.state in (S.DELIVERED, S.CANCELED)
    assert delivery.due_at is None


def test_an_early_receipt_is_not_undone_by_the_late_answer() -> None:
    attempting = step(a_delivery(), Claimed(NOW + timedelta(minutes=2))).delivery
    delivered = step(attempting, Delivered()).delivery
    assert step(delivered, Accepted("p-1")).delivery.state is S.DELIVERED


def test_an_accepted_send_waits_for_its_success_and_then_escalates() -> None:
    accepted = step(a_delivery(S.ATTEMPTING, 1), Accepted("p-1")).delivery
    assert accepted.due_at == NOW + timedelta(seconds=60)
    early = step(accepted, Lapsed(), now=NOW + timedelta(seconds=59))
    late = step(accepted, Lapsed(), now=NOW + timedelta(seconds=60))
    assert (early.next_hop, late.next_hop) == (False, True)
    assert late.delivery.state is S.ACCEPTED


def test_reading_stops_the_escalation() -> None:
    accepted = step(a_delivery(S.ATTEMPTING, 1), Accepted("p-1")).delivery
    read = step(accepted, ReadReceipt()).delivery
    assert not step(replace(read, due_at=NOW), Lapsed(), now=NOW + timedelta(hours=1)).next_hop


def test_reading_cancels_what_has_not_left() -> None:
    assert step(a_delivery(S.RETRY_WAIT, 1), ReadReceipt()).delivery.state is S.CANCELED


def test_a_refusal_goes_on_to_the_next_hop_at_once() -> None:
    result = step(a_delivery(S.ATTEMPTING, 1), Rejected(Reason.OFFLINE))
    assert (result.delivery.state, result.next_hop) == (S.FAILED, True)


def test_tries_are_bounded() -> None:
    delivery = a_delivery(S.ATTEMPTING, RETRY.attempts)
    result = step(delivery, Retry(Reason.PROVIDER_DOWN))
    assert (result.delivery.state, result.delivery.reason) == (S.FAILED, Reason.ATTEMPTS_EXHAUSTED)


def test_a_send_that_may_have_happened_is_not_repeated_blindly() -> None:
    delivery = a_delivery(S.ATTEMPTING, 1)
    held = step(delivery, Unknown(Reason.TIMED_OUT))
    again = step(delivery, Unknown(Reason.TIMED_OUT), hop=replace(CONTEXT, repeatable=True))
    assert (held.delivery.state, again.delivery.state) == (S.UNKNOWN, S.RETRY_WAIT)


def test_a_lease_that_ends_counts_as_may_have_happened() -> None:
    delivery = replace(a_delivery(S.ATTEMPTING, 1), due_at=NOW)
    result = step(delivery, Lapsed(), now=NOW + timedelta(seconds=1))
    assert (result.delivery.state, result.delivery.reason) == (S.UNKNOWN, Reason.WORKER_LOST)


def test_what_has_expired_is_not_claimed() -> None:
    expired = replace(a_delivery(), expires_at=NOW)
    result = step(expired, Claimed(NOW + timedelta(minutes=2)))
    assert (result.delivery.state, result.delivery.reason, result.next_hop) == (
        S.SKIPPED,
        Reason.EXPIRED,
        False,
    )
