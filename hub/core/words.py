"""What the hub's own words mean, in plain Chinese and English, and what somebody can do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.core.delivery import DeliveryState
from hub.core.outcome import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """The same in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, and what to do about it; `do` is empty where there is nothing to do."""

    what: Words
    do: Words = Words("", "")


def _told(zh: str, en: str, do_zh: str = "", do_en: str = "") -> Told:
    return Told(Words(zh, en), Words(do_zh, do_en))


_REASONS: Final[Mapping[Reason, Told]] = MappingProxyType(
    {
        Reason.NO_ADDRESS: _told(
            "此渠道没有可用的地址或账号",
            "there is no usable address or account on this channel",
            "检查该应用是否配置了此渠道的账号，以及绑定是否仍然有效",
            "check that the app has an account on this channel and that the binding is still valid",
        ),
        Reason.NOT_BOUND: _told(
            "用户没有绑定此渠道",
            "the user is not bound to this channel",
            "请用户通过网页授权、扫码或小程序登录完成绑定",
            "have the user bind by the web page, a QR code or the mini program's login",
        ),
        Reason.UNSUBSCRIBED: _told(
            "用户没有关注，或拒收此模板",
            "the user does not follow the account, or refuses this template",
            "请用户重新关注或在设置中打开此通知",
            "ask the user to follow again or to switch this notice on",
        ),
        Reason.OPT_IN_REQUIRED: _told(
            "用户没有可用的订阅授权",
            "the user has granted no subscription for this template",
            "在小程序中再次请求订阅",
            "ask for the subscription again in the mini program",
        ),
        Reason.QUOTA_EXHAUSTED: _told(
            "授权次数或额度已用完",
            "the grants or the quota are used up",
            "再次请求订阅，或等到额度恢复",
            "ask for the subscription again, or wait until the quota is renewed",
        ),
        Reason.USER_BLOCK: _told("用户拒收了消息", "the user blocks these messages"),
        Reason.PREFERENCE_OFF: _told(
            "用户在偏好中关闭了此渠道或类别",
            "the user has switched this channel or category off",
        ),
        Reason.QUIET_HOURS: _told("用户的免打扰时段", "the user's quiet hours"),
        Reason.FREQUENCY_CAP: _told(
            "达到频率上限",
            "the frequency cap is reached",
            "如果太严，调整应用的频率上限",
            "if it is too strict, change the app's caps",
        ),
        Reason.DUPLICATE: _told("重复的消息", "a duplicate"),
        Reason.SUPERSEDED: _told("被更新的通知取代", "a newer notification took its place"),
        Reason.EXPIRED: _told("在送达前已过期", "it expired before it could be delivered"),
        Reason.OFFLINE: _told("用户当时不在线", "the user was offline"),
        Reason.NOT_APPLICABLE: _told("此步骤的条件不满足", "the step's condition does not hold"),
        Reason.TEMPLATE_INVALID: _told(
            "模板不存在、已停用或不完整",
            "the template is missing, disabled or incomplete",
            "检查模板及其渠道映射，并重新同步服务商的模板",
            "check the template and its mapping, and synchronise the provider's templates",
        ),
        Reason.PROVIDER_RATE_LIMITED: _told(
            "服务商限流，稍后再试", "the provider limits the rate; tried again later"
        ),
        Reason.PROVIDER_DOWN: _told("服务商暂时不可用", "the provider was not available"),
        Reason.AUTH_FAILED: _told(
            "账号凭证或配置有误",
            "the account's credentials or configuration are wrong",
            "检查该账号的密钥、IP 白名单和权限",
            "check the account's secret, IP whitelist and permissions",
        ),
        Reason.RECALLED: _told("已撤回", "it was recalled"),
        Reason.READ: _told("用户已在别处读过", "the user had read it elsewhere"),
        Reason.ACTED: _told("已经处理", "somebody has acted on it"),
        Reason.TIMED_OUT: _told(
            "请求超时，可能已经送出", "the request timed out and may have been carried out"
        ),
        Reason.WORKER_LOST: _told("处理进程中断，可能已经送出", "the worker was lost and may have sent it"),
        Reason.ATTEMPTS_EXHAUSTED: _told(
            "多次尝试后放弃",
            "given up after many tries",
            "排除原因后可以重放",
            "replay it once the cause is gone",
        ),
        Reason.NO_CHANNEL: _told(
            "此处没有这个渠道",
            "this process has no such channel",
            "检查处理进程的配置",
            "check the worker's configuration",
        ),
        Reason.CONTENT_REFUSED: _told(
            "内容不符合服务商的规则",
            "the provider does not take this content",
            "修改模板字段或数据",
            "change the template's fields or the data",
        ),
        Reason.MUTED: _told("用户已将其静音", "the user has muted it"),
        Reason.DIGESTED: _told("已并入一条汇总通知", "it was told as part of a digest"),
        Reason.CANCELED: _told("已取消", "it was canceled"),
        Reason.EVENT: _told("业务事件使其不再需要", "a business event made it pointless"),
        Reason.HOLIDAY: _told("非工作时间", "outside of working hours"),
        Reason.NO_RECEIPT: _told("服务商已接受，但没有回执", "the provider accepted it and sent no receipt"),
        Reason.ADAPTER_BUG: _told(
            "渠道程序出错",
            "the channel's code failed",
            "查看处理进程的日志",
            "look into the worker's log",
        ),
        Reason.UNKNOWN: _told("结果未知", "the outcome is not known"),
    }
)

_STATES: Final[Mapping[DeliveryState, Words]] = MappingProxyType(
    {
        DeliveryState.PLANNED: Words("已计划", "planned"),
        DeliveryState.WAITING: Words("等待中", "held back for now"),
        DeliveryState.QUEUED: Words("排队中", "in the queue"),
        DeliveryState.ATTEMPTING: Words("正在发送", "being tried"),
        DeliveryState.RETRY_WAIT: Words("等待重试", "waiting for the next try"),
        DeliveryState.UNKNOWN: Words("结果未知，等待回执", "outcome unknown, waiting for a receipt"),
        DeliveryState.ACCEPTED: Words("渠道已接受", "accepted by the channel"),
        DeliveryState.DELIVERED: Words("已送达", "delivered"),
        DeliveryState.SKIPPED: Words("已跳过", "skipped"),
        DeliveryState.FAILED: Words("失败", "failed"),
        DeliveryState.CANCELED: Words("已取消", "canceled"),
    }
)


def reason_told(reason: str | None) -> Told | None:
    """What a reason means; None for none and for a word that this version does not know."""
    if reason is None or reason not in set(Reason):
        return None
    return _REASONS[Reason(reason)]


def state_told(state: str) -> Words:
    """What a state means; an unknown one is its own name."""
    return _STATES[DeliveryState(state)] if state in set(DeliveryState) else Words(state, state)
