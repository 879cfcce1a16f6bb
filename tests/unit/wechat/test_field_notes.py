"""What people are told of a template's fields."""

from __future__ import annotations

import pytest

from hub.channels._wechat.field_notes import fields_of
from hub.core.accounts import AccountId, ProviderTemplate, TemplateKind


def examples(content: str, example: str, *fields: str) -> list[str]:
    template = ProviderTemplate(
        AccountId("a"), "t", TemplateKind.MESSAGE, "题", content, fields, example=example
    )
    return [field.example for field in fields_of(template)]


@pytest.mark.parametrize(
    ("content", "example", "expected"),
    [
        ("时间:{{time1.DATA}}\n地点:{{thing2.DATA}}", "时间:15:01\n地点:二楼", ["15:01", "二楼"]),
        ("{{ time1.DATA }}\n\n（{{thing2.DATA}}）", "15:01\n（二楼）\n", ["15:01", "二楼"]),
        ("{{time1.DATA}} {{thing2.DATA}}", "15:01 二楼", ["", ""]),
        ("时间:{{time1.DATA}}", "完全不同", ["", ""]),
        ("aba{{time1.DATA}}aba", "aba", ["", ""]),
        ("", "", ["", ""]),
    ],
)
def test_an_example_is_read_off_the_filled_content(content: str, example: str, expected: list[str]) -> None:
    assert examples(content, example, "time1", "thing2") == expected


def test_each_field_has_its_rule_and_an_unknown_one_none() -> None:
    template = ProviderTemplate(
        AccountId("a"),
        "t",
        TemplateKind.ONE_TIME,
        "题",
        "",
        ("thing1", "enum2", "novelty3"),
        {"enum2": ("是", "否")},
    )
    thing, enum, novelty = fields_of(template)
    assert (thing.type, thing.limit, bool(thing.rule)) == ("thing", 20, True)
    assert (enum.values, thing.values) == (("是", "否"), ())
    assert (novelty.type, novelty.limit, novelty.rule) == ("novelty", None, "")
