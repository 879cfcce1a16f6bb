"""Preferences are anybody's JSON: what makes sense counts, what does not is as if it were not said."""

from __future__ import annotations

import json
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.preferences import NONE, parse
from hub.core.quiet import QuietWindow

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["channels", "categories", "quiet_hours", "mute", "start", "end", "days", "x"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def test_channels_and_categories_are_turned_off() -> None:
    said = parse(
        json.dumps(
            {
                "channels": {"wechat_mp": False, "miniprogram": True},
                "categories": {"marketing": False, "news": {"channels": {"miniprogram": False}}, "all": True},
            }
        )
    )
    assert not said.wants("wechat_mp", "approval")
    assert not said.wants("miniprogram", "marketing")
    assert not said.wants("miniprogram", "news")
    assert said.wants("miniprogram", "approval")
    assert said.wants("miniprogram", "all")


def test_threads_categories_and_types_are_muted() -> None:
    said = parse('{"mute": ["thread:inst-7", "category:news", "type:ad.sent", 5, null]}')
    assert said.mutes(thread="inst-7", category="x", type_="y")
    assert said.mutes(thread=None, category="news", type_="y")
    assert said.mutes(thread=None, category="x", type_="ad.sent")
    assert not said.mutes(thread="inst-8", category="x", type_="y")


def test_quiet_hours_are_one_window_or_many() -> None:
    one = parse('{"quiet_hours": {"start": "22:00", "end": "24:00", "days": ["fri", "sat", "?"]}}')
    assert one.quiet == (QuietWindow(time(22), time(0), frozenset({4, 5})),)
    many = parse('{"quiet_hours": [{"start": "12:00", "end": "13:00"}, {"start": "9"}, "x", {}]}')
    assert many.quiet == (QuietWindow(time(12), time(13)),)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        "[]",
        "{",
        '{"channels": [], "categories": 5, "quiet_hours": "22:00", "mute": {}}',
        '{"quiet_hours": {"start": "22:00", "end": "22:00"}}',
        '{"quiet_hours": {"start": "22:00", "end": "08:00", "days": ["someday"]}}',
        "[" * 100_000,
        '{"channels": {"ws": 0}}',
    ],
)
def test_nonsense_is_no_wish(said: str) -> None:
    assert parse(said) == NONE


@given(junk)
def test_nothing_makes_it_raise(said: object) -> None:
    wishes = parse(json.dumps(said))
    wishes.wants("wechat_mp", "x")
    wishes.mutes(thread=None, category="x", type_="y")
