"""What nodes say to each other, and on which Redis channels. Heard at most once: nothing here is the only copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from hub.channels.ws.parcel import Parcel
from hub.partitions import tag

_ALL: Final = tag("n:all")
EVERYBODY: Final = f"hub:all:{_ALL}"
GROWTH_CHANNELS: Final = 16_384
"""So many at most a node hears. Two conversations share one by chance, and then a node hears of both."""
_FRAME_BYTES: Final = 262_144
"""About where a batch is cut into several frames: one that is too large would hold up all behind it."""


class Pushed(msgspec.Struct, tag="push", array_like=True, frozen=True, gc=False):
    """Messages for sessions of the hearing node."""

    origin: str
    parcels: list[Parcel]


class Signaled(msgspec.Struct, tag="signal", array_like=True, frozen=True, gc=False):
    """A frame that is not stored, for sessions of these users."""

    origin: str
    users: list[int]
    frame: bytes


class Changed(msgspec.Struct, tag="presence", array_like=True, frozen=True, gc=False):
    """Users whom somebody on the hearing node watches came (True) or went."""

    origin: str
    users: list[tuple[int, bool, datetime]]


class Dropped(msgspec.Struct, tag="drop", array_like=True, frozen=True, gc=False):
    """A user's membership of a conversation changed, or (None) what the user may do at all."""

    origin: str
    user: int
    conversation: str | None


class Joined(msgspec.Struct, tag="join", array_like=True, frozen=True, gc=False):
    """A node is there that was not."""

    origin: str


class Probe(msgspec.Struct, tag="probe", array_like=True, frozen=True, gc=False):
    """A node to itself, through the path that messages take."""

    origin: str


class Forgot(msgspec.Struct, tag="forget", array_like=True, frozen=True, gc=False):
    """The bodies of these messages have changed: what is remembered of them is not true any more."""

    origin: str
    messages: list[str]


Frame: TypeAlias = Pushed | Signaled | Changed | Dropped | Joined | Probe | Forgot

encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


def channel_of(node: str) -> str:
    """The channel that only this node hears."""
    return f"hub:node:{tag(f'n:{node}')}:{node}"


def echo_of(node: str) -> str:
    """A channel of this node in EVERYBODY's partition: whoever hears it hears EVERYBODY."""
    return f"hub:echo:{_ALL}:{node}"


def growth_of(conversation: str) -> str:
    """The channel of a read-diffused conversation: heard by nodes with sessions of its members. It is in EVERYBODY's
    partition: so both come on one line, in the order in which they were sent, and a probe through it tells of both."""
    return f"hub:grew:{_ALL}:{crc32(conversation.encode()) % GROWTH_CHANNELS}"


def decode(payload: bytes) -> Frame | None:
    """The frame, or None for what is none (a newer release may say more than this one knows)."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError:
        return None


def pushes(origin: str, parcels: Sequence[Parcel]) -> Iterator[bytes]:
    """The parcels in order, in frames of bounded size."""
    some: list[Parcel] = []
    size = 0
    for parcel in parcels:
        weight = len(parcel.rest) + 16 * len(parcel.users)
        if some and size + weight > _FRAME_BYTES:
            yield encode(Pushed(origin, some))
            some, size = [], 0
        some.append(parcel)
        size += weight
    if some:
        yield encode(Pushed(origin, some))
