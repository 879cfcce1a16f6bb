"""Web OAuth under /sns: a person's own token, another thing than the account's."""

from __future__ import annotations

from typing import Any, Final

from hub.sandbox.binding import OAUTH, use_code
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import UserToken
from hub.sandbox.tokens import account_by_secret

_TOKEN_LIVES_S: Final = 7200
_REFRESH_LIVES_S: Final = 30 * 86400
USERINFO: Final = "snsapi_userinfo"


async def access_token(call: Call) -> dict[str, Any]:
    """GET /sns/oauth2/access_token: the code for openid and token; unionid only with snsapi_userinfo."""
    account = account_by_secret(call.world, call.query)
    if call.query.get("grant_type") != "authorization_code":
        raise ApiError(40002)
    code = use_code(call, account, call.query.get("code", ""), OAUTH)
    now = call.world.clock.now()
    token = UserToken(
        access_token=call.world.chance.access_token(),
        refresh_token=call.world.chance.access_token(),
        appid=account.appid,
        openid=code.openid,
        scope=code.scope,
        expires_at=now + _TOKEN_LIVES_S,
        refresh_until=now + _REFRESH_LIVES_S,
        snapshot=code.snapshot,
    )
    call.world.state.user_tokens[token.access_token] = token
    return _told(call, token)


async def refresh_token(call: Call) -> dict[str, Any]:
    """GET /sns/oauth2/refresh_token: both tokens are new afterwards."""
    if call.query.get("grant_type") != "refresh_token":
        raise ApiError(40002)
    tokens = call.world.state.user_tokens
    given = call.query.get("refresh_token", "")
    found = next((token for token in tokens.values() if token.refresh_token == given), None)
    now = call.world.clock.now()
    if not given or found is None or found.appid != call.query.get("appid"):
        raise ApiError(40030)
    if found.refresh_until <= now:
        raise ApiError(40030)
    del tokens[found.access_token]
    found.access_token = call.world.chance.access_token()
    found.refresh_token = call.world.chance.access_token()
    found.expires_at = now + _TOKEN_LIVES_S
    tokens[found.access_token] = found
    return _told(call, found)


async def check(call: Call) -> dict[str, Any]:
    """GET /sns/auth: whether the person's token is good."""
    _valid(call)
    return call.ok()


async def user_info(call: Call) -> dict[str, Any]:
    """GET /sns/userinfo: needs snsapi_userinfo, 48001 otherwise."""
    token = _valid(call)
    if token.scope != USERINFO:
        raise ApiError(48001)
    tie = call.world.state.ties[token.openid]
    person = call.world.state.people[tie.person_id]
    answer: dict[str, Any] = {
        "openid": token.openid,
        "nickname": person.name,
        "sex": 0,
        "language": "",
        "city": "",
        "province": "",
        "country": "",
        "headimgurl": "",
        "privilege": [],
    }
    return answer | _union(call, token)


def _valid(call: Call) -> UserToken:
    token = call.world.state.user_tokens.get(call.query.get("access_token", ""))
    if token is None:
        raise ApiError(40001, "invalid credential, access_token is invalid or not latest")
    if token.openid != call.query.get("openid"):
        raise ApiError(40003)
    if token.expires_at <= call.world.clock.now():
        raise ApiError(42001)
    return token


def _told(call: Call, token: UserToken) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "access_token": token.access_token,
        "expires_in": _TOKEN_LIVES_S,
        "refresh_token": token.refresh_token,
        "openid": token.openid,
        "scope": token.scope,
    }
    return answer | ({"is_snapshotuser": 1} if token.snapshot else {}) | _union(call, token)


def _union(call: Call, token: UserToken) -> dict[str, str]:
    account = call.world.state.accounts[token.appid]
    unionid = call.world.unionid(account, call.world.state.ties[token.openid].person_id)
    return {"unionid": unionid} if unionid and token.scope == USERINFO else {}
