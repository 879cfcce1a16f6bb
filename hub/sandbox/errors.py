"""WeChat's error codes with WeChat's words. A request id is added when the answer is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NOT_LATEST: Final = (
    "invalid credential, access_token is invalid or not latest, could get access_token by "
    "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
)

TEXTS: Final[Mapping[int, str]] = {
    -1: "system error",
    40001: NOT_LATEST,
    40002: "invalid grant_type",
    40003: "invalid openid",
    40008: "invalid message type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40030: "invalid refresh_token",
    40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
    40035: "invalid parameter",
    40036: "invalid template_id size",
    40037: "invalid template_id",
    40039: "invalid url size",
    40052: "invalid action name",
    40053: "invalid action info",
    40062: "invalid title size",
    40125: "invalid appsecret, view more at http://t.cn/RAEkdVq",
    40163: "code been used",
    40164: "invalid ip, not in whitelist",
    40165: "invalid weapp pagepath",
    40166: "invalid weapp appid",
    40176: "template_id is disabled",
    40226: "code blocked",
    40243: "appsecret has been frozen",
    40246: "invalid keyword_name_list",
    40247: "template must come from the category library",
    40249: "marketing content is not allowed",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    41030: "invalid page",
    42001: "access_token expired",
    42003: "code expired",
    43001: "require GET method",
    43002: "require POST method",
    43004: "require subscribe",
    43019: "require remove blacklist",
    43101: "user refuse to accept the msg",
    43102: "invalid template type",
    43107: "subscribe ability or template has been banned",
    43108: "concurrent sends to the same user",
    43116: "template has been restricted",
    44002: "empty post data",
    45005: "url size out of limit",
    45008: "article size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, please try later",
    45015: "response out of time limit or subscription is canceled",
    45026: "template num exceeds limit",
    45027: "template conflict with industry",
    45047: "out of response count limit",
    45065: "clientmsgid exist",
    45109: "this api has been withdrawn",
    45168: "message contains sensitive words",
    46004: "user does not exist",
    46101: "this api has been retired",
    47001: "data format error",
    47003: "argument invalid!",
    48001: "api unauthorized",
    48002: "user refuse to accept the msg",
    48004: "api forbidden for account",
    48006: "forbid to clear quota because of reaching the limit",
    50002: "user limited",
    50004: "forbid to use token api",
    50005: "user does not follow",
    50007: "account frozen",
    61004: "access clientip is not registered",
    61007: "api is unauthorized to component",
    70000: "invalid message content",
    76001: "rid not found",
    76002: "rid is error",
    76003: "could not query the rid info for invalid account",
    76004: "rid time out",
    76021: "cgi_path not found",
    76022: "could not use this cgi_path, no permission",
    87009: "invalid signature",
    89503: "this ip needs an administrator's confirmation",
    89506: "this ip has been refused, try again after 24 hours",
    89507: "this ip has been refused, try again after 1 hour",
    200001: "system error",
    200002: "invalid parameter",
    200011: "account banned",
    200012: "personal template count exceeds limit",
    200013: "template banned",
    200014: "invalid tid",
    200016: "invalid start",
    200017: "invalid limit",
    200018: "invalid ids",
    200020: "invalid kidList",
    200021: "invalid sceneDesc",
    200022: "same template exists",
    200100: "invalid account type",
}


class ApiError(Exception):
    """An answer with an errcode. `text` replaces the code's own words."""

    def __init__(self, errcode: int, text: str | None = None) -> None:
        super().__init__(errcode, text)
        self.errcode = errcode
        self.text = TEXTS.get(errcode, "error") if text is None else text


class ControlError(Exception):
    """The control API cannot do that; `status` is the HTTP status."""

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
