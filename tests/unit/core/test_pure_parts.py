"""Retry delays, routing, sequences and derived ids: small pure functions."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.core.conversation import direct_id, inbox_id
from hub.core.message import AppId, SeqKey, UserKey
from hub.core.policy import Hop, Mode, Policy
from hub.core.retry import RetryPolicy, delay
from hub.core.routing import first_hops, next_hop
from hub.core.sequence import GapWatch, contiguous, gap_portions

APP = AppId("app_1")
RETRY = RetryPolicy()


@given(st.integers(1, 1_000), st.floats(0, 1))
def test_a_delay_is_capped_and_never_nothing(attempt: int, jitter: float) -> None:
    assert RETRY.base / 2 <= delay(RETRY, attempt, jitter) <= RETRY.cap


@given(st.integers(1, 20))
def test_delays_grow(attempt: int) -> None:
    assert delay(RETRY, attempt, 1.0) <= delay(RETRY, attempt + 1, 1.0)


@given(st.integers(0, 1_000), st.sets(st.integers(1, 1_050)))
def test_contiguous_stops_at_the_first_gap(after: int, numbers: set[int]) -> None:
    ascending = sorted(n for n in numbers if n > after)
    count, gap = contiguous(after, ascending)
    assert ascending[:count] == list(range(after + 1, after + 1 + count))
    if gap is None:
        assert count == len(ascending)
    else:
        assert gap == (after + count + 1, ascending[count] - 1)


def test_a_gap_ripens_by_the_observers_clock_and_is_handed_out_once() -> None:
    watch = GapWatch(grace=timedelta(seconds=3))
    key = SeqKey.of_user(UserKey(1))
    watch.note(key, (5, 6), monotonic=100.0)
    watch.note(key, (5, 7), monotonic=102.0)
    assert watch.ripe(monotonic=102.9) == []
    assert watch.ripe(monotonic=103.0) == [(key, 5, 7)]
    assert watch.ripe(monotonic=200.0) == []


def test_gaps_remembered_are_bounded() -> None:
    watch = GapWatch(grace=timedelta(0), capacity=2)
    for number in range(5):
        watch.note(SeqKey.of_user(UserKey(number)), (1, 1), monotonic=0.0)
    assert len(watch) == 2


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50))), st.integers(1, 20))
def test_gaps_come_in_portions_of_so_many_numbers(shapes: list[tuple[int, int]], numbers: int) -> None:
    gaps = [(SeqKey.of_user(UserKey(n)), first, first + width - 1) for n, (first, width) in enumerate(shapes)]
    portions = list(gap_portions(gaps, numbers=numbers))
    assert all(0 < sum(last - first + 1 for _, first, last in some) <= numbers for some in portions)
    cut = [(key, first, min(last, first + numbers - 1)) for key, first, last in gaps]
    assert [gap for some in portions for gap in some] == cut


def test_a_direct_conversation_has_one_id_from_either_side() -> None:
    assert direct_id(APP, UserKey(1), UserKey(2)) == direct_id(APP, UserKey(2), UserKey(1))
    assert direct_id(APP, UserKey(1), UserKey(2)) != direct_id(AppId("app_2"), UserKey(1), UserKey(2))
    assert direct_id(APP, UserKey(1), UserKey(23)) != direct_id(APP, UserKey(12), UserKey(3))
    assert inbox_id(APP) != inbox_id(AppId("app_2"))


def test_a_cascade_starts_with_the_first_hop_that_applies() -> None:
    policy = Policy((Hop("sms", only_priority=("critical",)), Hop("ws"), Hop("wechat_mp")))
    assert list(first_hops(policy, priority="normal", category="x")) == [1]
    assert list(first_hops(policy, priority="critical", category="x")) == [0]
    assert next_hop(policy, 1, priority="normal", category="x") == 2
    assert next_hop(policy, 2, priority="normal", category="x") is None


def test_all_starts_every_hop_and_has_no_next() -> None:
    policy = Policy((Hop("ws"), Hop("wechat_mp")), mode=Mode.ALL)
    assert list(first_hops(policy, priority="normal", category="x")) == [0, 1]
    assert next_hop(policy, 0, priority="normal", category="x") is None
