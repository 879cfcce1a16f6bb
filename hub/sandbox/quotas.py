"""Daily and minute quotas per account and path, and the tools that show and clear them."""

from __future__ import annotations

import re
from typing import Any, Final

from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Account
from hub.sandbox.tokens import account_by_secret
from hub.sandbox.world import World

DAILY: Final = {
    "/cgi-bin/message/template/send": 100_000,
    "/cgi-bin/message/subscribe/send": 10_000_000,
    "/cgi-bin/message/custom/send": 500_000,
    "/cgi-bin/qrcode/create": 100_000,
    "/cgi-bin/token": 2000,
    "/cgi-bin/stable_token": 500_000,
    "/sns/jscode2session": 10_000_000,
}
_DAILY_ELSEWHERE: Final = 5_000_000
_CLEAR_A_MONTH: Final = 10
_PATH_CLEAR_A_MONTH: Final = 50
_WEEK_S: Final = 7 * 86400
_RID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}")


def daily_limit(account: Account, path: str) -> int:
    """Calls a day: the account's own limit or the platform's."""
    return account.daily_limits.get(path, DAILY.get(path, _DAILY_ELSEWHERE))


def spend(world: World, account: Account, path: str) -> None:
    """Counts a call. 45009 past the day's quota, 45011 past the minute's."""
    if world.count(account.appid, path, world.clock.day()) > daily_limit(account, path):
        raise ApiError(45009)
    per_minute = account.minute_limits.get(path, 0)
    if per_minute and world.count(account.appid, path, world.clock.minute()) > per_minute:
        raise ApiError(45011)


async def get(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/openapi/quota/get."""
    path = _known_path(call)
    account = call.account
    limit = daily_limit(account, path)
    used = min(limit, call.world.counted(account.appid, path, call.world.clock.day()))
    answer: dict[str, Any] = {"quota": {"daily_limit": limit, "used": used, "remain": limit - used}}
    if per_minute := account.minute_limits.get(path):
        answer["rate_limit"] = {"call_count": per_minute, "refresh_second": 60}
    return call.ok(**answer)


async def clear(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/clear_quota: all counts of the account, ten times a month together with v2."""
    if call.body.get("appid") != call.account.appid:
        raise ApiError(40013)
    return _clear_all(call, call.account)


async def clear_with_secret(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/clear_quota/v2: the same with appid and appsecret, without a token."""
    given = {"appid": call.body.get("appid"), "secret": call.body.get("appsecret")}
    return _clear_all(call, account_by_secret(call.world, given))


async def clear_path(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/openapi/quota/clear: the counts of one path, fifty times a month."""
    path = _known_path(call)
    _month(call, call.account, "quota/clear", most=_PATH_CLEAR_A_MONTH)
    _forget(call.world, f"{call.account.appid} {path} ")
    return call.ok()


async def explain(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/openapi/rid/get: the request behind an errmsg, for seven days, to the same account."""
    rid = call.body.get("rid")
    if not isinstance(rid, str) or not _RID.fullmatch(rid):
        raise ApiError(76002)
    asked = call.world.rids.get(rid)
    if asked is None:
        raise ApiError(76001)
    if asked.appid != call.account.appid:
        raise ApiError(76003)
    if call.world.clock.now() - asked.at > _WEEK_S:
        raise ApiError(76004)
    request = {
        "invoke_time": int(asked.at),
        "cost_in_ms": asked.cost_ms,
        "request_url": asked.url,
        "request_body": asked.body,
        "response_body": asked.response,
        "client_ip": asked.client_ip,
    }
    return call.ok(request=request)


def _clear_all(call: Call, account: Account) -> dict[str, Any]:
    _month(call, account, "clear_quota", most=_CLEAR_A_MONTH)
    _forget(call.world, f"{account.appid} /")
    return call.ok()


def _month(call: Call, account: Account, what: str, *, most: int) -> None:
    if call.world.count(account.appid, what, call.world.clock.month()) > most:
        raise ApiError(48006)


def _forget(world: World, prefix: str) -> None:
    for key in [key for key in world.state.counters if key.startswith(prefix)]:
        del world.state.counters[key]


def _known_path(call: Call) -> str:
    path = call.body.get("cgi_path")
    if not isinstance(path, str) or path not in call.paths:
        raise ApiError(76021)
    return path
