"""What the typed fields of templates take."""

from __future__ import annotations

import pytest

from hub.sandbox.fields import RULES, prefix_of, slots

GOOD = {
    "thing": ["差旅报销 A1!", "x" * 20],
    "number": ["1", "3.14", "-2", "9" * 32],
    "letter": ["abcXYZ", "a" * 32],
    "symbol": ["!!", "#￥%&*"],
    "character_string": ["A-1/b_2", "x" * 32],
    "time": ["15:01", "2019年10月1日 15:01", "2019-12-25 09:42", "15:01~16:00", "2026-03-01 09:12:30"],
    "date": [
        "2019年10月1日",
        "2019年10月1日 15:01",
        "2019-10-01",
        "2019/10/1",
        "2019.10.1~2019.10.3",
        "10-1",
    ],
    "amount": ["100", "¥100.50", "100元", "￥1234567890.99元"],
    "phone_number": ["+86-0766-66888866", "13800138000"],
    "car_number": ["粤A8Z888挂", "京A12345"],
    "name": ["一二三四五六七八九十", "John Smith Junior Xx"],
    "phrase": ["配送中", "审批已通过"],
    "const": ["待审批"],
}
BAD = {
    "thing": ["", "x" * 21, "a\nb", "a\tb"],
    "number": ["x", "1.", "9" * 33, "1,000"],
    "letter": ["a1", "中", "a" * 33, "a b"],
    "symbol": ["a", "1", "中", "!!!!!!"],
    "character_string": ["中文", "x" * 33, "a b"],
    "time": ["2020-01-18 16:18:49.0", "25:00", "tomorrow", "2019年10月1日", ""],
    "date": ["15:01", "yesterday", "2019"],
    "amount": ["abc", "12345678901", "¥¥1", "1 元"],
    "phone_number": ["1" * 18, "phone"],
    "car_number": ["粤A8Z888挂挂挂挂", "-"],
    "name": ["一二三四五六七八九十一", "x" * 21, "王小明2"],
    "phrase": ["一二三四五六", "abc", "好!"],
    "const": ["x" * 21],
}


@pytest.mark.parametrize(("prefix", "value"), [(name, value) for name in GOOD for value in GOOD[name]])
def test_taken(prefix: str, value: str) -> None:
    assert RULES[prefix](value)


@pytest.mark.parametrize(("prefix", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_refused(prefix: str, value: str) -> None:
    assert not RULES[prefix](value)


def test_every_rule_is_tested() -> None:
    assert set(RULES) == set(GOOD) == set(BAD)


def test_slots_with_their_labels() -> None:
    assert slots("审批事项:{{thing1.DATA}}\n时间：{{time2.DATA}}\n{{first.DATA}}") == [
        ("审批事项", "thing1"),
        ("时间", "time2"),
        ("", "first"),
    ]


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("thing01", "thing"),
        ("character_string10", "character_string"),
        ("enum2", "enum"),
        ("keyword1", ""),
        ("first", ""),
    ],
)
def test_prefixes(key: str, prefix: str) -> None:
    assert prefix_of(key) == prefix
