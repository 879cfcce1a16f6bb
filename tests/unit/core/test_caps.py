"""Frequency caps: what they cover, the windows they count in, and how they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.caps import CapThen, FrequencyCap, caps_json, parse_caps

DAY = timedelta(days=1)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  (what hypothesis asks for)


def test_a_day_begins_at_the_apps_midnight() -> None:
    cap = FrequencyCap(3, DAY)
    start, end = cap.window(datetime(2026, 3, 1, 17, 0, tzinfo=UTC), "Asia/Shanghai")
    assert (start, end) == (datetime(2026, 3, 1, 16, tzinfo=UTC), datetime(2026, 3, 2, 16, tzinfo=UTC))


@given(
    st.datetimes(NAIVE, NAIVE + timedelta(days=365), timezones=st.just(UTC)),
    st.sampled_from([timedelta(minutes=1), timedelta(hours=7), DAY, 31 * DAY]),
)
def test_a_moment_lies_in_its_window_and_the_next_begins_where_it_ends(at: datetime, per: timedelta) -> None:
    cap = FrequencyCap(1, per)
    start, end = cap.window(at, "Asia/Shanghai")
    assert start <= at < end
    assert end - start == per
    assert cap.window(end, "Asia/Shanghai")[0] == end


def test_a_cap_covers_its_channel_and_category() -> None:
    assert FrequencyCap(1, DAY).covers("wechat_mp", "x")
    assert FrequencyCap(1, DAY, "wechat_mp", "ads").covers("wechat_mp", "ads")
    assert not FrequencyCap(1, DAY, "wechat_mp", "ads").covers("miniprogram", "ads")
    assert not FrequencyCap(1, DAY, None, "ads").covers("wechat_mp", "x")


def test_a_changed_count_goes_on_counting_and_another_scope_does_not() -> None:
    assert FrequencyCap(1, DAY).rule == FrequencyCap(5, DAY, then=CapThen.DEFER).rule
    others = {
        FrequencyCap(1, DAY, "a").rule,
        FrequencyCap(1, DAY, None, "a").rule,
        FrequencyCap(1, 2 * DAY).rule,
    }
    assert len(others | {FrequencyCap(1, DAY).rule}) == 4


def test_caps_are_written_as_they_are_read() -> None:
    said = [
        {"channel": "wechat_mp", "category": None, "count": 3, "per": "PT24H", "then": "skip"},
        {"channel": None, "category": "ads", "count": 1, "per": "PT90M", "then": "defer"},
    ]
    assert caps_json(parse_caps(said)) == said
    assert parse_caps([{"count": 1, "per": "P1D"}]) == (FrequencyCap(1, DAY),)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("x", "caps"),
        ([{}] * 21, "caps"),
        ([5], "caps/0"),
        ([{"count": 1, "per": "PT1H", "why": 1}], "caps/0"),
        ([{"count": 0, "per": "PT1H"}], "caps/0/count"),
        ([{"count": True, "per": "PT1H"}], "caps/0/count"),
        ([{"count": 1, "per": "1 day"}], "caps/0/per"),
        ([{"count": 1, "per": "PT1S"}], "caps/0/per"),
        ([{"count": 1, "per": "PT1H", "channel": 5}], "caps/0/channel"),
        ([{"count": 1, "per": "PT1H", "then": "cry"}], "caps/0/then"),
    ],
)
def test_what_is_no_cap_is_refused_with_its_place(said: object, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        parse_caps(said)
