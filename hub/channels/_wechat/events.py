"""What WeChat reports, as typed values. What is not known is kept as it came."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

from hub.channels._wechat.markup import Fields, Node, Unreadable

_OPENID: Final = re.compile(r"[A-Za-z0-9_@.\-]{1,128}")
_SCENE_PREFIX: Final = "qrscene_"
_MAX_VALUE: Final = 512
_MAX_TIME: Final = 4_102_444_800
"""The year 2100."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event comes from. `key` is the same for every delivery of the same event."""

    appid: str
    account: str
    """The account's original id (gh_…)."""
    openid: str
    at: datetime
    key: str


class JobStatus(StrEnum):
    """How a template message ended."""

    SUCCESS = "success"
    USER_BLOCK = "user_block"
    SYSTEM_FAILED = "system_failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TemplateJobFinished:
    """The last word on a template message; `msgid` is the one that the send was answered with."""

    origin: Origin
    msgid: str
    status: JobStatus
    words: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose for one template; `scene` is where: 0 mini program, 1 web page, 2 article."""

    template_id: str
    accepted: bool
    words: str
    scene: int | None = None


@dataclass(frozen=True, slots=True)
class SubscribeAnswered:
    """A person answered the dialog; an accepted one-time template is worth one send."""

    origin: Origin
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class SubscribeChanged:
    """A person changed subscriptions in the settings; WeChat reports refusals only."""

    origin: Origin
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class SentResult:
    """How one subscribe message ended; a failure here is one of WeChat's system."""

    template_id: str
    msgid: str
    errcode: int
    words: str


