"""What a client may say: one struct a frame, checked field by field on decoding."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from hub.channels.ws.chat_requests import (
    MAX_MENTIONS,
    ChatFrame,
    ClientMsgId,
    ConversationKey,
    Destination,
    Edit,
    MessageKey,
    RequestId,
    UserId,
    check_body,
)
from hub.channels.ws.codes import ErrorCode
from hub.core.bodies import OWN_KINDS, body_fault
from hub.core.identity import Platform

MAX_PAGE: Final = 500
MAX_WATCHED: Final = 200
MAX_LISTED: Final = 100
_MAX_NESTING: Final = 64

# Exact in every JSON reader, and far beyond any queue.
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
Token: TypeAlias = Annotated[str, Meta(min_length=1, max_length=8_192)]
DeviceId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[!-~]*\Z")]
MessageKind: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,31}\Z")]


class DeviceInfo(Struct, frozen=True, gc=False):
    """The device that says hello; its id is the product's own and stays the same over restarts."""

    id: DeviceId
    platform: Platform
    name: Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame. Without a cursor the device's stored one counts."""

    token: Token
    device: DeviceInfo
    cursor: Seq | None = None
    mode: Literal["push", "hint"] = "push"
    """`push`: messages come as they are. `hint`: only `news` comes, and the client pulls with `sync`."""
    id: RequestId | None = None


class Send(Struct, frozen=True, tag_field="type", tag="send"):
    """A message. Its body is any JSON object or string and is passed on as it was written."""

    id: RequestId
    to: Destination
    client_msg_id: ClientMsgId
    kind: MessageKind
    body: Raw
    mentions: Annotated[tuple[UserId, ...], Meta(max_length=MAX_MENTIONS)] = ()
    reply_to: MessageKey | None = None

    def __post_init__(self) -> None:
        """What types cannot say."""
        if self.kind in OWN_KINDS:
            message = f"kind `{self.kind}` is the hub's own"
            raise ValueError(message)
        check_body(self.body)


class Ack(Struct, frozen=True, gc=False, tag_field="type", tag="ack"):
    """Everything up to `seq` has been applied."""

    seq: Seq


class Sync(Struct, frozen=True, gc=False, tag_field="type", tag="sync"):
    """A page of the queue."""

    id: RequestId
    after: Seq
    limit: Limit = 100


class History(Struct, frozen=True, gc=False, tag_field="type", tag="history"):
    """A page of one conversation: past `after`, before `before`, or the newest."""

    id: RequestId
    conversation: ConversationKey
    before: Seq | None = None
    after: Seq | None = None
    limit: Limit = 50

    def __post_init__(self) -> None:
        """One direction at a time."""
        if self.before is not None and self.after is not None:
            message = "give `before` or `after`, not both"
            raise ValueError(message)


class Conversations(Struct, frozen=True, gc=False, tag_field="type", tag="conversations"):
    """A page of the user's conversation list: the first, or past the `next` of the last one. With `conversation` that
    one alone."""

    id: RequestId
    conversation: ConversationKey | None = None
    after: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 50

    def __post_init__(self) -> None:
        """One of the two."""
        if self.conversation is not None and self.after is not None:
            message = "give `conversation` or `after`, not both"
            raise ValueError(message)


class Read(Struct, frozen=True, gc=False, tag_field="type", tag="read"):
    """The person has read the conversation up to `seq`."""

    conversation: ConversationKey
    seq: Seq


class Typing(Struct, frozen=True, gc=False, tag_field="type", tag="typing"):
    """The person is writing."""

    conversation: ConversationKey


class Watch(Struct, frozen=True, tag_field="type", tag="watch"):
    """Whose presence this session wants to hear of from now on; replaces what it asked for before."""

    id: RequestId
    users: Annotated[tuple[UserId, ...], Meta(max_length=MAX_WATCHED)]


class Ping(Struct, frozen=True, gc=False, tag_field="type", tag="ping"):
    """A heartbeat."""

    id: RequestId


class Bye(Struct, frozen=True, gc=False, tag_field="type", tag="bye"):
    """The client leaves."""


