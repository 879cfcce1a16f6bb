"""Templates: what they become for a person, what is wrong with them, and that nothing makes them raise or crawl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.channels._wechat import fields as wechat
from hub.core.formatting import FILTERS
from hub.core.identity import Recipient
from hub.core.message import AppId, NotificationDraft, NotificationId
from hub.core.policy import PUSH_ONLY
from hub.core.rendering import (
    OUTPUT_LIMIT,
    RenderCode,
    RenderFault,
    check_text,
    hub_names,
    locale_for,
    render_fields,
    render_text,
    speaking,
    variables_of,
)
from hub.core.template_data import VariableType, check_data
from hub.core.templates import FieldMapping, LocaleText, TemplateVersion

ZH = Recipient("u_1", "zh-CN", "Asia/Shanghai")
EN = Recipient("u_2", "en", "Europe/Berlin")
DATA: Mapping[str, object] = {
    "title": "差旅报销 ✈️",
    "applicant": {"name": "王某", "部门": "财务"},
    "amount": "1200",
    "at": "2026-03-01T15:01:30+08:00",
    "day": "2026-03-01",
    "urgent": True,
    "count": 3,
    "rate": 0.1,
    "note": None,
    "empty": "",
    "list": [1, 2],
}


def _fault(template: str, data: Mapping[str, object] = DATA) -> RenderFault:
    found = render_text(template, data, ZH)
    assert isinstance(found, RenderFault), found
    return found


@pytest.mark.parametrize(
    ("template", "zh", "en"),
    [
        ("没有占位符 {x} }}", "没有占位符 {x} }}", None),
        ("{{title}}:{{ applicant.name }}", "差旅报销 ✈️:王某", None),
        ("{{ applicant.部门 }}", "财务", None),
        ("{{ at | datetime }}", "2026年3月1日 15:01", "2026-03-01 08:01"),
        ("{{ at | date }}", "2026年3月1日", "2026-03-01"),
        ("{{ at | time }}", "15:01", "08:01"),
        ("{{ day | date }}", "2026年3月1日", "2026-03-01"),
        ("{{ amount | amount }}", "¥1,200.00", None),
        ('{{ amount | amount: "USD" }}', "$1,200.00", None),
        ("{{ amount | amount: JPY }}", "￥1,200", None),
        ("{{ amount | amount: 'CHF' }}", "CHF 1,200.00", None),
        ("{{ amount | plain_amount }}", "¥1200.00", None),
        ("{{ rate | amount }}", "¥0.10", None),
        ("{{ count }} {{ rate }} {{ urgent }}", "3 0.1 是", "3 0.1 yes"),
        ("[{{ note }}{{ empty }}]", "[]", None),
        ('{{ note | default: "无" }}{{ nothing | default: "a|b" }}', "无a|b", None),
        ("{{ title | truncate: 4 }}", "差旅报…", None),
        ("{{ day | upper | truncate: 20 }}", "2026-03-01", None),
        (
            "p?id={{ title | urlencode }}",
            "p?id=%E5%B7%AE%E6%97%85%E6%8A%A5%E9%94%80%20%E2%9C%88%EF%B8%8F",
            None,
        ),
        ("{{ hub.user_id }}/{{ hub.locale }}/{{ hub.thread }}", "u_1/zh-CN/", "u_2/en/"),
    ],
)
def test_placeholders_become_what_the_person_reads(template: str, zh: str, en: str | None) -> None:
    assert render_text(template, DATA, ZH) == zh
    if en is not None:
        assert render_text(template, DATA, EN) == en


@pytest.mark.parametrize("person", [ZH, EN, Recipient("x", "fr-CA", "America/St_Johns")])
def test_times_and_amounts_pass_the_rules_of_wechats_fields(person: Recipient) -> None:
    for field, template in [
        ("time1", "{{ at | datetime }}"),
        ("time2", "{{ at | time }}"),
        ("date3", "{{ at | date }}"),
        ("date4", "{{ at | datetime }}"),
        ("amount5", "{{ amount | plain_amount }}"),
    ]:
        text = render_text(template, DATA, person)
        assert isinstance(text, str)
        assert wechat.check(field, text) is None, (field, text)


def test_a_summer_time_and_a_leap_day_are_told_in_the_persons_zone() -> None:
    data = {"at": "2028-02-29T23:30:00Z"}
    assert render_text("{{ at | datetime }}", data, ZH) == "2028年3月1日 07:30"
    assert render_text("{{ at | datetime }}", {"at": "2026-07-01T00:00:00Z"}, EN) == "2026-07-01 02:00"
    assert render_text("{{ at | datetime }}", data, Recipient("x", "en", "Not/AZone")) == "2028-02-29 23:30"


def test_what_is_not_there_is_named_with_the_nearest_that_is() -> None:
    fault = _fault("{{ titel }}")
    assert (fault.code, fault.name, fault.near) == (RenderCode.UNKNOWN_VARIABLE, "titel", "title")
    assert _fault("{{ applicant.nam }}").near == "applicant.name"
    fault = _fault("{{ at | datetme }}")
    assert (fault.code, fault.name, fault.near) == (RenderCode.UNKNOWN_FILTER, "datetme", "datetime")
    assert _fault("{{ hub.nothing }}").code is RenderCode.UNKNOWN_VARIABLE


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ title", RenderCode.MALFORMED),
        ("{{ }}", RenderCode.MALFORMED),
        ("{{ a b }}", RenderCode.MALFORMED),
        ("{{ title.__class__ }}", RenderCode.UNKNOWN_VARIABLE),
        ("{{ title|}}", RenderCode.MALFORMED),
        ("{{ title | upper() }}", RenderCode.MALFORMED),
        ("{% for x in y %}{{ 1 + 1 }}", RenderCode.MALFORMED),
        ("{{ title " + "| upper " * 9 + "}}", RenderCode.MALFORMED),
        ("{{ title | truncate }}", RenderCode.BAD_ARGUMENT),
        ("{{ title | truncate: 0 }}", RenderCode.BAD_ARGUMENT),
        ("{{ title | truncate: ４ }}", RenderCode.BAD_ARGUMENT),
        ("{{ title | upper: 3 }}", RenderCode.BAD_ARGUMENT),
        ("{{ amount | amount: usd }}", RenderCode.BAD_ARGUMENT),
        ("{{ title | datetime }}", RenderCode.BAD_VALUE),
        ("{{ day | datetime }}", RenderCode.BAD_VALUE),
        ("{{ title | amount }}", RenderCode.BAD_VALUE),
        ("{{ urgent | amount }}", RenderCode.BAD_VALUE),
        ("{{ list }}", RenderCode.BAD_VALUE),
        ("{{ applicant }}", RenderCode.BAD_VALUE),
        ("x" * (OUTPUT_LIMIT + 1), RenderCode.TOO_LONG),
    ],
)
def test_what_is_wrong_is_a_value_that_says_so(template: str, code: RenderCode) -> None:
    assert _fault(template).code is code


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), float("inf"), 1e300, "1e999999", "٣", "9" * 16, "0x10", "1_000", "--1"]
)
def test_numbers_that_cannot_be_money_are_refused_and_never_printed(value: Any) -> None:
    assert _fault("{{ x | amount }}", {"x": value}).code is RenderCode.BAD_VALUE


@pytest.mark.parametrize(
    "value", ["2026-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-03-01T09:12:00"]
)
def test_times_that_do_not_exist_or_name_no_zone_are_refused(value: str) -> None:
    assert _fault("{{ x | datetime }}", {"x": value}).code is RenderCode.BAD_VALUE


def test_details_never_repeat_a_value() -> None:
    secret = "证件号-440101"
    for template in ("{{ x | datetime }}", "{{ x | amount }}", "{{ y }}"):
        assert secret not in _fault(template, {"x": secret}).detail


def test_control_characters_are_removed_and_line_breaks_stay() -> None:
    data = {"x": "a\x00b\x1b[31m\ud800c\u2028\n\td\x9f"}
    assert render_text("{{ x }}", data, ZH) == "ab[31mc\n\td"


def test_markup_in_data_is_text_and_is_not_filled_again() -> None:
    data = {"x": "{{ y }}<script>", "y": "geheim"}
    assert render_text("{{ x }}", data, ZH) == "{{ y }}<script>"


def test_output_is_bounded_however_often_a_long_value_is_named() -> None:
    assert _fault("{{ x }}" * 50, {"x": "文" * 1_000}).code is RenderCode.TOO_LONG
    assert _fault("{{ x }}", {"x": "文" * 200_000}).code is RenderCode.BAD_VALUE
    assert render_text("{{ x }}", {"x": "文" * 100}, ZH, limit=100) == "文" * 100


def test_fields_are_all_filled_or_all_their_faults_are_told() -> None:
    good = {"thing1": FieldMapping("{{ title }}"), "time2": FieldMapping("{{ at | datetime }}")}
    assert render_fields(good, DATA, ZH) == {"thing1": "差旅报销 ✈️", "time2": "2026年3月1日 15:01"}
    bad = {**good, "thing3": FieldMapping("{{ x }}"), "thing4": FieldMapping("{{ title | nope }}")}
    faults = render_fields(bad, DATA, ZH)
    assert isinstance(faults, tuple)
    assert [fault.field for fault in faults] == ["thing3", "thing4"]


def test_the_hub_says_what_it_knows_of_a_notification() -> None:
    notification = NotificationDraft(NotificationId("ntf_1"), "oa.task", PUSH_ONLY, thread="inst-7")
    text = "{{ hub.notification }} {{ hub.type }} {{ hub.thread }} {{ hub.digest_of }}"
    assert render_text(text, {}, ZH, hub_names(notification, 3)) == "ntf_1 oa.task inst-7 3"
    assert render_text(text, {"hub": {"type": "mine"}}, ZH, hub_names(None)) == "   1"


def test_checking_finds_every_unknown_variable_before_there_are_data() -> None:
    text = "{{ titel }} {{ at | date }} {{ hub.user_id }} {{ titel }} {{ who | default: '-' }}"
    assert variables_of(text) == ("titel", "at", "who")
    faults = check_text(text, ["title", "at"])
    assert [(fault.name, fault.near) for fault in faults] == [("titel", "title"), ("who", "")]
    assert [fault.code for fault in check_text("{{ x", [])] == [RenderCode.MALFORMED]
    assert variables_of("{{ x") == ()


def _version(*locales: str, default: str = "zh-CN", **variables: str) -> TemplateVersion:
    texts = {locale: LocaleText("t") for locale in locales}
    return TemplateVersion(AppId("a"), "k", 1, texts, default, variables=variables)


@pytest.mark.parametrize(
    ("locales", "wanted", "pinned", "found"),
    [
        (("zh-CN", "en"), "en", None, "en"),
        (("zh-CN", "en"), "EN", None, "en"),
        (("zh-CN", "en"), "en-GB", None, "en"),
        (("zh-CN", "en-US", "en"), "en-GB", None, "en"),
        (("zh-CN", "en-US"), "en-GB", None, "en-US"),
        (("zh-CN", "en"), "fr", None, "zh-CN"),
        (("zh-CN", "en"), "zh-TW", None, "zh-CN"),
        (("zh-CN", "en"), "zh-CN", "en", "en"),
        (("zh-CN", "en"), "en", "fr", "zh-CN"),
    ],
)
def test_the_nearest_locale_is_exact_then_of_the_language_then_the_default(
    locales: tuple[str, ...], wanted: str, pinned: str | None, found: str
) -> None:
    version = _version(*locales)
    assert locale_for(version, wanted, pinned) == found
    assert speaking(Recipient("u", wanted), version, pinned).locale == found


def test_data_must_give_every_variable_as_declared() -> None:
    version = _version(
        "zh-CN",
        **{"title": "text", "who.name": "text", "n": "number", "at": "datetime", "d": "date", "ok": "bool"},
    )
    good = {
        "title": "x",
        "who": {"name": "王"},
        "n": 3,
        "at": "2026-03-01T00:00:00Z",
        "d": "2026-03-01",
        "ok": True,
    }
    assert check_data(version, {**good, "more": []}) == ()
    bad = {"titel": "x", "who": {}, "n": "three", "at": "yesterday", "d": 5, "ok": "yes"}
    faults = check_data(version, bad)
    assert [(fault.name, fault.code.rpartition("_")[2]) for fault in faults] == [
        ("title", "missing"),
        ("who.name", "missing"),
        ("n", "type"),
        ("at", "type"),
        ("d", "type"),
        ("ok", "type"),
    ]
    assert faults[0].near == "titel"
    assert check_data(version, {**good, "title": None})[0].code == "template.variable_type"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_pieces = st.sampled_from(
    [
        "{{",
        "}}",
        "{",
        "|",
        ":",
        '"',
        "'",
        " ",
        "a",
        "b.c",
        "hub.user_id",
        "20",
        "\n",
        *FILTERS,
        "文",
        "\ud83d",
    ]
)


@given(st.lists(_pieces, max_size=40).map("".join), st.dictionaries(st.sampled_from("abc"), _values))
@settings(max_examples=400)
def test_no_template_and_no_data_make_it_raise(template: str, data: dict[str, object]) -> None:
    for person in (ZH, Recipient("x", "", "")):
        result = render_text(template, data, person)
        assert isinstance(result, RenderFault) or len(result) <= OUTPUT_LIMIT
    check_text(template, data)
    variables_of(template)
    for kind in VariableType:
        check_data(_version("zh-CN", a=kind), data)


@given(st.sampled_from(sorted(FILTERS)), _values)
@settings(max_examples=400)
def test_no_value_makes_a_filter_raise(name: str, value: object) -> None:
    argument = {"truncate": ": 3", "default": ": 'x'"}.get(name, "")
    result = render_text(f"{{{{ a | {name}{argument} }}}}", {"a": value}, EN)
    assert isinstance(result, str | RenderFault)


@pytest.mark.parametrize(
    "hostile", ["{{", "{{ a |", "{{ a | default: '", "{{ a.", "}} {{ a }}", "|'\"", "{{ a }}"]
)
def test_the_time_is_linear_in_the_template(hostile: str) -> None:
    text = (hostile * OUTPUT_LIMIT)[:OUTPUT_LIMIT]
    began = time.perf_counter()
    render_text(text, {"a": "x"}, ZH)
    assert time.perf_counter() - began < 0.5
