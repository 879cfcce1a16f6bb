"""What an endpoint subscribes to, and whether it may want to hear of something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.webhooks import HookAnswer, may_want, subscribes

TYPES = st.from_regex(r"[a-c]{1,2}(\.[a-c]{1,2}){0,2}", fullmatch=True)
PATTERNS = st.lists(st.one_of(TYPES, TYPES.map(lambda type_: f"{type_}.*"), st.just("*")), max_size=4)


@pytest.mark.parametrize(
    ("pattern", "type_", "heard"),
    [
        ("*", "delivery.failed", True),
        ("delivery.*", "delivery.failed", True),
        ("delivery.*", "delivery.failed.twice", True),
        ("delivery.*", "delivery", False),
        ("delivery.*", "deliveries.x", False),
        ("delivery.failed", "delivery.failed", True),
        ("delivery.failed", "delivery.failed.twice", False),
        ("delivery", "delivery.failed", False),
    ],
)
def test_a_pattern_is_a_type_a_prefix_or_everything(pattern: str, type_: str, heard: bool) -> None:
    assert subscribes([pattern], type_) is heard
    assert subscribes(["other", pattern], type_) is heard
    assert not subscribes([], type_)


@given(PATTERNS, TYPES, st.integers(0, 8))
def test_who_subscribes_to_a_type_may_want_every_prefix_of_it(
    patterns: list[str], type_: str, length: int
) -> None:
    if subscribes(patterns, type_):
        assert may_want(patterns, type_[:length])


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [([], False), (["task.*"], False), (["*"], True), (["delivery.failed"], True), (["delivery"], False)],
)
def test_whether_somebody_may_want_deliveries(patterns: list[str], wanted: bool) -> None:
    assert may_want(patterns, "delivery.") is wanted


@pytest.mark.parametrize(
    ("status", "ok"), [(None, False), (199, False), (200, True), (299, True), (300, False), (410, False)]
)
def test_only_2xx_is_taken(status: int | None, ok: bool) -> None:
    assert HookAnswer(status).ok is ok
