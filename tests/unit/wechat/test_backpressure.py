"""The breaker and the pace, for every history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.channels._wechat.backpressure import (
    LONGEST_WAIT,
    Breaker,
    BreakerLimits,
    Bucket,
    Gate,
    Pace,
    admit,
    enter,
    full,
    leave,
    record,
    slow,
    take,
)
from hub.channels._wechat.errcodes import failure_of
from hub.channels._wechat.faults import Breaks, Failure

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = BreakerLimits(failures=3, first=5 * SECOND, longest=60 * SECOND, probe=30 * SECOND)
PACE = Pace(per_second=10, burst=20, floor=0.1, recovery=100 * SECOND)

BUSY, BROKEN = failure_of(-1, ""), failure_of(40164, "")


def after(breaker: Breaker, *failures: Failure | None, now: datetime = NOW) -> Breaker:
    for failure in failures:
        breaker = record(breaker, failure, LIMITS, now=now, scope=Breaks.ACCOUNT)
    return breaker


def wait(breaker: Breaker, now: datetime = NOW) -> timedelta | None:
    return admit(breaker, LIMITS, now=now)[1]


def test_a_few_failures_do_not_open_it() -> None:
    assert wait(after(Breaker(), BUSY, BUSY)) is None
    assert wait(after(Breaker(), BUSY, BUSY, None, BUSY, BUSY)) is None


def test_failures_in_a_row_open_it_for_a_while() -> None:
    opened = after(Breaker(), BUSY, BUSY, BUSY)
    assert not opened.closed
    assert opened.why is BUSY
    assert wait(opened) == 5 * SECOND
    assert wait(opened, NOW + 4 * SECOND) == SECOND


def test_what_a_person_must_mend_opens_it_at_once() -> None:
    assert wait(after(Breaker(), BROKEN)) == LIMITS.longest


def test_refusals_of_a_person_or_message_are_a_sign_of_life() -> None:
    for code in (43101, 47003, 45009, 42001, 40003, 43107):
        assert after(Breaker(), BUSY, BUSY, failure_of(code, "")) == Breaker()


def test_a_breaker_of_a_template_opens_for_its_own_bans_only() -> None:
    banned = failure_of(43107, "")
    assert not record(Breaker(), banned, LIMITS, now=NOW, scope=Breaks.TEMPLATE).closed
    assert record(Breaker(), BROKEN, LIMITS, now=NOW, scope=Breaks.TEMPLATE).closed


def test_one_probe_passes_and_decides() -> None:
    opened = after(Breaker(), BUSY, BUSY, BUSY)
    later = NOW + 6 * SECOND
    probing, go = admit(opened, LIMITS, now=later)
    assert go is None
    assert wait(probing, later) == LIMITS.probe
    assert after(probing, None, now=later) == Breaker()
    assert wait(after(probing, BUSY, now=later), later) == 10 * SECOND


def test_a_probe_that_never_reports_is_replaced() -> None:
    opened = after(Breaker(), BUSY, BUSY, BUSY)
    probing, _ = admit(opened, LIMITS, now=NOW + 6 * SECOND)
    assert admit(probing, LIMITS, now=NOW + 37 * SECOND)[1] is None


def test_pauses_grow_to_their_bound() -> None:
    breaker, now = after(Breaker(), BUSY, BUSY, BUSY), NOW
    pauses = []
    for _ in range(8):
        now += timedelta(hours=1)
        breaker, go = admit(breaker, LIMITS, now=now)
        assert go is None
        breaker = after(breaker, BUSY, now=now)
        pauses.append(breaker.pause)
    assert pauses[:3] == [10 * SECOND, 20 * SECOND, 40 * SECOND]
    assert set(pauses[3:]) == {LIMITS.longest}


def test_stragglers_change_nothing() -> None:
    for opened in (after(Breaker(), BROKEN), after(Breaker(), BUSY, BUSY, BUSY)):
        assert after(opened, BUSY, BUSY, BUSY, now=NOW + SECOND) == opened


def test_a_burst_passes_and_then_the_pace_holds() -> None:
    bucket, waits = full(PACE, now=NOW), []
    for _ in range(21):
        bucket, pause = take(bucket, PACE, now=NOW)
        waits.append(pause)
    assert waits == [None] * 20 + [timedelta(seconds=0.1)]
    assert take(bucket, PACE, now=NOW + timedelta(seconds=0.1))[1] is None


def test_more_than_a_burst_is_paid_for_afterwards() -> None:
    bucket, pause = take(full(PACE, now=NOW), PACE, now=NOW, count=40)
    assert pause is None
    assert take(bucket, PACE, now=NOW)[1] == timedelta(seconds=2.1)


def test_slowing_down_halves_the_pace_and_time_brings_it_back() -> None:
    slowed = slow(full(PACE, now=NOW), PACE, now=NOW)
    assert take(slowed, PACE, now=NOW)[1] == timedelta(seconds=0.2)
    for _ in range(10):
        slowed = slow(slowed, PACE, now=NOW)
    assert slowed.share == PACE.floor
    recovered, pause = take(slowed, PACE, now=NOW + 200 * SECOND)
    assert pause is None
    assert recovered.share == 1.0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket, _ = take(full(PACE, now=NOW), PACE, now=NOW, count=20)
    assert take(bucket, PACE, now=NOW - timedelta(hours=1))[0].tokens == 0


steps = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5), st.booleans()), max_size=60)


@given(steps)
def test_over_any_time_no_more_passes_than_burst_and_pace(history: list[tuple[float, int, bool]]) -> None:
    bucket: Bucket = full(PACE, now=NOW)
    now, passed = NOW, 0
    for pause, count, too_much in history:
        now += timedelta(seconds=pause)
        bucket, refused = take(bucket, PACE, now=now, count=count)
        passed += count if refused is None else 0
        if too_much:
            bucket = slow(bucket, PACE, now=now)
        assert refused is None or refused > timedelta(0)
    assert passed <= PACE.burst + PACE.per_second * (now - NOW).total_seconds() + 1e-6


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([None, BUSY, BROKEN])), max_size=50))
def test_a_breaker_always_lets_somebody_try_again(history: list[tuple[float, Failure | None]]) -> None:
    breaker, now = Breaker(), NOW
    for pause, failure in history:
        now += timedelta(seconds=pause)
        breaker, refused = admit(breaker, LIMITS, now=now)
        if refused is None:
            breaker = after(breaker, failure, now=now)
        assert refused is None or refused <= LIMITS.longest
    assert admit(breaker, LIMITS, now=now + LIMITS.longest)[1] is None


def gate() -> Gate:
    return Gate(full(PACE, now=NOW))


def test_a_gate_lets_through_what_the_pace_allows_and_spreads_the_others() -> None:
    opened, passage = enter(gate(), 50, LIMITS, PACE, now=NOW)
    assert passage.admitted == 20
    assert [wait / SECOND for wait in passage.waits[:3]] == [0.1, 0.2, 0.3]
    later = enter(opened, 5, LIMITS, PACE, now=NOW)[1]
    assert later.waits[0] > passage.waits[-1]


def test_nobody_who_is_held_back_waits_for_ever() -> None:
    held, passage = enter(gate(), 5_000, LIMITS, PACE, now=NOW)
    assert max(passage.waits) == LONGEST_WAIT
    assert max(enter(held, 5_000, LIMITS, PACE, now=NOW)[1].waits) == LONGEST_WAIT


def test_a_gate_after_a_broken_account_admits_one_when_the_pause_is_over() -> None:
    opened, _ = enter(gate(), 1, LIMITS, PACE, now=NOW)
    shut = leave(opened, [BROKEN], LIMITS, PACE, now=NOW, unused=0)
    held, passage = enter(shut, 3, LIMITS, PACE, now=NOW + SECOND)
    assert (passage.admitted, passage.why) == (0, BROKEN)
    assert all(wait >= LONGEST_WAIT / 2 for wait in passage.waits)
    probing, passage = enter(held, 3, LIMITS, PACE, now=NOW + LIMITS.longest)
    assert passage.admitted == 1
    assert all(wait < 5 * SECOND for wait in passage.waits)
    closed = leave(probing, [None], LIMITS, PACE, now=NOW + LIMITS.longest, unused=0)
    assert enter(closed, 3, LIMITS, PACE, now=NOW + LIMITS.longest)[1].admitted == 3


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.floats(0, 5), st.sampled_from([None, BUSY, BROKEN])), max_size=40
    )
)
def test_a_gate_never_admits_more_than_its_pace(history: list[tuple[int, float, Failure | None]]) -> None:
    now, current, admitted = NOW, gate(), 0
    for wanted, pause, result in history:
        now += pause * SECOND
        current, passage = enter(current, wanted, LIMITS, PACE, now=now)
        assert passage.admitted + len(passage.waits) == wanted
        assert all(wait <= LONGEST_WAIT for wait in passage.waits)
        admitted += passage.admitted
        assert admitted <= PACE.burst + (now - NOW).total_seconds() * PACE.per_second + 1
        current = leave(current, [result] * passage.admitted, LIMITS, PACE, now=now, unused=0)
