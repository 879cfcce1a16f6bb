"""Links to tasks: only ours are read, and only while they last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.core.message import SYSTEM, UserKey
from hub.core.task import TaskId
from hub.core.task_links import TaskLink, TaskLinks

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LINK = TaskLink(TaskId("tsk_" + "0f" * 16), UserKey(7), NOW + timedelta(hours=1))
LINKS = TaskLinks(b"secret")


def test_a_link_is_read_until_its_time_is_over() -> None:
    token = LINKS.token(LINK)
    assert len(token) == 54
    assert LINKS.read(token, now=NOW) == LINK
    assert LINKS.read(token, now=LINK.expires_at) is None


def test_a_replaced_secret_is_still_read_and_a_foreign_one_is_not() -> None:
    token = LINKS.token(LINK)
    assert TaskLinks(b"new", b"secret").read(token, now=NOW) == LINK
    assert TaskLinks(b"new").read(token, now=NOW) is None


@given(st.integers(0, 53), st.sampled_from("ABab01-_"))
def test_no_character_can_be_changed(place: int, other: str) -> None:
    token = LINKS.token(LINK)
    forged = token[:place] + other + token[place + 1 :]
    assert (LINKS.read(forged, now=NOW) is None) == (forged != token)


@given(st.text(max_size=80))
def test_nothing_else_is_taken_for_a_link(text: str) -> None:
    assert LINKS.read(text, now=NOW) is None


def test_a_link_for_whoever_holds_it_names_nobody() -> None:
    anyone = TaskLink(LINK.task, SYSTEM, LINK.expires_at)
    assert LINKS.read(LINKS.token(anyone), now=NOW) == anyone
