"""The closed words of the gateway: error codes of frames, and why a socket is closed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class ErrorCode(StrEnum):
    """What the gateway itself answers in `error` frames; the engine's own codes come beside these."""

    BAD_REQUEST = "bad_request"
    """Not JSON, a missing field, a wrong type, a value out of bounds."""
    UNKNOWN_TYPE = "unknown_type"
    """No such frame."""
    BODY_INVALID = "body_invalid"
    """The body is not what messages of its kind say."""
    NOT_SUPPORTED = "not_supported"
    """This hub is run without it."""
    TOO_LARGE = "too_large"
    """The body is longer or nested deeper than allowed."""
    RATE_LIMITED = "rate_limited"
    """Too many frames a second; this one was not looked at."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """Too many requests wait for their answers; this one was not looked at."""
    ACK_BEYOND_SENT = "ack_beyond_sent"
    """An ack of something that was not sent on this connection; it moved nothing."""
    ALREADY_GREETED = "already_greeted"
    """A second hello."""
    USER_NOT_FOUND = "user_not_found"
    """No user of the app has that id."""
    TOO_MANY_SESSIONS = "too_many_sessions"
    """The app's policy allows no further session of this user on this platform."""
    TASK_NOT_FOUND = "task_not_found"
    """The message is not the card of a task that this user is asked about."""
    TASK_ALREADY_DECIDED = "task_already_decided"
    """Somebody was first; `detail` names them, and the card says so."""
    ACTION_UNKNOWN = "action_unknown"
    """The card has no such action."""
    COMMENT_REQUIRED = "comment_required"
    """The action needs a comment."""
    SCOPE_MISSING = "scope_missing"
    """The token may read but not write."""
    DRAINING = "draining"
    """The node is going down; the request was not looked at. Repeat it on the next connection."""
    UNAVAILABLE = "unavailable"
    """A part that the hub needs is away."""
    INTERNAL = "internal"
    """A bug of the hub; it is in its log."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Why a socket is closed: the close code, the word in `bye`, and whether the client should come back."""

    code: int
    reason: str
    reconnect: bool


NORMAL = Parting(1000, "goodbye", reconnect=False)
PROTOCOL_ERROR = Parting(1002, "protocol_error", reconnect=False)
BINARY = Parting(1003, "binary_not_supported", reconnect=False)
INVALID_UTF8 = Parting(1007, "invalid_utf8", reconnect=False)
FRAME_TOO_BIG = Parting(1009, "frame_too_big", reconnect=False)
INTERNAL = Parting(1011, "internal", reconnect=True)
DRAINING = Parting(1012, "draining", reconnect=True)
BAD_REQUEST = Parting(4400, "bad_request", reconnect=False)
TOKEN_INVALID = Parting(4401, "token_invalid", reconnect=False)
TOKEN_REVOKED = Parting(4401, "token_revoked", reconnect=False)
TOKEN_EXPIRED = Parting(4403, "token_expired", reconnect=True)
FORBIDDEN = Parting(4407, "forbidden", reconnect=False)
HELLO_TIMEOUT = Parting(4408, "hello_timeout", reconnect=True)
REPLACED = Parting(4409, "replaced", reconnect=False)
TOO_MANY_SESSIONS = Parting(4410, "too_many_sessions", reconnect=False)
KICKED = Parting(4411, "kicked", reconnect=False)
SLOW_CONSUMER = Parting(4413, "slow_consumer", reconnect=True)
SILENT = Parting(4420, "silent", reconnect=True)
RIGHTS_CHANGED = Parting(4423, "rights_changed", reconnect=True)
RATE_LIMITED = Parting(4429, "rate_limited", reconnect=True)
BUSY = Parting(4430, "busy", reconnect=True)
UNAVAILABLE = Parting(4503, "unavailable", reconnect=True)

PARTINGS = (
    NORMAL,
    PROTOCOL_ERROR,
    BINARY,
    INVALID_UTF8,
    FRAME_TOO_BIG,
    INTERNAL,
    DRAINING,
    BAD_REQUEST,
    TOKEN_INVALID,
    TOKEN_REVOKED,
    TOKEN_EXPIRED,
    FORBIDDEN,
    HELLO_TIMEOUT,
    REPLACED,
    TOO_MANY_SESSIONS,
    KICKED,
    SLOW_CONSUMER,
    SILENT,
    RIGHTS_CHANGED,
    RATE_LIMITED,
    BUSY,
    UNAVAILABLE,
)

OF_VIOLATION = {parting.code: parting for parting in (PROTOCOL_ERROR, INVALID_UTF8, FRAME_TOO_BIG)}
"""What a broken rule of the wire ends in, by its close code."""

OF_REFUSAL = {parting.reason: parting for parting in (TOKEN_INVALID, TOKEN_REVOKED, TOKEN_EXPIRED)} | {
    "device_kicked": KICKED
}
"""What a refused hello ends in, by the refusal's code; anything else is FORBIDDEN."""
