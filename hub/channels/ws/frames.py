"""What the hub says: server frames, and a message encoded once for all its recipients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from hub.channels.ws.codes import Parting
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.wire import head, ws_frame
from hub.core.errors import HubError, Unavailable
from hub.core.message import TOMBSTONE, HistoryPage, Message, Page, Published, ReactionCount, UserKey

__all__ = ["encode", "encode_frame", "ws_frame"]

Id = str | int | None
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
"""RFC 3339, UTC."""


class Limits(Struct, frozen=True):
    """What a client must keep to on this connection."""

    frame_bytes: int
    body_bytes: int
    frames_per_second: int
    requests_in_flight: int
    page: int
    watched_users: int


class Welcome(Struct, frozen=True, tag_field="type", tag="welcome", omit_defaults=True):
    """The answer to hello: every entry after `cursor` follows, then what is new."""

    session: str
    user: str
    head: int
    cursor: int
    heartbeat_s: float
    at: Moment
    limits: Limits
    id: str | int | None = None


class Ok(Struct, frozen=True, tag_field="type", tag="ok", omit_defaults=True):
    """A send was committed, now or (`duplicate`) earlier. Of a change, `message` is the one that was changed and `seq`
    that of the control message which tells of it."""

    id: str | int
    message: str
    conversation: str
    seq: int
    at: Moment
    duplicate: bool = False


class Copied(Struct, frozen=True, omit_defaults=True):
    """One message that was made by a `forward`."""

    message: str
    conversation: str
    seq: int
    at: Moment
    duplicate: bool = False


class Forwarded(Struct, frozen=True, tag_field="type", tag="ok"):
    """What was made by a `forward`, in the order asked for; one where they were merged."""

    id: str | int
    forwarded: list[Copied]


class Acted(Struct, frozen=True, tag_field="type", tag="ok"):
    """A decision counts for the hub; `state` says what the business system made of it: `applied`, `pending` (it has not
    answered yet) or `rejected_by_business`, with its `reason`."""

    id: str | int
    task: str
    intent: str
    action: str
    state: str
    reason: str
    task_state: str
    duplicate: bool


class Watching(Struct, frozen=True, tag_field="type", tag="ok"):
    """A watch is in place; `refused` are those whose presence may not be told, existing or not."""

    id: str | int
    presence: dict[str, dict[str, Any]]
    refused: list[str]


class Error(Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """A request failed; `id` is missing where the frame had none that could be read."""

    code: str
    detail: str
    retryable: bool
    id: str | int | None = None
    retry_after_s: float | None = None


class SyncBatch(Struct, frozen=True, tag_field="type", tag="batch"):
    """A contiguous page of the queue."""

    id: str | int
    entries: list[Raw]
    next: int
    more: bool


class HistoryBatch(Struct, frozen=True, tag_field="type", tag="batch", omit_defaults=True):
    """A page of one conversation, ascending. `low` and `high` are the seqs it covers; `gap` ended it early. `quoted` is
    what messages of the page answer and is not on it."""

    id: str | int
    conversation: str
    entries: list[Raw]
    more: bool
    low: int
    high: int
    gap: tuple[int, int] | None = None
    quoted: list[Raw] | None = None


class Pong(Struct, frozen=True, gc=False, tag_field="type", tag="pong"):
    """The newest number of the user's queue."""

    id: str | int
    head: int


class Behind(Struct, frozen=True, gc=False, tag_field="type", tag="behind"):
    """The connection was too slow and pushing paused; what is missing up to `head` follows."""

    head: int


class News(Struct, frozen=True, gc=False, tag_field="type", tag="news"):
    """In hint mode: the queue has grown to `head`. Nothing more is said until the client has pulled or acknowledged
    that far."""

    head: int


class Rebase(Struct, frozen=True, tag_field="type", tag="rebase", omit_defaults=True):
    """The cursor cannot be continued from: start again from the conversation list; live entries go on after `head`."""

    head: int
    id: str | int | None = None


