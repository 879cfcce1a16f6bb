"""The small pure parts of approvals: what an answer means, who stands in for whom, what a card says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.core.approvals_ask import verdict_of
from hub.core.approvals_people import preferences_of, stand_in_of
from hub.core.approvals_words import language
from hub.core.task import IntentState
from hub.core.webhooks import HookAnswer

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (HookAnswer(204), IntentState.APPLIED, ""),
        (HookAnswer(200, b'{"result": "applied"}'), IntentState.APPLIED, ""),
        (HookAnswer(200, b"<html>"), IntentState.APPLIED, ""),
        (HookAnswer(200, b"[1]"), IntentState.APPLIED, ""),
        (
            HookAnswer(200, '{"result": "rejected", "reason": "预算"}'.encode()),
            IntentState.REJECTED_BY_BUSINESS,
            "预算",
        ),
        (HookAnswer(200, b'{"result": "pending"}'), IntentState.PENDING, ""),
        (HookAnswer(409), IntentState.PENDING, "HTTP 409"),
        (HookAnswer(503), IntentState.PENDING, "HTTP 503"),
        (HookAnswer(None, error="timed out"), IntentState.PENDING, "timed out"),
    ],
)
def test_what_an_answer_means(answer: HookAnswer, state: IntentState, reason: str) -> None:
    assert verdict_of(answer) == (state, reason)


@pytest.mark.parametrize(
    ("preferences", "who"),
    [
        ('{"delegate": {"to": "b"}}', "b"),
        ('{"delegate": {"to": "b", "from": "2026-03-02T17:00:00+08:00"}}', "b"),
        ('{"delegate": {"to": "b", "from": "2026-03-02T17:00:01+08:00"}}', None),
        ('{"delegate": {"to": "b", "until": "2026-03-02T09:00:00Z"}}', None),
        ('{"delegate": {"to": "b", "until": "2026-03-02T09:00:01"}}', "b"),
        ('{"delegate": {"to": "b", "until": "soon"}}', "b"),
        ('{"delegate": {"to": 7}}', None),
        ('{"delegate": "b"}', None),
        ("[]", None),
        ("no json", None),
    ],
)
def test_who_stands_in_at_this_moment(preferences: str, who: str | None) -> None:
    assert stand_in_of(preferences, NOW) == who


def test_preferences_and_languages_that_nobody_expected() -> None:
    assert preferences_of("7") == {}
    assert [language(text) for text in ("zh", "zh-TW", "ZH-cn", "en-GB", "fr")] == ["zh-CN"] * 3 + ["en"] * 2
