"""From a mapping and data to WeChat's fields: every rule of every type of field, and links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from hub.channels._wechat.addressing import facts_of
from hub.channels._wechat.client import (
    MiniLang,
    MiniMessage,
    MiniPage,
    SubscribeNotice,
    TemplateMessage,
    body_of,
)
from hub.channels._wechat.mailroom import Letter, unsayable
from hub.channels._wechat.wording import PAGE_LIMIT, Wording, structure, word
from hub.channels.miniprogram.render import ProgramComposer, language
from hub.channels.wechat_mp.render import OfficialComposer
from hub.core.accounts import Account, AccountId, AccountOptions, ProviderTemplate, TemplateKind
from hub.core.channel import ContentFault
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.outcome import Reason
from hub.core.templates import ChannelMapping, FieldMapping, Overflow

READER = Recipient("alice", "zh-CN", "Asia/Shanghai")
REFUSE, ELLIPSIS = Overflow.REFUSE, Overflow.ELLIPSIS


def template(
    *fields: str,
    kind: TemplateKind = TemplateKind.ONE_TIME,
    enums: Mapping[str, tuple[str, ...]] | None = None,
) -> ProviderTemplate:
    return ProviderTemplate(AccountId("acc_1"), "T1", kind, "标题", "", fields, enums or {})


def mapping(overflow: Overflow = REFUSE, page: str = "", url: str = "", **values: str) -> ChannelMapping:
    fields = {name: FieldMapping(value, overflow) for name, value in values.items()}
    return ChannelMapping("miniprogram", "T1", fields, page=page, url=url)


def worded(
    field: str, value: object, overflow: Overflow = REFUSE, **enums: tuple[str, ...]
) -> str | ContentFault:
    """One field that shows one variable."""
    filled = word(
        mapping(overflow, **{field: "{{ v }}"}),
        template(field, enums=enums),
        facts_of({"v": value}, None, 1),
        READER,
    )
    if isinstance(filled, Wording):
        return filled.data[field]
    assert len(filled) == 1
    return filled[0]


GOOD: list[tuple[str, str, str]] = [
    ("thing1", "差旅报销", "差旅报销"),
    ("thing1", " 两行\n文字 ", "两行 文字"),
    ("thing1", "字" * 20, "字" * 20),
    ("number1", "1,200.50", "1200.50"),
    ("letter1", "abcXYZ", "abcXYZ"),
    ("symbol1", "+-*/", "+-*/"),
    ("character_string1", "NO-2026/0001", "NO-2026/0001"),
    ("time1", "15:01", "15:01"),
    ("time1", "2020-01-18 16:18:49.0", "2020-01-18 16:18:49"),
    ("time1", "10:00~12:00", "10:00~12:00"),
    ("date1", "2019年10月1日", "2019年10月1日"),
    ("date1", "2019/10/1", "2019/10/1"),
    ("amount1", "¥1,200.00", "¥1200.00"),
    ("amount1", "100元", "100元"),
    ("phone_number1", "+86-0766-66888866", "+86-0766-66888866"),
    ("car_number1", "粤A8Z888挂", "粤A8Z888挂"),
    ("name1", "王小明", "王小明"),
    ("name1", "a" * 20, "a" * 20),
    ("phrase1", "配送中", "配送中"),
    ("const1", "待审批", "待审批"),
    ("keyword1", "字" * 20, "字" * 20),
]
BAD: list[tuple[str, str, str]] = [
    ("thing1", "字" * 21, "wx.thing.too_long"),
    ("number1", "1" * 33, "wx.number.too_long"),
    ("number1", "十", "wx.number.malformed"),
    ("letter1", "a1", "wx.letter.malformed"),
    ("letter1", "a" * 33, "wx.letter.too_long"),
    ("symbol1", "a", "wx.symbol.malformed"),
    ("symbol1", "!" * 6, "wx.symbol.too_long"),
    ("character_string1", "编号1", "wx.character_string.malformed"),
    ("character_string1", "x" * 33, "wx.character_string.too_long"),
    ("time1", "25:00", "wx.time.malformed"),
    ("time1", "tomorrow", "wx.time.malformed"),
    ("date1", "15:01", "wx.date.malformed"),
    ("amount1", "¥12345678901", "wx.amount.too_long"),
    ("amount1", "很多", "wx.amount.malformed"),
    ("phone_number1", "1" * 18, "wx.phone_number.too_long"),
    ("phone_number1", "call me", "wx.phone_number.malformed"),
    ("car_number1", "粤A8Z888挂挂", "wx.car_number.too_long"),
    ("car_number1", "A B", "wx.car_number.malformed"),
    ("name1", "字" * 11, "wx.name.too_long"),
    ("name1", "a" * 21, "wx.name.too_long"),
    ("phrase1", "字" * 6, "wx.phrase.too_long"),
    ("phrase1", "ok", "wx.phrase.malformed"),
    ("const1", "字" * 21, "wx.const.too_long"),
    ("keyword1", "字" * 21, "wx.keyword.too_long"),
    *(
        (f"{kind}1", "", f"wx.{kind}.empty")
        for kind in ("thing", "time", "amount", "name", "phrase", "number")
    ),
]


@pytest.mark.parametrize(("field", "value", "shown"), GOOD)
def test_what_fits_is_said(field: str, value: str, shown: str) -> None:
    assert worded(field, value) == shown


@pytest.mark.parametrize(("field", "value", "code"), BAD)
def test_what_wechat_would_refuse_is_a_fault_in_plain_words(field: str, value: str, code: str) -> None:
    found = worded(field, value)
    assert isinstance(found, ContentFault)
    assert (found.field, found.code) == (field, code)
    assert found.detail.startswith(f"{field}: ")
    assert found.fix


def test_an_ellipsis_makes_text_fit_and_never_a_number() -> None:
    assert worded("thing1", "字" * 30, ELLIPSIS) == "字" * 19 + "…"
    assert isinstance(worded("amount1", "¥12345678901", ELLIPSIS), ContentFault)
    refused = worded("thing1", "字" * 30)
    assert isinstance(refused, ContentFault)
    assert "overflow=ellipsis" in refused.fix


def test_an_enum_takes_its_values_only() -> None:
    assert worded("enum1", "紧急", enum1=("普通", "紧急")) == "紧急"
    found = worded("enum1", "一般", ELLIPSIS, enum1=("普通", "紧急"))
    assert isinstance(found, ContentFault)
    assert found.code == "wx.enum.not_in_enum"


def test_a_template_wants_all_its_fields_and_no_others() -> None:
    filled = word(mapping(thing1="a", thing9="b"), template("thing1", "time2"), facts_of({}, None, 1), READER)
    assert isinstance(filled, tuple)
    assert {fault.code for fault in filled} == {"wx.thing.unexpected", "wx.time.missing"}
    assert unsayable(filled).reason is Reason.TEMPLATE_INVALID


def test_a_missing_variable_is_a_fault_of_its_field() -> None:
    filled = word(mapping(thing1="{{ whta }}"), template("thing1"), facts_of({"what": "x"}, None, 1), READER)
    assert isinstance(filled, tuple)
    assert (filled[0].field, filled[0].code) == ("thing1", "template.unknown_variable")
    assert unsayable(filled).reason is Reason.TEMPLATE_INVALID


def test_faults_of_values_are_the_contents() -> None:
    found = worded("thing1", "字" * 21)
    assert isinstance(found, ContentFault)
    outcome = unsayable([found])
    assert (outcome.reason, outcome.code) == (Reason.CONTENT_REFUSED, "wx.thing.too_long")


def test_dates_speak_the_readers_language_and_zone() -> None:
    one = mapping(time1="{{ at | datetime }}")
    facts = facts_of({"at": "2026-03-01T01:12:00Z"}, None, 1)
    chinese = word(one, template("time1"), facts, READER)
    english = word(one, template("time1"), facts, Recipient("bob", "en", "UTC"))
    assert isinstance(chinese, Wording)
    assert isinstance(english, Wording)
    assert (chinese.data["time1"], english.data["time1"]) == ("2026年3月1日 09:12", "2026-03-01 01:12")


def test_constants_are_checked_before_there_are_data() -> None:
    faults = structure(
        mapping(page="p" * (PAGE_LIMIT + 1), thing1="字" * 21, time2="{{ at }}", enum4="x", thing5="ok"),
        template("thing1", "time2", "thing3", "enum4", "thing5", enums={"enum4": ("a", "b")}),
    )
    codes = ["wx.thing.too_long", "wx.thing.missing", "wx.enum.not_in_enum", "wx.page.too_long"]
    assert [fault.code for fault in faults] == codes
    assert structure(mapping(thing1="{{ a }}"), template("thing1")) == []


def test_a_link_that_grows_too_long_is_a_fault() -> None:
    one = mapping(page="p?x={{ v | urlencode }}", thing1="a")
    filled = word(one, template("thing1"), facts_of({"v": "字" * 400}, None, 1), READER)
    assert isinstance(filled, tuple)
    assert [fault.code for fault in filled] == ["wx.page.too_long"]


def account(**options: str) -> Account:
    return Account(
        AccountId("acc_1"),
        AppId("app"),
        "wechat_mp",
        "acc",
        "wx1",
        AccountOptions(**options),  # type: ignore[arg-type]
        datetime(2026, 3, 1, tzinfo=UTC),
    )


def letter(
    page: str,
    url: str = "",
    kind: TemplateKind = TemplateKind.MESSAGE,
    locale: str = "zh-CN",
    **options: str,
) -> Letter:
    wording = Wording("T1", kind, {"thing1": "a"}, page, url)
    return Letter(account(**options), wording, Recipient("alice", locale), "oAnn", "id1")


def test_an_official_account_opens_a_page_or_its_mini_program() -> None:
    official = OfficialComposer()
    web = official.compose(letter("https://oa.example/7"))
    assert isinstance(web, TemplateMessage)
    assert (web.url, web.mini, web.client_msg_id) == ("https://oa.example/7", None, "id1")
    mini = official.compose(letter("pages/a", "https://oa.example/7", jump_appid="wx2"))
    assert isinstance(mini, TemplateMessage)
    assert (mini.url, mini.mini) == ("https://oa.example/7", MiniPage("wx2", "pages/a"))
    nothing = official.compose(letter(""))
    assert isinstance(nothing, TemplateMessage)
    assert set(body_of(nothing)) == {"template_id", "data", "client_msg_id"}
    notice = official.compose(letter("https://x.example", kind=TemplateKind.LONG_TERM))
    assert isinstance(notice, SubscribeNotice)
    assert body_of(notice)["page"] == "https://x.example"


def test_links_that_cannot_be_opened_are_faults() -> None:
    official, program = OfficialComposer(), ProgramComposer()
    faults = [
        official.compose(letter("pages/a")),
        official.compose(letter("", "ftp://x")),
        program.compose(letter("https://x.example")),
    ]
    codes = [fault.code for fault in faults if isinstance(fault, ContentFault)]
    assert codes == ["wx.page.no_program", "wx.url.malformed", "wx.page.not_a_path"]


def test_a_mini_program_says_state_and_language() -> None:
    message = ProgramComposer().compose(letter("/pages/a?u=https://x", mini_state="trial", locale="en-GB"))
    assert isinstance(message, MiniMessage)
    assert body_of(message) == {
        "template_id": "T1",
        "data": {"thing1": {"value": "a"}},
        "page": "pages/a?u=https://x",
        "miniprogram_state": "trial",
        "lang": "en_US",
    }
    strange = ProgramComposer().compose(letter("", mini_state="beta"))
    assert isinstance(strange, MiniMessage)
    assert body_of(strange)["miniprogram_state"] == "formal"


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("zh-CN", MiniLang.CHINESE),
        ("zh", MiniLang.CHINESE),
        ("zh-Hans-SG", MiniLang.CHINESE),
        ("zh-TW", MiniLang.TAIWAN),
        ("zh_Hant", MiniLang.TAIWAN),
        ("zh-Hant-HK", MiniLang.HONG_KONG),
        ("zh-HK", MiniLang.HONG_KONG),
        ("en", MiniLang.ENGLISH),
        ("de-DE", MiniLang.ENGLISH),
    ],
)
def test_every_locale_has_one_of_four_languages(locale: str, expected: MiniLang) -> None:
    assert language(locale) is expected
