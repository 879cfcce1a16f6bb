"""Plan 1 as bytes: names of keys, messages as records, references as members, identities as sixteen bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from hub.core.message import (
    RECALLED,
    TOMBSTONE,
    AppId,
    ConversationId,
    Draft,
    Entry,
    Message,
    MessageId,
    NotificationId,
    SeqKey,
    SeqKind,
    UserKey,
)
from hub.partitions import PARTITIONS, tag
from hub.redis_wire import Script, load_script
from hub.store.columns import from_micros, to_micros

LIFE = f"hub:p1:{tag('p1:life')}:life"
BATCHES = f"hub:p1:{tag('p1:batches')}:batches"
PENDING = f"{BATCHES}:pending"
NONCE = 8
"""Bytes before the references of a batch: which attempt has committed it."""
_KEYS = 16

_Fixed = tuple[
    int,
    str,
    str,
    int,
    int,
    str | None,
    str | None,
    str | None,
    int | None,
    bool,
]
_Rest = tuple[str, str, list[str], int | None, str | None, str | None]
_fixed = msgspec.json.Decoder(_Fixed)
_rest = msgspec.json.Decoder(_Rest)


def script(name: str, *parts: str) -> Script:
    """The script plan1_<name>.lua, behind what all of them share."""
    return load_script(__package__, "plan1_base", *parts, f"plan1_{name}")


def sequence(key: SeqKey) -> str:
    """The name of a queue or a conversation."""
    return queue(UserKey(int(key.id))) if key.kind is SeqKind.USER else room(ConversationId(key.id))


def queue(user: UserKey) -> str:
    """The name of a user's queue."""
    return f"hub:p1:{tag(f'u:{user}')}:u:{user}"


def room(conversation: ConversationId) -> str:
    """The name of a conversation's history."""
    return f"hub:p1:{tag(f'c:{conversation}')}:c:{conversation}"


def partition(name: bytes) -> str:
    """Where a body or an identity is kept: in step with plan1_base.lua, which meets names that nobody gave it."""
    total = 0
    for byte in name[-8:]:
        total = (total * 31 + byte) % PARTITIONS
    return f"hub:p1:{{p{total:04d}}}:"


def gone() -> str:
    """Where bodies that went are told of, as `<message> <number> <conversation>`, whose traces in SQL are to follow."""
    return partition(b"gone") + "gone"


def strays(user: UserKey) -> str:
    """The ids of what a user wrote that has fallen out of its conversation and is still in somebody's queue."""
    return f"{partition(str(user).encode())}w:{user}"


def client_identity(app: AppId, sender: UserKey, client_msg_id: str) -> bytes:
    """Of a message by the id that its client gave it."""
    return _identity("client", app, str(sender), client_msg_id)


def dedupe_identity(app: AppId, key: str) -> bytes:
    """Of a notification by its business key."""
    return _identity("dedupe", app, key)


def claim_identity(key: str) -> bytes:
    """Of an Idempotency-Key."""
    return _identity("claim", key)


def _identity(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()[:_KEYS]


def identities(draft: Draft, at: datetime, stale: datetime) -> list[tuple[bytes, str, str]]:
    """What the draft must be the only one to have: (identity, owner, from when on another owner is in the way). An
    owner of an Idempotency-Key names its time; the others are in the way as long as they live."""
    found: list[tuple[bytes, str, str]] = []
    owner = str(draft.id)
    if draft.client_msg_id is not None:
        found.append((client_identity(draft.app, draft.sender, draft.client_msg_id), owner, ""))
    if draft.notification is not None and draft.notification.dedupe_key is not None:
        found.append((dedupe_identity(draft.app, draft.notification.dedupe_key), owner, ""))
    if draft.idempotency is not None:
        used = f"{draft.id}:{to_micros(at)}"
        found.append((claim_identity(draft.idempotency.key), used, str(to_micros(stale))))
    return found


def record(message: Message, owned: Sequence[bytes] = ()) -> bytes:
    """The body of a message that is not changed yet."""
    values = (
        to_micros(message.created_at),
        message.app,
        message.conversation,
        message.seq,
        message.sender,
        message.sender_id,
        message.client_msg_id,
        message.notification,
        None if message.expires_at is None else to_micros(message.expires_at),
        message.control,
    )
    fixed = msgspec.json.encode(values)
    start = bytes([len(owned)]) + b"".join(owned)
    return b"%b0:%d:%b%b" % (start, len(fixed), fixed, rest(message.kind, message.body, message=message))


def rest(kind: str, body: str, *, message: Message | None = None) -> bytes:
    """What changes of a message; without one, what is left of it."""
    if message is None:
        return msgspec.json.encode((kind, body, (), None, None, None))
    edited = None if message.edited_at is None else to_micros(message.edited_at)
    return msgspec.json.encode((kind, body, message.mentions, edited, message.reply_to, message.forward_of))


def rest_of_edit(body: str, mentions: Sequence[str], at: datetime) -> bytes:
    """The middle of the same: an edit touches neither the kind nor what is answered or forwarded."""
    return b"," + msgspec.json.encode((body, mentions, to_micros(at)))[1:-1]


def message_of(id_: bytes | str, raw: bytes) -> Message:
    """The message of a body."""
    start = 1 + _KEYS * raw[0]
    _, size, tail = raw[start:].split(b":", 2)
    at, app, conversation, seq, sender, sender_id, client, notification, expires, control = _fixed.decode(
        tail[: int(size)]
    )
    kind, body, mentions, edited, reply, forward = _rest.decode(tail[int(size) :])
    return Message(
        id=MessageId(id_.decode() if isinstance(id_, bytes) else id_),
        app=AppId(app),
        conversation=ConversationId(conversation),
        seq=seq,
        sender=UserKey(sender),
        sender_id=sender_id,
        kind=kind,
        body=body,
        created_at=from_micros(at),
        client_msg_id=client,
        mentions=tuple(mentions),
        expires_at=None if expires is None else from_micros(expires),
        notification=None if notification is None else NotificationId(notification),
        control=control,
        reply_to=None if reply is None else MessageId(reply),
        forward_of=None if forward is None else MessageId(forward),
        edited_at=None if edited is None else from_micros(edited),
    )


def messages_of(flat: Sequence[Any]) -> list[Message]:
    """The messages of an answer that has ids and bodies in turn; empty ones are left out."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [message_of(id_, raw) for id_, raw in pairs if raw]


def member(message: Message) -> str:
    """What a conversation keeps of a message beside its number."""
    flags = "c" if message.control else ""
    flags += {TOMBSTONE: "t", RECALLED: "r"}.get(message.kind, "")
    return f"{message.id}:{message.sender}:{flags}"


def reference(entry: Entry) -> str:
    """What a queue keeps of an entry."""
    inbox = "" if entry.inbox_seq is None else entry.inbox_seq
    return f"{entry.user_seq}:{entry.message or '-'}:{inbox}"


def entry_of(user: UserKey, raw: bytes) -> Entry:
    """The entry of a reference."""
    seq, id_, inbox = raw.decode().split(":")
    return Entry(user, int(seq), MessageId(id_) if id_ != "-" else None, int(inbox) if inbox else None)
