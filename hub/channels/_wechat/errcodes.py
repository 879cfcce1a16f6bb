"""The whole of WeChat's temper on one page: every errcode, whose fault it is, and what a person can do.

Codes not listed are UNRECOGNISED. Where WeChat reuses a code, `AT_TOKEN_ENDPOINT` has its meaning there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from hub.channels._wechat.faults import Advice, Breaks, Effect, Failure, Kind, Pause, Rule
from hub.core.outcome import Reason

Todo: TypeAlias = tuple[str, str]

_WAIT: Final = ("无需处理，系统会自动重试", "Nothing: the hub tries again")
_KEYS: Final = (
    "在管理后台核对 AppID 与 AppSecret 后更新账号配置",
    "Compare AppID and AppSecret with the admin console, and correct the account",
)
_WHITELIST: Final = (
    "将提示中的出口 IP 加入公众平台的 IP 白名单",
    "Add the address named in the message to the account's IP whitelist",
)
_CONFIRM: Final = (
    "请账号管理员在微信中确认该 IP 的调用",
    "Ask the account's administrator to confirm the address",
)
_UNFREEZE: Final = ("在公众平台查看处罚或冻结通知并解除", "See the platform's notices and have it unfrozen")
_PERMIT: Final = (
    "确认账号类型与认证状态，开通该接口；核对是否用错账号",
    "Check the account's type and verification, enable the API; is it the right account?",
)
_AUTHORISE: Final = (
    "请账号管理员重新授权给第三方平台",
    "Ask the administrator to authorise the platform again",
)
_FOLLOW: Final = ("引导用户关注公众号后再发送", "Invite the person to follow the account")
_REBIND: Final = (
    "让用户重新绑定微信；核对 openid 是否属于该 AppID",
    "Have the person bind again; is the openid of this AppID?",
)
_GRANT: Final = ("引导用户重新订阅该模板", "Invite the person to subscribe to this template again")
_SPEAK: Final = ("等待用户再次与账号互动", "Wait until the person interacts with the account again")
_UNBLOCK: Final = ("如属误操作，将用户移出黑名单", "Take the person off the blacklist if that was a mistake")
_NOTHING: Final = ("尊重用户的选择，改用其他渠道", "Respect the choice; another channel takes over")
_TEMPLATE: Final = ("重新同步模板并修正模板 ID", "Synchronise the templates and correct the id")
_PAGE: Final = (
    "修正跳转路径；小程序须已发布且与账号关联",
    "Correct the path; the mini program must be released and linked",
)
_URL: Final = ("缩短或修正跳转链接", "Shorten or correct the link")
_ARGUMENT: Final = ("按提示修正字段的取值", "Correct the values that the message names")
_WORDING: Final = ("修改文案，去除敏感或营销内容", "Change the wording: no sensitive or marketing content")
_APPEAL: Final = (
    "停用该模板，在公众平台查看原因或申诉",
    "Stop using the template; see the platform for the reason",
)
_LIBRARY: Final = (
    "在公众平台按当前规则重新添加模板",
    "Add the template again under the platform's current rules",
)
_LOGIN: Final = ("让用户重新登录", "Have the person log in again")
_REPORT: Final = ("请把请求 ID 报告给开发者", "Report the request id to the developers")
_QUOTA: Final = (
    "次日自动恢复；如急需，可在管理后台清零配额",
    "It goes on the next day; the quota can be cleared in the admin console if it is urgent",
)


def _rule(kind: Kind, reason: Reason, zh: str, en: str, todo: Todo, **more: Any) -> Rule:
    return Rule(kind, reason, Advice(zh, todo[0]), Advice(en, todo[1]), **more)


def _token(zh: str, en: str) -> Rule:
    return _rule(Kind.TOKEN, Reason.AUTH_FAILED, zh, en, _WAIT)


def _busy(zh: str, en: str, pause: Pause = Pause.DEFAULT) -> Rule:
    return _rule(Kind.BUSY, Reason.PROVIDER_DOWN, zh, en, _WAIT, pause=pause)


def _rate(reason: Reason, zh: str, en: str, todo: Todo, pause: Pause) -> Rule:
    return _rule(Kind.RATE, reason, zh, en, todo, pause=pause)


def _account(zh: str, en: str, todo: Todo, pause: Pause = Pause.ACCOUNT) -> Rule:
    return _rule(Kind.ACCOUNT, Reason.AUTH_FAILED, zh, en, todo, pause=pause, breaks=Breaks.ACCOUNT)


def _person(reason: Reason, effect: Effect, zh: str, en: str, todo: Todo) -> Rule:
    return _rule(Kind.RECIPIENT, reason, zh, en, todo, effect=effect)


def _message(zh: str, en: str, todo: Todo, breaks: Breaks = Breaks.NOTHING) -> Rule:
    return _rule(Kind.MESSAGE, Reason.TEMPLATE_INVALID, zh, en, todo, breaks=breaks)


def _login(zh: str, en: str) -> Rule:
    return _rule(Kind.LOGIN, Reason.NOT_BOUND, zh, en, _LOGIN)


def _bug(zh: str, en: str) -> Rule:
    return _rule(Kind.BUG, Reason.ADAPTER_BUG, zh, en, _REPORT)


_R, _E, _B = Reason, Effect, Breaks

RULES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        # --- for now
        -1: _busy("微信系统繁忙", "WeChat is busy"),
        200001: _busy("订阅模板接口系统错误", "The template API has a system error"),
        43108: _rule(
            Kind.BUSY,
            Reason.PROVIDER_RATE_LIMITED,
            "正在向同一用户并发发送",
            "Another send to this person is under way",
            _WAIT,
            pause=Pause.MOMENT,
        ),
        45009: _rate(
            _R.QUOTA_EXHAUSTED, "当日调用次数已用完", "The day's quota is used up", _QUOTA, Pause.NEXT_DAY
        ),
        45011: _rate(
            _R.PROVIDER_RATE_LIMITED, "调用过于频繁", "Too many calls a minute", _WAIT, Pause.MINUTE
        ),
        # --- the access token
        40001: _token("access_token 无效或已被更新", "The access token is not valid or not the latest"),
        40014: _token("access_token 不合法", "The access token is malformed"),
        42001: _token("access_token 已过期", "The access token has expired"),
        # --- the account
        40002: _account("凭证类型不合法", "The kind of credential is not valid", _KEYS),
        40013: _account("AppID 不合法", "The AppID is not valid", _KEYS),
        40125: _account("AppSecret 不合法", "The AppSecret is not valid", _KEYS),
        41002: _account("缺少 AppID", "The AppID is missing", _KEYS),
        41004: _account("缺少 AppSecret", "The AppSecret is missing", _KEYS),
        40164: _account("出口 IP 不在白名单", "The hub's address is not on the IP whitelist", _WHITELIST),
        40243: _account("AppSecret 已被冻结", "The AppSecret is frozen", _UNFREEZE),
        50004: _account("获取凭证的接口被禁用", "The account may not fetch access tokens", _UNFREEZE),
        50007: _account("账号已被冻结", "The account is frozen", _UNFREEZE),
        89501: _account("该 IP 的调用等待管理员确认", "The address waits for confirmation", _CONFIRM),
        89502: _account("该 IP 的调用未获管理员确认", "The address was not confirmed", _CONFIRM),
        89503: _account("该 IP 的调用需管理员确认", "The address needs confirmation", _CONFIRM),
        89504: _account("该 IP 的调用确认已失效", "The confirmation of the address has lapsed", _CONFIRM),
        89505: _account("该 IP 的调用确认出错", "The address could not be confirmed", _CONFIRM),
        89506: _account(
            "管理员已拒绝该 IP（24 小时）", "The address was refused for 24 hours", _CONFIRM, Pause.DAY
        ),
        89507: _account(
            "管理员已拒绝该 IP（1 小时）", "The address was refused for an hour", _CONFIRM, Pause.HOUR
        ),
        61004: _account(
            "第三方平台：来源 IP 未登记", "Third-party platform: address not registered", _WHITELIST
        ),
        61007: _account("第三方平台：未获得该接口授权", "Third-party platform: API not granted", _AUTHORISE),
        48001: _account("账号没有该接口的权限", "The account may not use this API", _PERMIT),
        48004: _account("接口已被封禁", "The API is banned for this account", _UNFREEZE),
        48006: _account("清零配额的次数已用完", "The quota cannot be cleared any more this month", _QUOTA),
        # --- the recipient
        40003: _person(
            _R.NOT_BOUND, _E.NO_SUCH_OPENID, "openid 无效或不属于该账号", "No such openid here", _REBIND
        ),
        43004: _person(
            _R.UNSUBSCRIBED, _E.NOT_FOLLOWING, "用户未关注", "The person does not follow", _FOLLOW
        ),
        50005: _person(
            _R.UNSUBSCRIBED, _E.NOT_FOLLOWING, "用户未关注", "The person does not follow", _FOLLOW
        ),
        43019: _person(
            _R.USER_BLOCK, _E.BLOCKED, "用户在黑名单中", "The person is on the blacklist", _UNBLOCK
        ),
        43101: _person(
            _R.OPT_IN_REQUIRED,
            _E.NO_GRANT,
            "用户未订阅、次数已用完或已拒收",
            "Not subscribed, used up, or refused",
            _GRANT,
        ),
        48002: _person(_R.USER_BLOCK, _E.BLOCKED, "用户拒收消息", "The person refuses messages", _NOTHING),
        50002: _person(_R.USER_BLOCK, _E.BLOCKED, "用户受限", "The person is restricted", _NOTHING),
        46004: _person(_R.NOT_BOUND, _E.NO_SUCH_OPENID, "用户不存在", "There is no such person", _REBIND),
        50006: _person(
            _R.OPT_IN_REQUIRED, _E.NONE, "用户关闭了好友授权", "Friend data was switched off", _NOTHING
        ),
        45015: _person(_R.OPT_IN_REQUIRED, _E.NONE, "超出客服消息时限", "Outside the reply window", _SPEAK),
        45047: _person(_R.OPT_IN_REQUIRED, _E.NONE, "客服消息条数已用完", "All replies are used up", _SPEAK),
        45080: _person(_R.OPT_IN_REQUIRED, _E.NONE, "用户未与账号互动", "No recent interaction", _SPEAK),
        40226: _person(
            _R.USER_BLOCK, _E.NONE, "高风险用户，被拦截", "Blocked as a high-risk person", _NOTHING
        ),
        # --- the message or its template
        40008: _message("消息类型不合法", "The type of message is not valid", _ARGUMENT),
        40036: _message("模板 ID 长度不合法", "The template id has a wrong length", _TEMPLATE),
        40037: _message("模板 ID 不合法", "There is no such template", _TEMPLATE),
        40176: _message("模板不可用", "The template cannot be used", _TEMPLATE),
        48011: _message("模板已被停用", "The template is disabled", _TEMPLATE),
        41030: _message("page 路径不存在", "The page is not in the released version", _PAGE),
        40165: _message("小程序路径不合法", "The mini program's path is not valid", _PAGE),
        40166: _message("小程序 AppID 不合法", "The mini program's AppID is not valid", _PAGE),
        40039: _message("链接长度不合法", "The link has a wrong length", _URL),
        45005: _message("链接过长", "The link is too long", _URL),
        40062: _message("标题长度不合法", "The title has a wrong length", _ARGUMENT),
        47001: _message("JSON 格式错误", "WeChat could not read the data", _ARGUMENT),
        44002: _message("请求内容为空", "The request was empty", _ARGUMENT),
        40035: _message("参数不合法", "An argument is not valid", _ARGUMENT),
        47003: _message("内容不符合模板的字段规则", "The data does not fit the template's fields", _ARGUMENT),
        45168: _message("含有敏感词", "It contains a sensitive word", _WORDING),
        40249: _message("营销内容被拒", "Marketing content was refused", _WORDING),
        43116: _message("模板受限", "The template is restricted", _APPEAL, _B.TEMPLATE),
        43107: _message(
            "订阅能力或模板被封禁", "The template or subscribing is banned", _APPEAL, _B.TEMPLATE
        ),
        43102: _message("模板类型不正确", "The template is of the wrong kind", _LIBRARY),
        40246: _message("模板关键词不合法", "The template's keywords are not valid", _LIBRARY),
        40247: _message("须使用类目模板库", "The template must come from the category library", _LIBRARY),
        45026: _message("模板数量超出上限", "There are too many templates", _LIBRARY),
        45027: _message("模板与行业不符", "The template does not belong to the industry", _LIBRARY),
        46101: _message("接口已下线（旧模板消息）", "This API is retired (old template messages)", _LIBRARY),
        45109: _message("接口已下线（统一服务消息）", "This API is retired (uniform messages)", _LIBRARY),
        40052: _message("二维码类型不合法", "The kind of QR code is not valid", _ARGUMENT),
        40053: _message("二维码场景值不合法", "The QR code's scene is not valid", _ARGUMENT),
        45067: _message("去重标识过长", "The de-duplication id is too long", _REPORT),
        # --- WeChat has it already. 45065 and 45066 are documented for mass sends only; what a repeated
        # client_msg_id is answered with is not documented at all, and nothing else could be meant here.
        45065: _rule(Kind.DUPLICATE, _R.DUPLICATE, "已发送过", "It was sent before", _WAIT),
        45066: _busy("相同消息正在发送", "The same message is being sent", Pause.MINUTE),
        # --- logins
        40029: _login("登录 code 无效", "The login code is not valid"),
        40163: _login("登录 code 已使用", "The login code was used before"),
        42003: _login("登录 code 已过期", "The login code has expired"),
        # --- the hub's own faults
        41001: _bug("缺少 access_token", "The access token is missing"),
        43001: _bug("须使用 GET", "The request must be a GET"),
        43002: _bug("须使用 POST", "The request must be a POST"),
        43003: _bug("须使用 HTTPS", "The request must be HTTPS"),
    }
)

AT_TOKEN_ENDPOINT: Final[Mapping[int, Rule]] = MappingProxyType(
    {40001: _account("AppSecret 错误", "The AppSecret is wrong", _KEYS)}
)

UNRECOGNISED: Final = _rule(
    Kind.UNRECOGNISED,
    Reason.UNKNOWN,
    "未知错误码",
    "A code that the hub does not know",
    ("用请求 ID 在微信平台查询原因", "Look the request id up at WeChat"),
)

_RID: Final = re.compile(r"(?:rid|hint)\s*:\s*\[?([0-9A-Za-z_-]{4,64})")
_FIELD: Final = re.compile(r"data\.([A-Za-z_]{1,32}\d{0,4})\b")


def rule_for(errcode: int, *, at_token_endpoint: bool = False) -> Rule:
    """The table's row; UNRECOGNISED for a code it does not have."""
    if at_token_endpoint and errcode in AT_TOKEN_ENDPOINT:
        return AT_TOKEN_ENDPOINT[errcode]
    return RULES.get(errcode, UNRECOGNISED)


def failure_of(errcode: int, errmsg: str, *, at_token_endpoint: bool = False) -> Failure:
    """A refusal in the hub's words. `errmsg` must be free of secrets; nothing but the ids in it is interpreted."""
    rule = rule_for(errcode, at_token_endpoint=at_token_endpoint)
    rid = _RID.search(errmsg)
    named = _FIELD.findall(errmsg) if rule.kind is Kind.MESSAGE else ()
    return Failure(
        kind=rule.kind,
        reason=rule.reason,
        errcode=errcode,
        words=errmsg,
        rid=rid.group(1) if rid else None,
        pause=rule.pause,
        breaks=rule.breaks,
        effect=rule.effect,
        fields=tuple(dict.fromkeys(named)),
    )
