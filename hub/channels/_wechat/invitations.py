"""What an invitation carries to WeChat and back: a one-time token, as a QR code's scene or as an OAuth state."""

from __future__ import annotations

import re
import secrets
import string
from typing import Final
from urllib.parse import urlencode, urlsplit

CALLBACKS: Final = "/callbacks/wechat"
"""Under this path, followed by the account's id, the hub is called by WeChat and by the browsers that it sends back."""
WECHAT_OPEN: Final = "https://open.weixin.qq.com"
SCOPE: Final = "snsapi_userinfo"
"""The one that asks the person. With `snsapi_base` nothing is shown, and a link that somebody else has sent would bind
whoever opens it, unseen; and WeChat tells the union id only with this one."""
MAX_RETURN: Final = 1_024
_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 43
_TOKEN: Final = re.compile(rf"[A-Za-z0-9]{{{_LENGTH}}}")
_SCENE: Final = "bind:"
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")


def new_token() -> str:
    """256 random bits in letters and digits: WeChat's `state` may have no others, and a scene 64 characters."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def is_token(text: str) -> bool:
    """Whether it could be one; nothing else is looked up."""
    return _TOKEN.fullmatch(text) is not None


def scene_of(token: str) -> str:
    """The scene of a QR code that carries the token."""
    return _SCENE + token


def token_in(scene: str | None) -> str | None:
    """The token of a scene that was made here; None for other scenes, which accounts use for their own purposes."""
    if scene is None or not scene.startswith(_SCENE):
        return None
    token = scene.removeprefix(_SCENE)
    return token if is_token(token) else None


def may_return_to(address: str) -> bool:
    """Whether a browser may be sent there: a path of this hub's own origin, or an absolute http(s) address without
    user and password. Empty is nowhere, which is allowed."""
    if not address:
        return True
    if len(address) > MAX_RETURN or _UNSAFE.search(address):
        return False
    if address.startswith("/"):
        return not address.startswith("//")
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(host) and "@" not in parts.netloc


def return_address(public_url: str, account: str) -> str:
    """Where WeChat's OAuth page sends the browser."""
    return f"{public_url.rstrip('/')}{CALLBACKS}/{account}/oauth"


def authorize_url(open_url: str, *, appid: str, redirect: str, state: str) -> str:
    """WeChat's OAuth page. The order of the parameters is WeChat's."""
    query = urlencode(
        {
            "appid": appid,
            "redirect_uri": redirect,
            "response_type": "code",
            "scope": SCOPE,
            "state": state,
        }
    )
    return f"{open_url.rstrip('/')}/connect/oauth2/authorize?{query}#wechat_redirect"
