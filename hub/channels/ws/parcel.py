"""What travels from the accepting node to the sockets: a message encoded once, and who gets it under which number."""

from __future__ import annotations

import msgspec


class Parcel(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One committed message for some users.

    `rest` is the JSON of a `message` frame from after the value of `q` to its end, so that a socket's frame is
    `{"type":"message","q":<q>` + rest. For a read-diffused conversation `grew` is set, `users` is empty and
    `rest` is a complete `grew` frame.
    """

    rest: bytes
    conversation: str
    seq: int
    users: list[tuple[int, int]]
    """(user key, user_seq)"""
    grew: bool = False
