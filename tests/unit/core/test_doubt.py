"""What a delivery does that may or may not have arrived, under each promise that a provider can make."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

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

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)  # a Monday, 10:00 in Shanghai
MINUTE = timedelta(minutes=1)
RETRY = RetryPolicy(attempts=4, base=timedelta(minutes=4), cap=timedelta(minutes=4))
S = DeliveryState
KNOWS_REPEATS = HopContext(
    Hop("wechat_mp"),
    repeatable=True,
    hold_unknown=True,
    repeatable_for=10 * MINUTE,
    receipt_within=30 * MINUTE,
)
REPORTS_ALL = HopContext(Hop("miniprogram"), repeatable=False, hold_unknown=True, receipt_within=5 * MINUTE)


class Life:
    """A delivery and its clock."""

    def __init__(self, hop: HopContext, *, expires_in: timedelta | None = None) -> None:
        self.hop = hop
        self.now = NOW
        self.onward = 0
        self.row = Delivery(
            id=DeliveryId("dlv_1"),
            app=AppId("app"),
            message=MessageId("msg_1"),
            notification=None,
            conversation=ConversationId("cnv_1"),
            seq=1,
            user=UserKey(1),
            user_seq=1,
            hop=0,
            channel=hop.hop.channel,
            state=S.QUEUED,
            created_at=NOW,
            due_at=NOW,
            expires_at=NOW + expires_in if expires_in else None,
        )

    def on(self, *events: Event, after: timedelta = timedelta(0)) -> Delivery:
        """Events, that much later."""
        self.now += after
        for event in events:
            step: Step = advance(self.row, event, now=self.now, hop=self.hop, retry=RETRY, jitter=lambda: 1.0)
            self.row, self.onward = step.delivery, self.onward + step.next_hop
        return self.row

    def claim(self, after: timedelta = timedelta(0)) -> Delivery:
        """A try begins."""
        return self.on(Claimed(self.now + after + 2 * MINUTE), after=after)


def test_what_never_left_is_no_try() -> None:
    life = Life(KNOWS_REPEATS)
    for _ in range(20):
        life.claim()
        row = life.on(Retry(Reason.PROVIDER_RATE_LIMITED, MINUTE, tried=False))
        assert (row.state, row.attempts, row.doubt_since) == (S.RETRY_WAIT, 0, None)
        life.now += MINUTE
    assert life.on(Claimed(life.now + MINUTE), Accepted("m")).attempts == 1


def test_patience_for_a_turn_is_bounded() -> None:
    life = Life(KNOWS_REPEATS)
    life.claim(RETRY.patience)
    row = life.on(Retry(Reason.PROVIDER_RATE_LIMITED, MINUTE, tried=False))
    assert (row.state, row.reason, life.onward) == (S.FAILED, Reason.ATTEMPTS_EXHAUSTED, 1)
    held = Life(KNOWS_REPEATS)
    row = held.on(Held(NOW + RETRY.patience + MINUTE, Reason.FREQUENCY_CAP))
    assert (row.state, row.reason, held.onward) == (S.SKIPPED, Reason.FREQUENCY_CAP, 1)


def test_a_repeat_that_the_provider_would_not_know_any_more_is_not_made() -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    row = life.on(Unknown(Reason.TIMED_OUT), after=MINUTE)
    assert (row.state, row.doubt_since, row.due_at) == (S.RETRY_WAIT, NOW, NOW + 5 * MINUTE)
    life.claim(4 * MINUTE)
    row = life.on(Unknown(Reason.TIMED_OUT), after=MINUTE)
    # The next would be at 10 minutes after the first: too late by nothing.
    assert (row.state, row.doubt_since, row.due_at) == (S.UNKNOWN, NOW, NOW + 5 * MINUTE + 30 * MINUTE)
    row = life.on(Lapsed(), after=30 * MINUTE)
    assert (row.state, row.reason, row.due_at, row.settled) == (S.UNKNOWN, Reason.NO_RECEIPT, None, True)
    assert life.onward == 0
    assert life.on(Delivered("m")).state is S.DELIVERED


@pytest.mark.parametrize("tried", [True, False])
def test_a_later_not_now_cannot_carry_a_doubtful_send_out_of_the_window(tried: bool) -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    life.on(Unknown(Reason.TIMED_OUT))
    life.claim(4 * MINUTE)
    row = life.on(Retry(Reason.PROVIDER_RATE_LIMITED, timedelta(hours=1), tried=tried))
    assert (row.state, row.reason) == (S.UNKNOWN, Reason.PROVIDER_RATE_LIMITED)


def test_a_provider_that_reports_every_send_is_asked_once_more_after_its_silence() -> None:
    life = Life(REPORTS_ALL)
    life.claim()
    row = life.on(Unknown(Reason.TIMED_OUT), after=MINUTE)
    assert (row.state, row.due_at) == (S.UNKNOWN, NOW + 5 * MINUTE)
    row = life.on(Lapsed(), after=4 * MINUTE)
    assert (row.state, row.reason, row.due_at) == (S.RETRY_WAIT, Reason.NO_RECEIPT, life.now)
    life.claim()
    life.on(Unknown(Reason.TIMED_OUT))
    row = life.on(Lapsed(), after=5 * MINUTE)
    assert (row.state, row.reason, row.attempts, life.onward) == (S.FAILED, Reason.UNKNOWN, 2, 1)


def test_a_late_refusal_of_a_held_send_still_goes_on() -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    life.on(Accepted("m"))
    life.on(Lapsed(), after=30 * MINUTE)
    assert (life.row.settled, life.onward) == (True, 0)
    life.on(Rejected(Reason.USER_BLOCK), after=timedelta(days=1))
    assert (life.row.state, life.onward) == (S.FAILED, 1)


def test_a_receipt_ends_the_waiting_of_an_unknown_send() -> None:
    life = Life(REPORTS_ALL)
    life.claim()
    life.on(Unknown(Reason.TIMED_OUT))
    row = life.on(Rejected(Reason.USER_BLOCK), after=MINUTE)
    assert (row.state, row.reason, life.onward) == (S.FAILED, Reason.USER_BLOCK, 1)


def test_a_policy_that_goes_on_does_not_repeat_an_unknown_send() -> None:
    life = Life(replace(REPORTS_ALL, hold_unknown=False))
    life.claim()
    assert life.on(Unknown(Reason.TIMED_OUT)).due_at == NOW + 5 * MINUTE
    row = life.on(Lapsed(), after=5 * MINUTE)
    assert (row.state, row.settled, life.onward) == (S.UNKNOWN, True, 1)


def test_a_doubtful_send_that_has_expired_meanwhile_is_not_called_failed() -> None:
    life = Life(KNOWS_REPEATS, expires_in=2 * MINUTE)
    life.claim()
    assert life.on(Unknown(Reason.TIMED_OUT)).state is S.UNKNOWN
    silent = Life(REPORTS_ALL, expires_in=2 * MINUTE)
    silent.claim()
    silent.on(Unknown(Reason.TIMED_OUT))
    row = silent.on(Lapsed(), after=5 * MINUTE)
    assert (row.state, row.reason, silent.onward) == (S.FAILED, Reason.EXPIRED, 0)


def test_a_missing_receipt_is_noted_and_the_hops_own_wait_is_honoured() -> None:
    hop = replace(KNOWS_REPEATS, hop=Hop("wechat_mp", Success.DELIVERED, timedelta(hours=1)))
    life = Life(hop)
    life.claim()
    assert life.on(Accepted("m")).due_at == NOW + 30 * MINUTE
    row = life.on(Lapsed(), after=30 * MINUTE)
    assert (row.state, row.reason, row.due_at) == (S.ACCEPTED, Reason.NO_RECEIPT, NOW + timedelta(hours=1))
    assert life.onward == 0
    row = life.on(Lapsed(), after=30 * MINUTE)
    assert (row.state, row.due_at, row.settled, life.onward) == (S.ACCEPTED, None, True, 1)


def test_the_cascade_goes_on_before_the_receipts_time_is_over() -> None:
    life = Life(replace(KNOWS_REPEATS, hop=Hop("wechat_mp", Success.DELIVERED, 10 * MINUTE)))
    life.claim()
    assert life.on(Accepted("m")).due_at == NOW + 10 * MINUTE
    row = life.on(Lapsed(), after=10 * MINUTE)
    assert (row.due_at, row.reason, life.onward) == (NOW + 30 * MINUTE, None, 1)
    row = life.on(Lapsed(), after=20 * MINUTE)
    assert (row.due_at, row.reason, life.onward) == (None, Reason.NO_RECEIPT, 1)


def test_a_wait_in_working_hours_leaves_out_the_night() -> None:
    hop = HopContext(
        Hop("ws", Success.READ, timedelta(hours=9)),
        repeatable=False,
        hold_unknown=True,
        calendar=DEFAULT_CALENDAR,
    )
    life = Life(hop)
    life.claim()
    # Eight hours are left of Monday; the ninth is Tuesday's first.
    assert life.on(Accepted()).due_at == datetime(2026, 3, 3, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "reason"),
    [(ReadReceipt(), Reason.READ), (Acted(), Reason.ACTED), (Canceled(Reason.RECALLED), Reason.RECALLED)],
)
def test_what_is_not_wanted_any_more_is_not_tried_again(event: Event, reason: Reason) -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    row = life.on(event, Retry(Reason.PROVIDER_DOWN))
    assert (row.state, row.reason, row.due_at, life.onward) == (S.CANCELED, reason, None, 0)
    doubtful = Life(KNOWS_REPEATS)
    doubtful.claim()
    assert doubtful.on(event, Unknown(Reason.TIMED_OUT)).state is S.UNKNOWN


def test_a_belated_request_does_not_try_before_its_time() -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    life.on(Retry(Reason.PROVIDER_RATE_LIMITED, timedelta(hours=1)))
    assert life.claim(MINUTE).state is S.RETRY_WAIT
    assert life.claim(timedelta(hours=1)).state is S.ATTEMPTING


def test_a_replay_is_the_one_way_back() -> None:
    life = Life(KNOWS_REPEATS)
    life.claim()
    failed = life.on(Rejected(Reason.TEMPLATE_INVALID))
    assert (failed.state, life.onward) == (S.FAILED, 1)
    row = life.on(Replayed(), after=timedelta(days=30))
    assert (row.state, row.due_at, row.reason) == (S.QUEUED, life.now, None)
    for number in range(2, RETRY.attempts + 2):
        assert life.claim().attempts == number
        life.on(Retry(Reason.PROVIDER_DOWN, timedelta(0)))
    assert (life.row.state, life.row.reason, life.onward) == (S.FAILED, Reason.ATTEMPTS_EXHAUSTED, 1)


def test_what_moves_arrived_was_read_or_expired_is_not_replayed() -> None:
    for events in ((Accepted("m"),), (Delivered(),), (Rejected(Reason.USER_BLOCK), ReadReceipt())):
        life = Life(KNOWS_REPEATS)
        life.claim()
        before = life.on(*events)
        assert life.on(Replayed()) == before
    waiting = Life(REPORTS_ALL)
    waiting.claim()
    before = waiting.on(Unknown(Reason.TIMED_OUT))
    assert waiting.on(Replayed()) == before
    late = Life(KNOWS_REPEATS, expires_in=MINUTE)
    late.claim()
    before = late.on(Rejected(Reason.USER_BLOCK))
    assert late.on(Replayed(), after=MINUTE) == before


def test_a_lost_try_that_never_left_the_hub_is_repeated_at_once_and_does_not_count() -> None:
    life = Life(REPORTS_ALL)
    life.claim()
    row = life.on(Lapsed(unsent=True), after=timedelta(hours=1))
    assert (row.state, row.reason, row.due_at, row.attempts) == (
        S.RETRY_WAIT,
        Reason.WORKER_LOST,
        life.now,
        0,
    )
    assert row.doubt_since is None


def test_a_try_that_still_has_its_lease_is_not_taken_for_lost() -> None:
    life = Life(REPORTS_ALL)
    row = life.claim()
    assert life.on(Lapsed(unsent=True)) == row


def test_a_lost_try_after_a_doubtful_one_stays_in_doubt() -> None:
    life = Life(REPORTS_ALL)
    life.claim()
    life.on(Unknown(Reason.TIMED_OUT))
    life.on(Lapsed(), after=5 * MINUTE)
    life.claim()
    row = life.on(Lapsed(unsent=True), after=timedelta(hours=1))
    assert row.state is not S.RETRY_WAIT
