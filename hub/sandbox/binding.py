"""Who is who: wx.login, followers, and QR codes with a scene."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Account, AccountKind, Code, QrCode, Tie
from hub.sandbox.tokens import account_by_secret
from hub.sandbox.world import World

LOGIN: Final = "login"
OAUTH: Final = "oauth"
_CODE_LIVES_S: Final = 300
_LOGINS_A_MINUTE: Final = 100
_QR_LONGEST_S: Final = 2_592_000
_QR_DEFAULT_S: Final = 60
_QR_STRING_MOST: Final = 64
_QR_PERMANENT_MOST: Final = 100_000


def new_code(world: World, tie: Tie, purpose: str, *, scope: str = "", snapshot: bool = False) -> Code:
    """A code that is good once and for five minutes. Codes of yesterday are forgotten."""
    now = world.clock.now()
    for old in [code for code in world.state.codes.values() if code.expires_at < now - 86400]:
        del world.state.codes[old.code]
    code = Code(
        code=world.chance.letters(32),
        appid=tie.appid,
        openid=tie.openid,
        purpose=purpose,
        expires_at=now + _CODE_LIVES_S,
        scope=scope,
        snapshot=snapshot,
    )
    world.state.codes[code.code] = code
    return code


def use_code(call: Call, account: Account, value: str, purpose: str) -> Code:
    """41008 missing, 40029 unknown or another account's, 40163 used; expired 40029, for OAuth 42003."""
    if not value:
        raise ApiError(41008)
    code = call.world.state.codes.get(value)
    if code is None or code.appid != account.appid or code.purpose != purpose:
        raise ApiError(40029)
    if code.used:
        raise ApiError(40163)
    if code.expires_at <= call.world.clock.now():
        raise ApiError(42003 if purpose == OAUTH else 40029)
    code.used = True
    return code


async def login(call: Call) -> dict[str, Any]:
    """GET /sns/jscode2session: appid and secret instead of a token; no errcode when it went well."""
    world = call.world
    account = account_by_secret(world, call.query)
    if call.query.get("grant_type") != "authorization_code":
        raise ApiError(40002)
    world.kind_of(account, AccountKind.MINIPROGRAM)
    code = use_code(call, account, call.query.get("js_code", ""), LOGIN)
    _not_too_often(world, code.openid)
    tie = world.state.ties[code.openid]
    if world.state.people[tie.person_id].high_risk:
        raise ApiError(40226)
    tie.session_key = world.chance.session_key()
    answer = {"session_key": tie.session_key, "openid": tie.openid}
    unionid = world.unionid(account, tie.person_id)
    return answer | ({"unionid": unionid} if unionid else {})


def _not_too_often(world: World, openid: str) -> None:
    """45011 for more than 100 logins of one person in a minute."""
    minute = world.clock.minute()
    before, count = world.calls_by_openid.get(openid, ("", 0))
    count = count + 1 if before == minute else 1
    world.calls_by_openid[openid] = (minute, count)
    if count > _LOGINS_A_MINUTE:
        raise ApiError(45011)


async def check_session(call: Call) -> dict[str, Any]:
    """GET /wxa/checksession: whether the session_key behind the signature is still the person's."""
    _session(call)
    return call.ok()


async def reset_session(call: Call) -> dict[str, Any]:
    """GET /wxa/resetusersessionkey: a new session_key."""
    tie = _session(call)
    tie.session_key = call.world.chance.session_key()
    return call.ok(openid=tie.openid, session_key=tie.session_key)


def _session(call: Call) -> Tie:
    """The signature is HMAC-SHA256 over nothing, keyed with the session_key."""
    tie = call.world.tie_of(call.account, call.query.get("openid"))
    wanted = hmac.new(tie.session_key.encode(), b"", hashlib.sha256).hexdigest()
    given = call.query.get("signature", "")
    right = call.query.get("sig_method") == "hmac_sha256" and hmac.compare_digest(wanted, given)
    if not tie.session_key or not right:
        raise ApiError(87009)
    return tie


async def user_info(call: Call) -> dict[str, Any]:
    """GET /cgi-bin/user/info: nothing but `subscribe` for who does not follow; never a name or picture."""
    world = call.world
    tie = world.tie_of(call.account, call.query.get("openid"))
    if not tie.following:
        return {"subscribe": 0, "openid": tie.openid}
    answer: dict[str, Any] = {
        "subscribe": 1,
        "openid": tie.openid,
        "nickname": "",
        "sex": 0,
        "language": call.query.get("lang", "zh_CN"),
        "city": "",
        "province": "",
        "country": "",
        "headimgurl": "",
        "subscribe_time": int(tie.followed_at),
        "remark": "",
        "groupid": 0,
        "tagid_list": [],
        "subscribe_scene": tie.subscribe_scene,
        "qr_scene": tie.qr_scene,
        "qr_scene_str": tie.qr_scene_str,
    }
    unionid = world.unionid(call.account, tie.person_id)
    return answer | ({"unionid": unionid} if unionid else {})


async def create_qrcode(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/qrcode/create: temporary ones expire, permanent ones have no expire_seconds."""
    if not call.account.verified:
        raise ApiError(48001)
    action = call.body.get("action_name")
    scene, numeric, permanent = _scene(call, action)
    lives = call.body.get("expire_seconds", _QR_DEFAULT_S)
    if not isinstance(lives, int) or isinstance(lives, bool) or lives < 1:
        raise ApiError(40053)
    lives = min(lives, _QR_LONGEST_S)
    world = call.world
    ticket = "gQ" + world.chance.letters(94)
    qrcode = QrCode(
        ticket=ticket,
        appid=call.account.appid,
        url=f"http://weixin.qq.com/q/{world.chance.letters(22)}",
        scene=scene,
        numeric=numeric,
        expires_at=None if permanent else world.clock.now() + lives,
    )
    world.state.qrcodes[ticket] = qrcode
    world.changed("qrcode")
    answer: dict[str, Any] = {"ticket": ticket, "url": qrcode.url}
    return answer if permanent else answer | {"expire_seconds": lives}


def _scene(call: Call, action: Any) -> tuple[str, bool, bool]:
    """The scene, whether it is a number, whether it lasts for ever. 40052 and 40053 for bad ones."""
    if action not in {"QR_SCENE", "QR_STR_SCENE", "QR_LIMIT_SCENE", "QR_LIMIT_STR_SCENE"}:
        raise ApiError(40052)
    info = call.body.get("action_info")
    scene = info.get("scene") if isinstance(info, dict) else None
    if not isinstance(scene, dict):
        raise ApiError(40053)
    permanent = "LIMIT" in action
    if "STR" in action:
        text = scene.get("scene_str")
        if not isinstance(text, str) or not 0 < len(text) <= _QR_STRING_MOST:
            raise ApiError(40053)
        return text, False, permanent
    number = scene.get("scene_id")
    most = _QR_PERMANENT_MOST if permanent else 2**32 - 1
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= most:
        raise ApiError(40053)
    return str(number), True, permanent
