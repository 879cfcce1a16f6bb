"""Each type of field: what it takes, what it does not, and what is made fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.channels._wechat.fields import (
    RULES,
    Fault,
    Problem,
    check,
    render,
    render_all,
    rule_of,
    shorten,
    type_of,
)
from hub.core.templates import Overflow

GOOD: dict[str, list[str]] = {
    "thing": ["x" * 20, "差旅报销，¥1200 ✓", "字" * 20, "👍" * 20],
    "number": ["0", "1" * 32, "-12.50", "1" * 30 + ".12"],
    "letter": ["a", "Z" * 32],
    "symbol": ["+-*/!", "@", "￥"],
    "character_string": ["A-2026/0001", "x" * 32, "!~"],
    "time": [
        "15:01",
        "09:12:30",
        "24:00",
        "2019年10月1日 15:01",
        "2019-12-25 09:42",
        "2019-12-25 09:42:11",
        "2019年10月1日15:01",
        "10:00~12:00",
        "2019-12-25 09:42 ~ 2019-12-26 09:42",
    ],
    "date": [
        "2019年10月1日",
        "2019-10-01",
        "2019/10/1",
        "2019.10.01",
        "2019-10",
        "2019年10月",
        "10-01",
        "10月1日",
        "2019-10-01 15:01",
        "2019年10月1日 15:01",
        "2019-10-01~2019-10-07",
        "2019年10月1日 ~ 2019年10月7日 12:00",
    ],
    "amount": ["0", "¥1200.00", "￥1", "$9999999999", "1234567890.123", "100元", "€5.5", "¥1.00元", "₹1"],
    "phone_number": ["+86-0766-66888866", "13800138000", "(010) 8888"],
    "car_number": ["粤A8Z888挂", "粤B12345", "A", "使12345", "WJ12345X"],
    "name": ["王小明", "字" * 10, "a" * 20, "J. O'Neill", "欧阳a b"],
    "phrase": ["配送中", "已完成", "字" * 5],
    "enum": ["通过"],
    "const": ["x" * 20],
}
BAD: dict[str, list[tuple[str, Fault]]] = {
    "thing": [("x" * 21, Fault.TOO_LONG), ("a\nb", Fault.MALFORMED), ("a\x00", Fault.MALFORMED)],
    "number": [
        ("1" * 33, Fault.TOO_LONG),
        ("1" * 32 + ".1", Fault.TOO_LONG),
        ("1.", Fault.MALFORMED),
        ("1,000", Fault.MALFORMED),
        ("1e5", Fault.MALFORMED),
        ("٣", Fault.MALFORMED),
    ],
    "letter": [
        ("a" * 33, Fault.TOO_LONG),
        ("a1", Fault.MALFORMED),
        ("字", Fault.MALFORMED),
        ("é", Fault.MALFORMED),
    ],
    "symbol": [
        ("!" * 6, Fault.TOO_LONG),
        ("!a", Fault.MALFORMED),
        ("! !", Fault.MALFORMED),
        ("字", Fault.MALFORMED),
    ],
    "character_string": [("x" * 33, Fault.TOO_LONG), ("a b", Fault.MALFORMED), ("单号1", Fault.MALFORMED)],
    "time": [
        ("2020-01-18 16:18:49.0", Fault.MALFORMED),
        ("25:00", Fault.MALFORMED),
        ("24:30", Fault.MALFORMED),
        ("1٣:00", Fault.MALFORMED),
        ("12:60", Fault.MALFORMED),
        ("2019-12-25", Fault.MALFORMED),
        ("2019-12/25 10:00", Fault.MALFORMED),
        ("2026-03-01T09:12:00+08:00", Fault.MALFORMED),
        ("下午3点", Fault.MALFORMED),
        ("1" * 65, Fault.TOO_LONG),
    ],
    "date": [("15:01", Fault.MALFORMED), ("20191001", Fault.MALFORMED), ("1" * 65, Fault.TOO_LONG)],
    "amount": [
        ("12345678901", Fault.TOO_LONG),
        ("¥¥1", Fault.MALFORMED),
        ("-1", Fault.MALFORMED),
        ("1,200", Fault.MALFORMED),
        ("一百", Fault.MALFORMED),
    ],
    "phone_number": [("1" * 18, Fault.TOO_LONG), ("电话", Fault.MALFORMED), ("x123", Fault.MALFORMED)],
    "car_number": [
        ("粤A8Z888挂1", Fault.TOO_LONG),
        ("A粤B123", Fault.MALFORMED),
        ("粤A 123", Fault.MALFORMED),
    ],
    "name": [("字" * 11, Fault.TOO_LONG), ("a" * 21, Fault.TOO_LONG), ("字" + "a" * 10, Fault.TOO_LONG)],
    "phrase": [("字" * 6, Fault.TOO_LONG), ("ok", Fault.MALFORMED), ("配送!", Fault.MALFORMED)],
    "enum": [("x" * 21, Fault.TOO_LONG)],
    "const": [("x" * 21, Fault.TOO_LONG), ("a\nb", Fault.MALFORMED)],
}


def test_every_type_is_tested() -> None:
    assert set(GOOD) == set(BAD) == set(RULES)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values]
)
def test_what_fits_is_sent_as_it_is(kind: str, value: str) -> None:
    for field in (f"{kind}1", f"{kind}01", f"{kind}10"):
        assert check(field, value) is None
        assert render(field, value) == value


@pytest.mark.parametrize(
    ("kind", "value", "fault"), [(kind, value, fault) for kind, rows in BAD.items() for value, fault in rows]
)
def test_what_does_not_fit_is_refused_with_its_reason(kind: str, value: str, fault: Fault) -> None:
    problem = check(f"{kind}1", value)
    assert problem is not None
    assert (problem.fault, problem.code) == (fault, f"wx.{kind}.{fault.value}")
    assert problem.zh
    assert problem.en.startswith(f"{kind}1: ")


@pytest.mark.parametrize("kind", [*RULES, "first", "unheard_of"])
def test_nothing_is_refused_by_every_type(kind: str) -> None:
    for nothing in ("", "  ", "\n"):
        result = render(f"{kind}1", nothing)
        assert isinstance(result, Problem)
        assert result.fault is Fault.EMPTY


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("thing1", "x" * 21, "x" * 19 + "…"),
        ("thing1", "x" * 20, "x" * 20),
        ("character_string1", "x" * 33, "x" * 29 + "..."),
        ("name1", "字" * 11, "字" * 9 + "…"),
        ("name1", "a" * 21, "a" * 19 + "…"),
        ("keyword1", "x" * 30, "x" * 19 + "…"),
        ("thing1", "hello   " + "x" * 3 + " " * 5 + "y" * 30, "hello xxx " + "y" * 9 + "…"),
        ("thing1", "a" * 18 + " " + "b" * 9, "a" * 18 + "…"),
    ],
)
def test_what_is_too_long_is_shortened_where_the_mapping_says_so(
    field: str, value: str, expected: str
) -> None:
    assert render(field, value, overflow=Overflow.ELLIPSIS) == expected
    assert check(field, expected) is None


@pytest.mark.parametrize("kind", sorted(set(RULES) - {"thing", "name", "character_string"}))
def test_what_would_say_something_else_is_never_shortened(kind: str) -> None:
    value = {"amount": "1" * 11, "car_number": "A" * 9, "phrase": "字" * 6}.get(kind, "1" * 70)
    assert isinstance(render(f"{kind}1", value, overflow=Overflow.ELLIPSIS), Problem)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("thing1", "  line one\nline two\r\n", "line one line two"),
        ("thing1", "a\u2028b\x00c\td", "a b c d"),
        ("amount1", "¥1,234,567.00", "¥1234567.00"),
        ("number1", "1,000", "1000"),
        ("time1", "2020-01-18 16:18:49.0", "2020-01-18 16:18:49"),
        ("date1", " 2020-01-18 16:18:49.123456 ", "2020-01-18 16:18:49"),
        ("letter1", " abc ", "abc"),
    ],
)
def test_what_changes_the_form_only_is_tidied(field: str, value: str, expected: str) -> None:
    assert render(field, value) == expected


def test_separators_that_separate_no_thousands_stay_wrong() -> None:
    assert isinstance(render("amount1", "1,2"), Problem)


def test_an_enum_takes_its_values_only() -> None:
    assert render("enum1", "通过", values=("通过", "拒绝")) == "通过"
    problem = render("enum1", "也许", values=("通过", "拒绝"), overflow=Overflow.ELLIPSIS)
    assert isinstance(problem, Problem)
    assert problem.fault is Fault.NOT_IN_ENUM
    assert "通过" in problem.zh


def test_new_types_are_left_to_wechat() -> None:
    assert rule_of("hologram1") is None
    assert render("hologram1", "x" * 500) == "x" * 500
    assert type_of("character_string10") == "character_string"


EMOJI = ["👍", "👩‍👩‍👧‍👦", "👍🏽", "❤️", "é", "🇨🇳"]


@given(st.lists(st.sampled_from([*EMOJI, "a", "字", " "]), max_size=40).map("".join), st.integers(5, 30))
def test_a_shortened_text_keeps_to_the_limit_however_emoji_are_counted(text: str, limit: int) -> None:
    result = shorten(text, limit, "…")
    assert len(result.encode("utf-16-le")) // 2 <= limit
    if result != text:
        kept = result.removesuffix("…")
        assert text.startswith(kept)
        assert not kept.endswith("\u200d")
        following = text[len(kept) :].lstrip(" ")[:1]
        assert following not in ("\u200d", "\ufe0f", "\u0301", "🏽")


@given(st.text(max_size=60), st.sampled_from(sorted(RULES)), st.sampled_from(Overflow))
def test_whatever_is_rendered_passes_the_check(text: str, kind: str, overflow: Overflow) -> None:
    result = render(f"{kind}1", text, overflow=overflow)
    if isinstance(result, str):
        assert check(f"{kind}1", result) is None
        assert render(f"{kind}1", result, overflow=overflow) == result


def test_a_message_has_exactly_the_fields_of_its_template() -> None:
    fields = ("thing1", "amount2", "enum3")
    data = {"thing1": "x" * 30, "amount2": "¥1,200", "enum3": "通过"}
    enums = {"enum3": ("通过", "拒绝")}
    assert render_all(fields, data, overflow={"thing1": Overflow.ELLIPSIS}, enums=enums) == {
        "thing1": "x" * 19 + "…",
        "amount2": "¥1200",
        "enum3": "通过",
    }
    problems = render_all(fields, {"thing1": "x" * 30, "extra9": "1", "enum3": "也许"}, enums=enums)
    assert isinstance(problems, tuple)
    assert {(problem.field, problem.fault) for problem in problems} == {
        ("extra9", Fault.UNEXPECTED),
        ("thing1", Fault.TOO_LONG),
        ("amount2", Fault.MISSING),
        ("enum3", Fault.NOT_IN_ENUM),
    }
    assert render_all((), {}) == {}
