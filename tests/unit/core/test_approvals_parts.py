"""The small pure parts of approvals: what an answer means, who stands in for whom, what a card says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hub.core.approvals_ask import verdict_of
from hub.core.approvals_people import preferences_of, stand_in_of
from hub.core.approvals_words import closing_data, language
from hub.core.message import AppId, UserKey
from hub.core.task import (
    Content,
    Effect,
    Instance,
    Intent,
    IntentId,
    IntentState,
    Notify,
    Person,
    SignMode,
    Task,
    TaskId,
    TaskState,
)
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


def a_task(state: TaskState, decided_by: Intent | None = None) -> Task:
    notify = Notify(data='{"days": 3, "title": "年假", "who": "nobody"}', closed_template="leave-result")
    return Task(
        id=TaskId("tsk_1"),
        app=AppId("shop"),
        business_id="oa:t1",
        content=Content(Instance("i1", "请假申请", "u_9"), notify=notify),
        sign_mode=SignMode.ANY,
        state=state,
        version=1,
        assignees=(),
        created_at=NOW,
        updated_at=NOW + timedelta(hours=2),
        decided_by=decided_by,
    )


def test_the_closing_notice_is_filled_by_how_it_ended_over_what_the_business_system_gave() -> None:
    said = Intent(
        IntentId("act_1"), Person(UserKey(1), "u_1"), "approve", Effect.APPROVE, NOW, 1, comment="好"
    )
    task = a_task(TaskState.APPROVED, replace(said, settled_at=NOW + timedelta(seconds=1)))
    data = json.loads(closing_data(task, "李某", "en", "https://hub.example.com/t/x"))
    ended = {name: data[name] for name in ("state", "outcome", "phrase", "who", "at", "comment")}
    assert ended == {
        "state": "approved",
        "outcome": "Approved by 李某",
        "phrase": "已同意",
        "who": "李某",
        "at": "2026-03-02T09:00:01Z",
        "comment": "好",
    }
    assert (data["title"], data["days"], data["link"]) == ("年假", 3, "https://hub.example.com/t/x")


@pytest.mark.parametrize("state", TaskState)
def test_however_it_ended_there_is_a_phrase_that_wechat_takes(state: TaskState) -> None:
    data = json.loads(closing_data(a_task(state), "", "en", None))
    assert 1 <= len(data["phrase"]) <= 5
    assert all("\u4e00" <= letter <= "\u9fff" for letter in data["phrase"])
    assert (data["who"], data["at"]) == ("", "2026-03-02T11:00:00Z")