class TypingNow(Struct, frozen=True, tag_field="type", tag="typing"):
    """Somebody is writing."""

    conversation: str
    user: str


class PresenceNow(Struct, frozen=True, tag_field="type", tag="presence", omit_defaults=True):
    """A watched user came or went."""

    user: str
    online: bool
    at: Moment | None = None


class ReadUpTo(Struct, frozen=True, tag_field="type", tag="read"):
    """Somebody has read a conversation up to `seq`."""

    conversation: str
    seq: int
    user: str


class Grew(Struct, frozen=True, gc=False, tag_field="type", tag="grew"):
    """A read-diffused conversation has more; pull it with `history`. Without a seq it may have: ask."""

    conversation: str
    seq: int | None


class Farewell(Struct, frozen=True, tag_field="type", tag="bye", omit_defaults=True):
    """The hub is about to close the socket, and what to do then."""

    code: int
    reason: str
    reconnect: bool
    retry_after_s: float | None = None


class MessageBody(Struct, frozen=True, omit_defaults=True):
    """A message as clients see it. `sender` is the product's user id, null for the business system."""

    id: str | None
    conversation: str | None
    seq: int | None
    sender: str | None
    kind: str
    body: Raw
    at: Moment | None
    client_msg_id: str | None = None
    mentions: tuple[str, ...] | None = None
    notification: str | None = None
    expires_at: Moment | None = None
    control: bool = False
    """It tells of a change and is nothing to be read; `reply_to` is then the message that changed."""
    reply_to: str | None = None
    forward_of: str | None = None
    edited_at: Moment | None = None
    reactions: tuple[ReactionCount, ...] | None = None
    """In history only: how many users put which emoji to it, and whether the reader is one of them."""


