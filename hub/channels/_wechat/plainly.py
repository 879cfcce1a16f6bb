"""WeChat's codes, and the hub's own `wx.…`, in plain words."""

from __future__ import annotations

from typing import Final

from hub.channels._wechat.errcodes import RULES as CODES
from hub.channels._wechat.fields import RULES as FIELDS
from hub.channels._wechat.fields import Fault
from hub.core.channel import Advice

_TODO: Final = ("修改数据或模板映射", "Correct the data or the template's mapping")
_FAULTS: Final[dict[str, tuple[str, str]]] = {
    Fault.EMPTY: ("字段为空", "A field is empty"),
    Fault.TOO_LONG: ("字段内容过长", "A field is too long"),
    Fault.MALFORMED: ("字段格式不符", "A field has a form that WeChat refuses"),
    Fault.NOT_IN_ENUM: ("字段的值不在预设范围内", "A field is none of the template's values"),
    Fault.MISSING: ("缺少模板要求的字段", "A field of the template is missing"),
    Fault.UNEXPECTED: ("模板没有该字段", "The template does not have a field"),
}
_OWN: Final[dict[str, tuple[tuple[str, str], tuple[str, str]]]] = {
    "wx.grant.none": (
        ("用户尚未订阅该模板", "The person has not agreed to this template"),
        ("在小程序或公众号页面中请用户订阅", "Ask for the subscription in the mini program or page"),
    ),
    "wx.grant.used_up": (
        ("用户的订阅次数已用完", "All that the person agreed to has been sent"),
        ("请用户再次订阅", "Ask the person to subscribe again"),
    ),
    "wx.template.none": (
        ("通知没有指定模板", "The notification names no template"),
        ("发送时指定模板", "Name a template when sending"),
    ),
    "wx.template.unmapped": (
        ("模板没有映射到该渠道", "The template has no mapping for this channel"),
        ("为该渠道添加映射并发布新版本", "Map it for this channel and publish a new version"),
    ),
}


def explain(code: str, locale: str) -> Advice | None:
    """What a code means and what to do: in Chinese for a `zh…` locale, otherwise in English. None for one that nobody
    knows."""
    if code.lstrip("-").isdigit():
        rule = CODES.get(int(code))
        told = rule.advice(locale) if rule is not None else None
        return Advice(told.what, told.do) if told is not None else None
    english = not locale.lower().startswith("zh")
    if code in _OWN:
        what, todo = _OWN[code]
        return Advice(what[english], todo[english])
    return _of_field(code, english=english)


def _of_field(code: str, *, english: bool) -> Advice | None:
    wx, _, rest = code.partition(".")
    kind, _, fault = rest.partition(".")
    words = _FAULTS.get(fault)
    if wx != "wx" or words is None:
        return None
    rule = FIELDS.get(kind)
    needs = f"：{kind} 须为{rule.zh}" if rule and not english else f": {kind} takes {rule.en}" if rule else ""
    return Advice(words[english], f"{_TODO[english]}{needs}")