class ActionData(Struct, frozen=True, gc=False):
    """What comes with a press. The same `client_action_id` again gets the first answer."""

    comment: Annotated[str, Meta(max_length=4_000, pattern=r"^[^\x00]*\Z")] = ""
    client_action_id: ClientMsgId | None = None


class Action(Struct, frozen=True, tag_field="type", tag="action"):
    """Press a button of a card: `message` is the card's, `action` one of its actions' ids."""

    id: RequestId
    message: ConversationKey
    action: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]*\Z")]
    data: ActionData = ActionData()


ClientFrame: TypeAlias = (
    Hello
    | Send
    | Ack
    | Sync
    | History
    | Conversations
    | Read
    | Typing
    | Watch
    | Ping
    | Bye
    | Action
    | ChatFrame
)

_DECODER = msgspec.json.Decoder(ClientFrame)


# Brackets as signed steps of depth: opening ones +1, closing ones -1.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_STEPS = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{[}]"))


class _Anything(Struct, frozen=True, gc=False):
    id: RequestId | None = None
    type: str | None = None


class _AnythingElse(Struct, frozen=True, gc=False):
    type: str | None = None


_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ANYTHING = msgspec.json.Decoder(_Anything)
_ANYTHING_ELSE = msgspec.json.Decoder(_AnythingElse)
KNOWN: Final = (
    "hello",
    "send",
    "ack",
    "sync",
    "history",
    "conversations",
    "read",
    "typing",
    "watch",
    "ping",
    "bye",
    "recall",
    "edit",
    "react",
    "pin",
    "hide",
    "forward",
    "action",
)


class Malformed(Exception):
    """A frame that cannot be understood; `id` is there where it could be read."""

    def __init__(self, code: ErrorCode, detail: str, request: str | int | None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.id = request


def decode(data: bytes) -> ClientFrame:
    """The frame in `data`. Raises Malformed and nothing else."""
    try:
        frame: ClientFrame = _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise _malformed(data, str(error)) from None
    except _UNREADABLE as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Malformed(ErrorCode.BAD_REQUEST, detail, None) from None
    return frame


def _malformed(data: bytes, detail: str) -> Malformed:
    found = _peek(data)
    if found.type is not None and found.type not in KNOWN:
        detail = f"there is no such frame; known are {', '.join(KNOWN)}"
        return Malformed(ErrorCode.UNKNOWN_TYPE, detail, found.id)
    return Malformed(ErrorCode.BAD_REQUEST, detail, found.id)


def _peek(data: bytes) -> _Anything:
    try:
        return _ANYTHING.decode(data)
    except _UNREADABLE:
        pass
    try:
        return _Anything(type=_ANYTHING_ELSE.decode(data).type)
    except _UNREADABLE:
        return _Anything()


def peek_id(data: bytes) -> str | int | None:
    """The id of a frame that is not going to be looked at further."""
    return _peek(data).id


def nested_too_deeply(body: bytes) -> bool:
    """Whether a valid body would overflow the readers that recurse (most of them), measured without parsing it."""
    if body.count(b"{") + body.count(b"[") <= _MAX_NESTING:
        return False
    steps = memoryview(_STRINGS.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > _MAX_NESTING


def content_fault(frame: Send | Edit, *, most_bytes: int) -> tuple[ErrorCode, str] | None:
    """What is wrong with what a frame would have said."""
    body = bytes(frame.body)
    if len(body) > most_bytes:
        return ErrorCode.TOO_LARGE, f"`body` has more than {most_bytes} bytes"
    if nested_too_deeply(body):
        return ErrorCode.TOO_LARGE, "`body` is nested too deeply"
    try:
        # Only its syntax was looked at: numbers may be out of every range, and bytes no UTF-8.
        said = msgspec.json.decode(body)
    except _UNREADABLE as error:
        return ErrorCode.BAD_REQUEST, f"`body` cannot be read: {error}"
    fault = body_fault(frame.kind, said) if isinstance(frame, Send) else None
    return (ErrorCode.BODY_INVALID, f"`body{fault.pointer}`: {fault.detail}") if fault else None
