"""Times are kept to the microsecond, on every database as the same number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.store.columns import EPOCH, from_micros, to_micros

TIMES = st.integers(min_value=-(10**15), max_value=10**16).map(
    lambda micros: EPOCH + timedelta(microseconds=micros)
)


@given(TIMES)
def test_a_time_is_kept_exactly(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


def test_the_zone_does_not_matter_and_no_zone_is_refused() -> None:
    shanghai = timezone(timedelta(hours=8))
    assert to_micros(datetime(2026, 3, 1, 17, tzinfo=shanghai)) == to_micros(
        datetime(2026, 3, 1, 9, tzinfo=UTC)
    )
    with pytest.raises(TypeError):
        to_micros(datetime(2026, 3, 1))  # noqa: DTZ001
