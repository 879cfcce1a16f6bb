"""What requests and answers are made of: the base of all schemas, and the texts, ids and times they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from hub.core.records import is_app_id, is_user_id

T = TypeVar("T")

MAX_SAFE: Final = 2**53 - 1
"""The largest integer that every JSON reader gets right."""
_MAX_DEPTH: Final = 32
_MAX_DAYS: Final = 365


class Strict(BaseModel):
    """A request: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Shown(BaseModel):
    """An answer. Clients should ignore fields that they do not know: a later version may add some."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


def example(sample: Mapping[str, Any], *, title: str | None = None) -> ConfigDict:
    """A model's configuration with an example for the documentation."""
    extra: JsonDict = {"examples": [dict(sample)]}
    return (
        ConfigDict(json_schema_extra=extra)
        if title is None
        else ConfigDict(title=title, json_schema_extra=extra)
    )


def _user_id(text: str) -> str:
    if not is_user_id(text):
        message = "a user id has 1 to 128 printable characters, no slash, and no space at its ends"
        raise ValueError(message)
    return text


def _app_id(text: str) -> str:
    if not is_app_id(text):
        message = "an app id has 1 to 40 of a-z, 0-9, '-' and '_', and begins with a letter"
        raise ValueError(message)
    return text


def _line(text: str) -> str:
    if not text.replace(" ", "x").isprintable() and text:
        message = "a single line of text has no line breaks or control characters"
        raise ValueError(message)
    return text


def _text(text: str) -> str:
    if "\x00" in text:
        message = "a text has no NUL characters"
        raise ValueError(message)
    return text


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        # A machine without a time zone database cannot tell; it must not refuse what another one takes.
        if available_timezones():
            message = "expected an IANA time zone such as Asia/Shanghai"
            raise ValueError(message) from error
    return name


def depth_of(value: object) -> int:
    """How deeply lists and objects are nested in each other."""
    depth, layer = 0, [value]
    while layer and depth <= _MAX_DEPTH + 1:
        nested = [item for item in layer if isinstance(item, list | dict)]
        layer = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        depth += bool(nested)
    return depth


def _shallow(value: Any) -> Any:
    if depth_of(value) > _MAX_DEPTH:
        message = f"nested more than {_MAX_DEPTH} levels deep"
        raise ValueError(message)
    return value


_DURATION: Final = re.compile(r"P(?:(\d{1,3})D)?(?:T(?=\d)(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        message = (
            "expected an ISO 8601 duration of days, hours, minutes and seconds, such as PT30S, PT5M or P1D"
        )
        raise ValueError(message)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta(0) < length <= timedelta(days=_MAX_DAYS):
        message = f"expected a duration above zero and of at most {_MAX_DAYS} days"
        raise ValueError(message)
    return length


def iso_duration(length: timedelta) -> str:
    """PT90S: the shortest unit that is exact in seconds, as requests take it."""
    seconds = length.days * 86_400 + length.seconds
    for unit, size in (("H", 3_600), ("M", 60)):
        if seconds and seconds % size == 0:
            return f"PT{seconds // size}{unit}"
    return f"PT{seconds}S"


def _moment(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        message = "expected a time between the years 1 and 9999"
        raise ValueError(message) from error


_PRINTABLE: Final = r"^[^\s\x00-\x1f\x7f/](?:[^\x00-\x1f\x7f/]*[^\s\x00-\x1f\x7f/])?$"
_LINE: Final = r"^[^\x00-\x1f\x7f]*$"

UserId: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_user_id),
    Field(
        json_schema_extra={"pattern": _PRINTABLE},
        description="The product's own id of a user.",
        examples=["u_1024"],
    ),
]
AppIdText: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_-]*$"),
    AfterValidator(_app_id),
    Field(description="The id of an app.", examples=["shop"]),
]
Line: TypeAlias = Annotated[str, AfterValidator(_line), Field(json_schema_extra={"pattern": _LINE})]
Name: TypeAlias = Annotated[Line, StringConstraints(max_length=128)]
Title: TypeAlias = Annotated[Line, StringConstraints(max_length=256)]
Text: TypeAlias = Annotated[str, AfterValidator(_text)]
Locale: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"),
    Field(description="A BCP 47 language tag.", examples=["zh-CN"]),
]
TimeZone: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$"),
    AfterValidator(_timezone),
    Field(description="An IANA time zone.", examples=["Asia/Shanghai"]),
]
FreeObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(_shallow)]
Moment: TypeAlias = Annotated[
    AwareDatetime,
    AfterValidator(_moment),
    Field(description="RFC 3339, with an offset.", examples=["2026-03-01T09:12:00+08:00"]),
]
Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(iso_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "duration",
            "pattern": r"^P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$",
            "examples": ["PT5M"],
        }
    ),
]
Seq: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SAFE, strict=True)]
ClientMsgId: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$"),
    Field(
        description="The sender's own id of the message; a repeat gets the first one's answer.",
        examples=["c-1"],
    ),
]
KindName: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,31}$"),
    Field(description="What the body is; the product's own vocabulary.", examples=["text"]),
]

# Ids of the hub's own making, in paths. The pattern keeps out what a database would stumble over.
HubId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
PathUser: TypeAlias = Annotated[UserId, Path(description="The product's id of the user.")]
PathDevice: TypeAlias = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f/]+$")]
ForUser: TypeAlias = Annotated[
    UserId | None, Query(description="Whose; with an API key only. A user's token is about its own user.")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=200, description="At most this many.")]
After: TypeAlias = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=1_024,
        description="`page.next` of the page before.",
        pattern=r"^[A-Za-z0-9_-]+$",
    ),
]


class PageInfo(Shown):
    """How to go on. `next` is null at the end."""

    next: str | None = Field(description="Pass it as `after` for the next page.")
    has_more: bool


class Listing(Shown, Generic[T]):
    """One page of a list."""

    data: list[T]
    page: PageInfo


class FaultShown(Shown):
    """One thing that is wrong with a request."""

    pointer: str = Field(
        description="A JSON pointer into the body, or `query:name`, `path:name`, `header:name`."
    )
    code: str
    detail: str
    channel: str | None = Field(None, description="The channel that could not say it.")
    fix: str | None = Field(None, description="What would mend it, where the hub knows.")


class ProblemShown(Shown):
    """RFC 9457 problem details."""

    model_config = example(
        {
            "type": "/docs/problems/user-not-found",
            "title": "No such user",
            "status": 404,
            "detail": "There is no user 'u_1024' in this app.",
            "instance": "/v1/users/u_1024",
            "code": "user_not_found",
            "retryable": False,
            "request_id": "req_0195a1",
        },
        title="Problem",
    )

    type: str = Field(description="Where the code is explained.")
    title: str
    status: int
    detail: str = Field(description="For people; may change.")
    code: str = Field(description="Stable, for programs.")
    retryable: bool = Field(description="The same request may succeed later as it is.")
    instance: str | None = None
    request_id: str | None = Field(None, description="Under which the hub's log knows the request.")
    errors: list[FaultShown] | None = None