@dataclass(frozen=True, slots=True)
class SubscribeSent:
    """The last word on subscribe messages."""

    origin: Origin
    results: tuple[SentResult, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """A person follows the account, perhaps through a QR code with a scene."""

    origin: Origin
    scene: str | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """A person no longer follows: the binding must not be used any more."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class Scanned:
    """A follower scanned a QR code."""

    origin: Origin
    scene: str
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A message of a person, or an event that the hub does not know."""

    origin: Origin
    msg_type: str
    event: str
    fields: Fields


Event: TypeAlias = (
    TemplateJobFinished
    | SubscribeAnswered
    | SubscribeChanged
    | SubscribeSent
    | Followed
    | Unfollowed
    | Scanned
    | OtherEvent
)

_STATUSES: Final[Mapping[str, JobStatus]] = {
    "success": JobStatus.SUCCESS,
    "failed:userblock": JobStatus.USER_BLOCK,
    "failed:systemfailed": JobStatus.SYSTEM_FAILED,
}
"""Without spaces: WeChat writes `failed:user block` but `failed: system failed`."""

_LISTS: Final[Mapping[str, str]] = {
    "subscribe_msg_popup_event": "SubscribeMsgPopupEvent",
    "subscribe_msg_change_event": "SubscribeMsgChangeEvent",
    "subscribe_msg_sent_event": "SubscribeMsgSentEvent",
}


def read_event(fields: Fields, *, appid: str) -> Event:
    """The event of a body that has been verified. Raises Unreadable where what every event has is missing."""
    msg_type, name = _text(fields, "MsgType"), _text(fields, "Event")
    if not msg_type:
        raise Unreadable("no MsgType")
    origin = Origin(
        appid=appid,
        account=_openid(fields, "ToUserName"),
        openid=_openid(fields, "FromUserName"),
        at=datetime.fromtimestamp(_number(fields, "CreateTime", limit=_MAX_TIME), UTC),
        key=duplicate_key(fields, appid=appid),
    )
    reader = _READERS.get(name.lower()) if msg_type.lower() == "event" else None
    return reader(origin, fields) if reader is not None else OtherEvent(origin, msg_type, name, fields)


def duplicate_key(fields: Fields, *, appid: str) -> str:
    """The same for the three tries of one event, and different for two events of one person in one second.

    MsgId alone has been seen on messages of two people, and person and time alone are shared by a double click.
    """
    parts = [appid, *(_text(fields, name) for name in ("FromUserName", "CreateTime", "MsgType"))]
    parts += [_text(fields, "Event").lower(), _text(fields, "MsgId") or _text(fields, "MsgID")]
    parts += [_text(fields, name) for name in ("EventKey", "Status")]
    for item in _items(fields, _text(fields, "Event").lower()):
        parts += [_text(item, name) for name in ("TemplateId", "MsgID", "SubscribeStatusString", "ErrorCode")]
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(framed.encode()).hexdigest()


def _job(origin: Origin, fields: Fields) -> Event:
    words = _text(fields, "Status")
    status = _STATUSES.get(words.lower().replace(" ", ""), JobStatus.UNKNOWN)
    return TemplateJobFinished(origin, _needed(fields, "MsgID"), status, words)


def _choices(fields: Fields, event: str) -> tuple[Choice, ...]:
    return tuple(
        Choice(
            template_id=_needed(item, "TemplateId"),
            accepted=_text(item, "SubscribeStatusString").lower() == "accept",
            words=_text(item, "SubscribeStatusString"),
            scene=_optional_number(item, "PopupScene"),
        )
        for item in _items(fields, event)
    )


def _answered(origin: Origin, fields: Fields) -> Event:
    return SubscribeAnswered(origin, _choices(fields, "subscribe_msg_popup_event"))


def _changed(origin: Origin, fields: Fields) -> Event:
    return SubscribeChanged(origin, _choices(fields, "subscribe_msg_change_event"))


def _sent(origin: Origin, fields: Fields) -> Event:
    results = tuple(
        SentResult(
            template_id=_needed(item, "TemplateId"),
            msgid=_text(item, "MsgID"),
            errcode=_number(item, "ErrorCode"),
            words=_text(item, "ErrorStatus"),
        )
        for item in _items(fields, "subscribe_msg_sent_event")
    )
    return SubscribeSent(origin, results)


def _followed(origin: Origin, fields: Fields) -> Event:
    key = _text(fields, "EventKey")
    scene = key.removeprefix(_SCENE_PREFIX) if key.startswith(_SCENE_PREFIX) else None
    return Followed(origin, scene or None, _text(fields, "Ticket") or None)


def _unfollowed(origin: Origin, _fields: Fields) -> Event:
    return Unfollowed(origin)


def _scanned(origin: Origin, fields: Fields) -> Event:
    return Scanned(origin, _text(fields, "EventKey"), _text(fields, "Ticket") or None)


_READERS: Final[Mapping[str, Callable[[Origin, Fields], Event]]] = {
    "templatesendjobfinish": _job,
    "subscribe_msg_popup_event": _answered,
    "subscribe_msg_change_event": _changed,
    "subscribe_msg_sent_event": _sent,
    "subscribe": _followed,
    "unsubscribe": _unfollowed,
    "scan": _scanned,
}


def _items(fields: Fields, event: str) -> Iterator[Fields]:
    """The `List`: one object or several, inside a wrapper (XML, and some JSON) or without one (JSON)."""
    wrapper = fields.get(_LISTS.get(event, ""), fields)
    node: Node = wrapper.get("List", []) if isinstance(wrapper, Mapping) else []
    for item in node if isinstance(node, list) else [node]:
        if isinstance(item, Mapping):
            yield item


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name, "")
    return value.strip()[:_MAX_VALUE] if isinstance(value, str) else ""


def _needed(fields: Fields, name: str) -> str:
    value = _text(fields, name)
    if not value:
        raise Unreadable(f"no {name}")
    return value


def _openid(fields: Fields, name: str) -> str:
    value = _text(fields, name)
    if not _OPENID.fullmatch(value):
        raise Unreadable(f"{name} is no id")
    return value


def _number(fields: Fields, name: str, *, limit: int = 2**31) -> int:
    value = _text(fields, name)
    if not re.fullmatch(r"-?\d{1,12}", value, re.ASCII) or not -limit < int(value) < limit:
        raise Unreadable(f"{name} is no number")
    return int(value)


def _optional_number(fields: Fields, name: str) -> int | None:
    return _number(fields, name) if _text(fields, name) else None
