"""Receipts survive being parked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.outcome import Accepted, Delivered, Reason, Rejected, Unknown
from hub.core.receipts import Receipt, decode, encode

ids = st.none() | st.text(max_size=20)
reasons = st.sampled_from(list(Reason))
receipts = st.one_of(
    st.builds(Accepted, ids, st.text()),
    st.builds(Delivered, ids, st.text()),
    st.builds(Rejected, reasons, st.text(), st.text()),
    st.builds(Unknown, reasons, st.text(), st.text()),
)


@given(receipts)
def test_what_is_parked_comes_back_as_it_was(receipt: Receipt) -> None:
    assert decode(encode(receipt)) == receipt


@pytest.mark.parametrize("text", ['{"kind": "pigeon"}', "{}", "[]", "nothing"])
def test_what_nobody_parked_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(text)
