"""What WeChat's answers mean, as typed values. A reader raises Odd for an answer that is not as documented."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlsplit

from hub.channels._wechat.tokens import Fetched
from hub.channels._wechat.transport import Answer

_SLOT: Final = re.compile(r"\{\{\s*([A-Za-z_]{1,32}\d{0,4})\.DATA\s*\}\}")
_PICTURES: Final = "https://mp.weixin.qq.com"
_LONG_TERM: Final = 3


class Odd(ValueError):
    """What is needed is missing or of another type."""


@dataclass(frozen=True, slots=True)
class Sent:
    """WeChat has accepted a message; `duplicate` where it says that it had it already."""

    msgid: str | None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A template of the account. `fields` are the slots of its content, in order."""

    id: str
    title: str
    content: str
    example: str
    fields: tuple[str, ...]
    long_term: bool = False
    """A subscription that is not used up by a send."""
    enums: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The values that a field of the type enum may have."""


@dataclass(frozen=True, slots=True)
class MiniLogin:
    """Who logged in to a mini program. `session_key` must never leave the hub."""

    openid: str
    unionid: str | None
    session_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebLogin:
    """Who logged in through a web page. A `snapshot` is nobody: WeChat made it up for a reader without consent."""

    openid: str
    unionid: str | None
    scopes: tuple[str, ...]
    snapshot: bool
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code that carries a scene; None is for ever."""

    ticket: str
    url: str
    expires_in: timedelta | None

    @property
    def picture(self) -> str:
        """Where the image is."""
        return _PICTURES + self.picture_path

    @property
    def picture_path(self) -> str:
        """The same without its server."""
        return "/cgi-bin/showqrcode?ticket=" + quote(self.ticket, safe="")


@dataclass(frozen=True, slots=True)
class Follower:
    """What WeChat tells of a person; everything but `following` only of followers."""

    openid: str
    following: bool
    unionid: str | None = None
    scene: str | None = None
    """Where they came from, in WeChat's words."""
    qr_scene: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What WeChat remembers of a failed request, without what it carried."""

    at: datetime | None
    cost: timedelta
    path: str
    client_ip: str
    response: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """A day's count of one call."""

    limit: int
    used: int
    remaining: int


def sent(answer: Answer) -> Sent:
    """Of a send: the errcode must be there, since nothing else says that it was one."""
    if "errcode" not in answer:
        raise Odd("no errcode")
    msgid = answer.get("msgid")
    return Sent(str(msgid) if isinstance(msgid, int | str) and msgid != "" else None)


def fetched(answer: Answer) -> Fetched:
    """Of stable_token."""
    life = _integer(answer, "expires_in")
    if life <= 0:
        raise Odd("expires_in")
    return Fetched(_string(answer, "access_token"), timedelta(seconds=life))


def private_templates(answer: Answer) -> tuple[Template, ...]:
    """Of get_all_private_template."""
    return tuple(
        Template(
            id=_string(item, "template_id"),
            title=_optional(item, "title"),
            content=_optional(item, "content"),
            example=_optional(item, "example"),
            fields=_slots(item),
        )
        for item in _objects(answer, "template_list")
    )


def subscribe_templates(answer: Answer) -> tuple[Template, ...]:
    """Of newtmpl/gettemplate."""
    return tuple(
        Template(
            id=_string(item, "priTmplId"),
            title=_optional(item, "title"),
            content=_optional(item, "content"),
            example=_optional(item, "example"),
            fields=_slots(item),
            long_term=_integer(item, "type", default=0) == _LONG_TERM,
            enums=_enums(item),
        )
        for item in _objects(answer, "data")
    )


def mini_login(answer: Answer) -> MiniLogin:
    """Of jscode2session."""
    return MiniLogin(
        _string(answer, "openid"), _optional(answer, "unionid") or None, _string(answer, "session_key")
    )


def web_login(answer: Answer) -> WebLogin:
    """Of sns/oauth2/access_token."""
    return WebLogin(
        openid=_string(answer, "openid"),
        unionid=_optional(answer, "unionid") or None,
        scopes=tuple(filter(None, _optional(answer, "scope").split(","))),
        snapshot=_integer(answer, "is_snapshotuser", default=0) == 1,
        access_token=_string(answer, "access_token"),
    )


def qr_code(answer: Answer) -> QrCode:
    """Of qrcode/create."""
    seconds = _integer(answer, "expire_seconds", default=0)
    life = timedelta(seconds=seconds) if seconds > 0 else None
    return QrCode(_string(answer, "ticket"), _optional(answer, "url"), life)


def follower(answer: Answer) -> Follower:
    """Of user/info."""
    scene = _optional(answer, "qr_scene_str")
    number = _integer(answer, "qr_scene", default=0)
    return Follower(
        openid=_string(answer, "openid"),
        following=_integer(answer, "subscribe", default=0) == 1,
        unionid=_optional(answer, "unionid") or None,
        scene=_optional(answer, "subscribe_scene") or None,
        qr_scene=scene or (str(number) if number else None),
    )


def explanation(answer: Answer) -> Explanation:
    """Of openapi/rid/get. The request's URL has the access token in it, its body the message."""
    request = answer.get("request")
    if not isinstance(request, dict):
        raise Odd("request")
    at = _integer(request, "invoke_time", default=0)
    return Explanation(
        at=datetime.fromtimestamp(at, UTC) if 0 < at < 2**32 else None,
        cost=timedelta(milliseconds=_integer(request, "cost_in_ms", default=0)),
        path=urlsplit(_optional(request, "request_url").partition("?")[0]).path,
        client_ip=_optional(request, "client_ip"),
        response=_optional(request, "response_body"),
    )


def allowance(answer: Answer) -> Allowance:
    """Of openapi/quota/get."""
    quota = answer.get("quota")
    if not isinstance(quota, dict):
        raise Odd("quota")
    return Allowance(*(_integer(quota, name) for name in ("daily_limit", "used", "remain")))


def slots(content: str) -> tuple[str, ...]:
    """The names in `{{name.DATA}}`, each once, in order."""
    return tuple(dict.fromkeys(_SLOT.findall(content)))


def _slots(item: Answer) -> tuple[str, ...]:
    return slots(_optional(item, "content"))


def _enums(item: Answer) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for entry in _objects(item, "keywordEnumValueList", default=True):
        values = entry.get("enumValueList")
        names = tuple(str(value) for value in values) if isinstance(values, list) else ()
        found.append((_string(entry, "keywordCode").removesuffix(".DATA"), names))
    return tuple(found)


def _string(answer: Answer, name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise Odd(name)
    return value


def _optional(answer: Answer, name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""


def _integer(answer: Answer, name: str, *, default: int | None = None) -> int:
    value = answer.get(name, default)
    try:
        return int(value) if isinstance(value, int | str) else int("")
    except ValueError as error:
        raise Odd(name) from error


def _objects(answer: Answer, name: str, *, default: bool = False) -> list[Answer]:
    value = answer.get(name)
    if value is None and default:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Odd(name)
    return value
