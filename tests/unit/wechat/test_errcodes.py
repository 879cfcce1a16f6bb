"""Every errcode has a class, an outcome and words; what is unknown is tried once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.channels._wechat.errcodes import RULES, UNRECOGNISED, failure_of, rule_for
from hub.channels._wechat.faults import (
    BEIJING,
    Breaks,
    Effect,
    Failure,
    Kind,
    Pause,
    Pauses,
    outcome_of,
)
from hub.core.outcome import Accepted, Reason, Rejected, Retry, Unknown

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

CLASSES: dict[Kind, tuple[int, ...]] = {
    Kind.BUSY: (-1, 43108, 200001, 45066),
    Kind.TOKEN: (40001, 40014, 42001),
    Kind.RATE: (45009, 45011),
    Kind.ACCOUNT: (
        *(40002, 40013, 40125, 41002, 41004, 40164, 40243, 50004, 50007),
        *range(89501, 89508),
        *(61004, 61007, 48001, 48004, 48006),
    ),
    Kind.RECIPIENT: (
        *(45047, 45015, 45080, 40003, 43004, 43019, 43101, 48002, 50002, 46004, 50005, 50006),
        40226,
    ),
    Kind.MESSAGE: (
        *(40036, 40037, 40176, 48011, 41030, 40165, 40166, 40039, 45005, 47001, 44002, 40035, 47003),
        *(45168, 40249, 43116, 43102, 40246, 40247, 45026, 45027, 46101, 45109, 43107),
        *(40008, 40062, 40052, 40053, 45067),
    ),
    Kind.LOGIN: (40029, 40163, 42003),
    Kind.BUG: (41001, 43001, 43002, 43003),
    Kind.DUPLICATE: (45065,),
}
ALL = [(kind, code) for kind, codes in CLASSES.items() for code in codes]


def outcome(code: int, attempt: int = 1) -> object:
    return outcome_of(failure_of(code, "words"), now=NOW, attempt=attempt)


@pytest.mark.parametrize(("kind", "code"), ALL)
def test_every_code_has_its_class(kind: Kind, code: int) -> None:
    assert rule_for(code).kind is kind


def test_the_table_has_no_code_that_this_test_does_not_expect() -> None:
    assert set(RULES) == {code for _, code in ALL}


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_code_is_explained_in_both_languages(code: int) -> None:
    rule = RULES[code]
    for advice in (rule.zh, rule.en, UNRECOGNISED.zh, UNRECOGNISED.en):
        assert advice.what
        assert advice.do
    assert rule.advice("zh-CN") is rule.zh
    assert rule.advice("en") is rule.en
    assert any("\u4e00" <= c <= "\u9fff" for c in rule.zh.what + rule.zh.do)
    assert rule.en.what.isascii()
    assert rule.en.do.isascii()


@pytest.mark.parametrize(("kind", "code"), ALL)
def test_the_class_decides_the_outcome(kind: Kind, code: int) -> None:
    match kind:
        case Kind.BUSY | Kind.TOKEN | Kind.RATE | Kind.ACCOUNT:
            assert isinstance(outcome(code), Retry)
        case Kind.DUPLICATE:
            assert isinstance(outcome(code), Accepted)
        case _:
            assert isinstance(outcome(code), Rejected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            45011,
            Retry(Reason.PROVIDER_RATE_LIMITED, timedelta(minutes=1), "errcode 45011: words", code="45011"),
        ),
        (
            43108,
            Retry(Reason.PROVIDER_RATE_LIMITED, timedelta(seconds=2), "errcode 43108: words", code="43108"),
        ),
        (-1, Retry(Reason.PROVIDER_DOWN, None, "errcode -1: words", code="-1")),
        (42001, Retry(Reason.AUTH_FAILED, None, "errcode 42001: words", code="42001")),
        (40164, Retry(Reason.AUTH_FAILED, timedelta(minutes=10), "errcode 40164: words", code="40164")),
        (89506, Retry(Reason.AUTH_FAILED, timedelta(days=1), "errcode 89506: words", code="89506")),
        (89507, Retry(Reason.AUTH_FAILED, timedelta(hours=1), "errcode 89507: words", code="89507")),
        (43101, Rejected(Reason.OPT_IN_REQUIRED, "errcode 43101: words", "43101")),
        (43004, Rejected(Reason.UNSUBSCRIBED, "errcode 43004: words", "43004")),
        (47003, Rejected(Reason.TEMPLATE_INVALID, "errcode 47003: words", "47003")),
        (41001, Rejected(Reason.ADAPTER_BUG, "errcode 41001: words", "41001")),
    ],
)
def test_outcomes_in_full(code: int, expected: object) -> None:
    assert outcome(code) == expected


def test_the_day_quota_waits_for_the_next_day_in_beijing() -> None:
    result = outcome(45009)
    assert isinstance(result, Retry)
    assert result.after is not None
    assert (NOW + result.after).astimezone(BEIJING) == datetime(2026, 3, 2, 0, 5, tzinfo=BEIJING)
    late = datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)
    assert Pauses().of(Pause.NEXT_DAY, late) == timedelta(minutes=5, seconds=1)


def test_pauses_are_settings() -> None:
    slow = Pauses(minute=timedelta(minutes=3))
    failure = failure_of(45011, "")
    assert outcome_of(failure, now=NOW, attempt=1, pauses=slow) == Retry(
        Reason.PROVIDER_RATE_LIMITED, timedelta(minutes=3), "errcode 45011: ", code="45011"
    )


@pytest.mark.parametrize("code", [99999, 12, -2, 0])
def test_an_unknown_code_is_tried_once_more_and_then_refused(code: int) -> None:
    assert rule_for(code) is UNRECOGNISED
    assert isinstance(outcome(code, attempt=1), Retry)
    assert outcome(code, attempt=2) == Rejected(Reason.UNKNOWN, f"errcode {code}: words", str(code))


def test_what_may_have_been_sent_is_unknown() -> None:
    failure = Failure(Kind.AMBIGUOUS, Reason.TIMED_OUT, words="no answer in time")
    assert failure.sent is None
    assert outcome_of(failure, now=NOW, attempt=1) == Unknown(Reason.TIMED_OUT, "no answer in time")


def test_sent_says_what_is_known() -> None:
    assert failure_of(43101, "").sent is False
    assert failure_of(45065, "").sent is True


def test_a_wrong_secret_is_not_a_stale_token() -> None:
    assert rule_for(40001, at_token_endpoint=True).kind is Kind.ACCOUNT
    assert rule_for(40001).kind is Kind.TOKEN
    assert failure_of(40013, "", at_token_endpoint=True).kind is Kind.ACCOUNT


@pytest.mark.parametrize(
    ("words", "rid", "fields"),
    [
        (
            "argument invalid! data.thing4.value invalid rid: 66bdb248-1fa23ff9-58483015",
            "66bdb248-1fa23ff9-58483015",
            ("thing4",),
        ),
        ("argument invalid! data.thing3.value is emtpy hint: [abCd1234]", "abCd1234", ("thing3",)),
        ("data.character_string10.value invalid data.thing1.value", None, ("character_string10", "thing1")),
        ("nothing named", None, ()),
    ],
)
def test_ids_and_fields_are_read_from_the_words(words: str, rid: str | None, fields: tuple[str, ...]) -> None:
    failure = failure_of(47003, words)
    assert (failure.rid, failure.fields) == (rid, fields)


def test_only_templates_that_are_banned_break() -> None:
    breaking = {code for code, rule in RULES.items() if rule.breaks is Breaks.TEMPLATE}
    assert breaking == {43107, 43116}
    assert all((rule.breaks is Breaks.ACCOUNT) == (rule.kind is Kind.ACCOUNT) for rule in RULES.values())


def test_what_a_code_teaches_about_the_person() -> None:
    assert failure_of(43101, "").effect is Effect.NO_GRANT
    assert failure_of(40003, "").effect is Effect.NO_SUCH_OPENID
    assert failure_of(43004, "").effect is Effect.NOT_FOLLOWING
    assert failure_of(47003, "").effect is Effect.NONE


def test_every_pause_is_answered() -> None:
    assert {p: Pauses().of(p, NOW) is None for p in Pause} == {p: p is Pause.DEFAULT for p in Pause}


def test_details_are_bounded_and_carry_the_request_id_once() -> None:
    assert len(failure_of(-1, "x" * 10_000).detail) == 500
    assert Failure(Kind.BUSY, Reason.UNKNOWN, rid="abc").detail == " (rid abc)"
    assert failure_of(-1, "busy rid: abcd").detail == "errcode -1: busy rid: abcd"