class MessageFrame(MessageBody, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """One entry of the recipient's queue. Never encoded as a whole: frames are put together from a parcel."""

    q: int


_ENCODER = msgspec.json.Encoder()
_FEW: Final = 4
_START: Final = b'{"type":"message","q":'
_TOMBSTONE: Final = b"," + _ENCODER.encode(
    MessageBody(None, None, None, None, TOMBSTONE, Raw(b"null"), None)
).removeprefix(b"{")


def encode_frame(frame: Struct | Mapping[str, object]) -> bytes:
    """The JSON of any frame."""
    return _ENCODER.encode(frame)


def encode(published: Published) -> Parcel:
    """A committed message, encoded once for every socket of every node."""
    message = published.message
    if published.grew:
        grew = encode_frame(Grew(message.conversation, message.seq))
        return Parcel(grew, message.conversation, message.seq, [], grew=True)
    users = [(int(entry.user), entry.user_seq) for entry in published.entries]
    return Parcel(message_rest(message), message.conversation, message.seq, users)


def message_rest(message: Message | None) -> bytes:
    """The JSON of a `message` frame from after the value of `q`; None is a number that was closed unused."""
    if message is None:
        return _TOMBSTONE
    return b"," + _json(message)[1:]


def _json(message: Message, reactions: tuple[ReactionCount, ...] | None = None) -> bytes:
    return _ENCODER.encode(
        MessageBody(
            id=message.id,
            conversation=message.conversation,
            seq=message.seq,
            sender=message.sender_id,
            kind=message.kind,
            body=Raw(message.body.encode()),
            at=message.created_at,
            client_msg_id=message.client_msg_id,
            mentions=message.mentions or None,
            notification=message.notification,
            expires_at=message.expires_at,
            control=message.control,
            reply_to=message.reply_to,
            forward_of=message.forward_of,
            edited_at=message.edited_at,
            reactions=reactions,
        )
    )


def stamped(rest: bytes, q: int) -> bytes:
    """The complete wire frame of a message for one recipient."""
    digits = b"%d" % q
    return b"%b%b%b%b" % (head(len(_START) + len(digits) + len(rest)), _START, digits, rest)


class Stamp:
    """Puts each recipient's number on one message: complete wire frames from one template per length of number."""

    __slots__ = ("_above", "_escaped", "_from", "_size", "_template")

    def __init__(self, rest: bytes) -> None:
        self._escaped = rest.replace(b"%", b"%%")
        self._size = len(_START) + len(rest)
        self._template = b""
        self._from = self._above = 0

    def frame(self, q: int) -> bytes:
        """The text frame for the recipient whose number is `q`."""
        if not self._from <= q < self._above:
            digits = len(b"%d" % q)
            self._from, self._above = 10 ** (digits - 1), 10**digits
            start = head(self._size + digits) + _START
            self._template = b"%b%%d%b" % (start.replace(b"%", b"%%"), self._escaped)
        return self._template % q


def stamp(rest: bytes, recipients: int) -> Callable[[int], bytes]:
    """How to make the frame for each number: prepared where that pays."""
    return Stamp(rest).frame if recipients > _FEW else partial(stamped, rest)


def message_frame(q: int, message: Message | None) -> bytes:
    """The complete wire frame of one entry."""
    return stamped(message_rest(message), q)


def sync_batch(request: str | int, page: Page, *, most_bytes: int) -> bytes:
    """A page as a `batch`, shortened where its bodies are too many bytes for one answer."""
    entries: list[Raw] = []
    room = most_bytes
    reached, more = page.next, page.more
    for entry, message in page.entries:
        raw = b'{"q":%d%s' % (entry.user_seq, message_rest(message))
        room -= len(raw)
        if room < 0 and entries:
            reached, more = entry.user_seq - 1, True
            break
        entries.append(Raw(raw))
    return encode_frame(SyncBatch(request, entries, reached, more))


def history_batch(
    request: str | int, conversation: str, page: HistoryPage, *, newest_first: bool, most_bytes: int
) -> bytes:
    """A page of history; where it must be shortened, it loses the end that is farther from where it was asked."""
    chosen: list[Message] = []
    raws: list[Raw] = []
    room = most_bytes
    more, gap, low, high = page.more, page.gap, page.low, page.high
    for message in reversed(page.messages) if newest_first else page.messages:
        raw = _json(message, page.reactions.get(message.id))
        room -= len(raw)
        if room < 0 and raws:
            more, gap = True, None
            low, high = (chosen[-1].seq, high) if newest_first else (low, chosen[-1].seq)
            break
        chosen.append(message)
        raws.append(Raw(raw))
    if newest_first:
        raws.reverse()
    quoted = _quoted(page, chosen, room) or None
    return encode_frame(HistoryBatch(request, conversation, raws, more, low, high, gap, quoted))


def _quoted(page: HistoryPage, chosen: Sequence[Message], room: int) -> list[Raw]:
    """What the chosen messages answer, as far as there is room for it."""
    answered = {message.reply_to for message in chosen}
    raws: list[Raw] = []
    for message in page.quoted:
        raw = _json(message) if message.id in answered else b""
        room -= len(raw)
        if raw and room > 0:
            raws.append(Raw(raw))
    return raws


def error_frame(request: Id, error: HubError) -> bytes:
    """What the engine refused or could not do."""
    after = error.retry_after.total_seconds() if isinstance(error, Unavailable) else None
    return encode_frame(
        Error(error.code, error.detail, isinstance(error, Unavailable), request, retry_after_s=after)
    )


def bye_frame(parting: Parting, *, retry_after_s: float | None = None) -> bytes:
    """The last frame before a close."""
    return encode_frame(Farewell(parting.code, parting.reason, parting.reconnect, retry_after_s))


def named_presence(
    names: Mapping[str, UserKey], known: Mapping[UserKey, Mapping[str, object]]
) -> dict[str, dict[str, Any]]:
    """Presence under the product's ids; those nobody knows of are offline."""
    return {name: dict(known.get(key, {"online": False})) for name, key in names.items()}


def refused_of(asked: Sequence[str], names: Mapping[str, UserKey]) -> list[str]:
    """Who was asked for and may not be told of."""
    return [name for name in asked if name not in names]
