"""The public template library: what an account can add, and the classes of industries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Keyword:
    """A field that a public template offers."""

    kid: int
    name: str
    rule: str
    example: str


@dataclass(frozen=True, slots=True)
class PublicTemplate:
    """A title of the library; an account picks two to five of its keywords."""

    tid: str
    title: str
    kind: int
    category: int
    keywords: tuple[Keyword, ...]


CATEGORIES: Final[Mapping[int, str]] = {616: "办公", 307: "企业管理", 612: "政务民生"}
INDUSTRIES: Final[Mapping[str, tuple[str, str]]] = {
    "1": ("IT科技", "互联网|电子商务"),
    "2": ("IT科技", "IT软件与服务"),
    "7": ("金融业", "银行"),
    "41": ("其他", "其他"),
}
_OTHER_INDUSTRY: Final = ("其他", "其他")


def industry(code: str) -> tuple[str, str]:
    """The two classes of an industry's code, 1 to 41."""
    return INDUSTRIES.get(code, _OTHER_INDUSTRY)


_PUBLIC: Final = (
    PublicTemplate(
        "47123",
        "审批待处理通知",
        2,
        616,
        (
            Keyword(1, "审批事项", "thing", "差旅报销"),
            Keyword(2, "申请人", "name", "王小明"),
            Keyword(3, "申请时间", "time", "2026-03-01 09:12"),
            Keyword(4, "金额", "amount", "¥1200.00"),
            Keyword(5, "备注", "thing", "请尽快处理"),
        ),
    ),
    PublicTemplate(
        "47124",
        "审批结果通知",
        2,
        616,
        (
            Keyword(1, "审批事项", "thing", "差旅报销"),
            Keyword(2, "审批结果", "phrase", "已通过"),
            Keyword(3, "审批人", "name", "李总"),
            Keyword(4, "审批时间", "time", "2026-03-01 10:00"),
            Keyword(5, "单号", "character_string", "BX-20260301-7"),
        ),
    ),
    PublicTemplate(
        "47125",
        "会议提醒",
        2,
        307,
        (
            Keyword(1, "会议主题", "thing", "周会"),
            Keyword(2, "会议时间", "time", "15:00~16:00"),
            Keyword(3, "会议地点", "thing", "三楼会议室"),
        ),
    ),
    PublicTemplate(
        "612",
        "办事进度提醒",
        3,
        612,
        (
            Keyword(1, "事项名称", "thing", "居住证办理"),
            Keyword(2, "办理进度", "phrase", "审核中"),
            Keyword(3, "更新时间", "date", "2026年3月1日"),
        ),
    ),
)
PUBLIC: Final[Mapping[str, PublicTemplate]] = {template.tid: template for template in _PUBLIC}
