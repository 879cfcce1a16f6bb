"""Checks before anything is sent: at publishing, at accepting, and what a preview shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.channels._wechat.errcodes import RULES
from hub.core.accounts import AccountId
from hub.core.channel import Explains, Templated
from hub.core.errors import Refused
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.templates import ChannelMapping
from hub.store.clock import utc_now
from tests.sandbox.post import (
    APP,
    DATA,
    MAPPINGS,
    MEETING_MAPPING,
    OFFICIAL,
    TODO_FIELDS,
    Post,
    field_map,
    version_of,
)
from tests.sandbox.rig import MP_LEVEL, MP_TODO, TODO

ALICE = Recipient("alice")


async def test_mappings_that_fit_have_no_faults(post: Post) -> None:
    worker = await post.worker()
    for channel, mapping in (
        (worker.mp, MAPPINGS[0]),
        (worker.mini, MAPPINGS[1]),
        (worker.mp, MEETING_MAPPING),
    ):
        assert isinstance(channel, Templated)
        assert list(await channel.check_mapping(APP, mapping)) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"template": "TM00001"}, "wx.template.unknown"),
        ({"account": AccountId("acc_none")}, "wx.account.unknown"),
        (
            {"fields": {name: TODO_FIELDS[name] for name in ("thing1", "thing2", "time3", "amount4")}},
            "wx.const.missing",
        ),
        ({"fields": TODO_FIELDS | field_map(thing6="x")}, "wx.thing.unexpected"),
        ({"fields": TODO_FIELDS | field_map(thing1="字" * 21)}, "wx.thing.too_long"),
        ({"fields": TODO_FIELDS | field_map(amount4="many")}, "wx.amount.malformed"),
        ({"page": "https://" + "x" * 2_000}, "wx.page.too_long"),
        ({"page": "", "url": "javascript:{{ id }}"}, "wx.url.malformed"),
    ],
)
async def test_a_mapping_that_wechat_would_refuse(post: Post, changes: dict[str, object], code: str) -> None:
    worker = await post.worker()
    faults = await worker.mp.check_mapping(APP, replace(MAPPINGS[0], **changes))  # type: ignore[arg-type]
    assert [fault.code for fault in faults] == [code]
    assert all(fault.detail for fault in faults)


async def test_an_address_that_the_data_bring_is_looked_at_when_they_are_there(post: Post) -> None:
    worker = await post.worker()
    mapping = replace(MAPPINGS[0], page="", url="{{ link }}")
    assert list(await worker.mp.check_mapping(APP, mapping)) == []
    version = version_of(mapping)
    for link, codes in (("https://oa.example.com/t/1", []), ("javascript:alert(1)", ["wx.url.malformed"])):
        faults = await worker.mp.check_content(APP, version, {**DATA, "link": link}, ALICE)
        assert [fault.code for fault in faults] == codes


async def test_an_app_without_accounts_cannot_be_checked_against_any(post: Post) -> None:
    worker = await post.worker()
    (fault,) = await worker.mp.check_mapping(AppId("app_empty"), MAPPINGS[0])
    assert fault.code == "wx.account.none"


async def test_a_template_that_is_gone_is_said_to_be(post: Post) -> None:
    worker = await post.worker()
    await post.books.templates.replace(OFFICIAL, [], now=utc_now())
    (fault,) = await worker.mp.check_mapping(APP, MAPPINGS[0])
    assert fault.code == "wx.template.gone"


async def test_data_are_checked_as_they_would_be_sent(post: Post) -> None:
    worker = await post.worker()
    version = version_of(*MAPPINGS)
    assert list(await worker.mp.check_content(APP, version, DATA, ALICE)) == []
    (fault,) = await worker.mp.check_content(APP, version, {**DATA, "what": "字" * 27}, ALICE)
    assert (fault.field, fault.code) == ("thing1", "wx.thing.too_long")
    assert fault.detail == "thing1: at most 20 characters, got 27"
    faults = await worker.mini.check_content(APP, version, {**DATA, "who": "字" * 11, "what": ""}, ALICE)
    assert {fault.code for fault in faults} == {"wx.name.too_long", "wx.thing.empty"}
    assert [f.code for f in await worker.mp.check_content(APP, version_of(MAPPINGS[1]), DATA, ALICE)] == [
        "wx.template.unmapped"
    ]
    assert list(await worker.mp.check_content(AppId("app_empty"), version, DATA, ALICE)) == []


async def test_an_enum_of_the_provider_is_checked(post: Post) -> None:
    worker = await post.worker()
    fields = field_map(character_string1="{{ id }}", enum2="{{ what }}", thing3="x")
    version = version_of(ChannelMapping("miniprogram", MP_LEVEL, fields))
    (fault,) = await worker.mini.check_content(APP, version, DATA, ALICE)
    assert fault.code == "wx.enum.not_in_enum"
    assert list(await worker.mini.check_content(APP, version, {**DATA, "what": "紧急"}, ALICE)) == []


async def test_a_preview_is_the_request_without_an_address(post: Post) -> None:
    worker = await post.worker()
    version = version_of(*MAPPINGS)
    shown = await worker.mini.preview(APP, version, DATA, ALICE)
    assert shown == {
        "template_id": MP_TODO,
        "data": {
            "thing1": {"value": "差旅报销"},
            "name2": {"value": "王小明"},
            "time3": {"value": "2026年3月1日 09:12"},
            "amount4": {"value": "¥1200.00"},
        },
        "page": "pages/task/detail?id=7",
        "miniprogram_state": "formal",
        "lang": "zh_CN",
    }
    official = await worker.mp.preview(APP, version, DATA, ALICE, account=OFFICIAL)
    assert (official["template_id"], official["url"]) == (TODO, "https://oa.example/t/7")
    assert "touser" not in official
    assert (await worker.mp.preview(AppId("app_empty"), version, DATA, ALICE))["template_id"] == TODO
    with pytest.raises(Refused):
        await worker.mp.preview(APP, version, {**DATA, "what": "字" * 27}, ALICE)
    with pytest.raises(Refused):
        await worker.mp.preview(APP, replace(version, mappings=()), DATA, ALICE)


async def test_every_code_is_told_in_two_languages(post: Post) -> None:
    worker = await post.worker()
    for channel in (worker.mp, worker.mini):
        assert isinstance(channel, Explains)
        for code in RULES:
            chinese, english = channel.explain(str(code), "zh-CN"), channel.explain(str(code), "en")
            assert chinese is not None
            assert english is not None
            assert chinese.what != english.what
    own = worker.mp.explain("wx.thing.too_long", "zh-CN")
    assert own is not None
    assert "20" in own.do
    for known in ("wx.grant.none", "wx.grant.used_up", "wx.template.none", "wx.name.empty", "-1"):
        assert worker.mini.explain(known, "en") is not None
    for strange in ("99999", "nothing", "wx.", "wx.thing", "", "wx.thing.beautiful"):
        assert worker.mini.explain(strange, "en") is None
