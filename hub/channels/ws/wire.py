"""WebSocket framing (RFC 6455, server side, no extensions) without I/O: a parser of masked frames, and prebuilt
unmasked ones.

It exists beside the library's own because an idle connection must cost next to nothing: no generator, no buffer,
no queue. The handshake stays the library's.
"""

from __future__ import annotations

import codecs
import struct
from enum import IntEnum
from functools import lru_cache
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover  (a platform without the C extension)
    from websockets.utils import apply_mask


class Op(IntEnum):
    """Opcodes."""

    CONT = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_CONT, _TEXT, _BINARY = int(Op.CONT), int(Op.TEXT), int(Op.BINARY)
_DATA: Final = frozenset({_CONT, _TEXT, _BINARY})
_CONTROL: Final = frozenset({int(Op.CLOSE), int(Op.PING), int(Op.PONG)})
_MAX_CONTROL: Final = 125
_EMPTY: Final = bytearray()
_U16 = struct.Struct("!H").unpack_from
_U64 = struct.Struct("!Q").unpack_from

# Close codes that may be seen on the wire; 1004-1006 and 1015 are reserved, 1016-2999 unassigned.
_RESERVED: Final = frozenset({1004, 1005, 1006})


class Violation(Exception):
    """The peer broke the rules of the wire; `code` is the close code that says which."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


@lru_cache(maxsize=4_096)
def head(length: int, opcode: int = _TEXT) -> bytes:
    """The first bytes of an unmasked, final frame with a payload of this length."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length)
    return struct.pack("!BBQ", 0x80 | opcode, 127, length)


def ws_frame(payload: bytes) -> bytes:
    """A complete text frame as it goes on the wire."""
    return head(len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping."""
    return head(len(payload), Op.PONG) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; without a code it is empty. The reason is cut to what fits."""
    if code is None:
        return head(0, Op.CLOSE)
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return head(2 + len(text), Op.CLOSE) + struct.pack("!H", code) + text


def close_code(payload: bytes) -> int | None:
    """The code of a received close frame, None for an empty one. Raises Violation for a bad one."""
    if not payload:
        return None
    if len(payload) == 1:
        raise Violation(1002, "close frame too short")
    code: int = _U16(payload)[0]
    if not (3000 <= code < 5000 or (1000 <= code <= 1014 and code not in _RESERVED)):
        raise Violation(1002, "invalid close code")
    _check_utf8(payload[2:])
    return code


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(1007, "invalid UTF-8") from None


class Parser:
    """Cuts received bytes into messages. Holds no more than one message of at most `limit` bytes, and nothing
    between messages.
    """

    __slots__ = ("_data", "_decoder", "_kind", "_parts", "_pos", "_scanned", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = _EMPTY
        self._pos = 0
        self._kind = _CONT
        self._parts: bytearray | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._scanned = 0

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._data) - self._pos + len(self._parts or b"")

    def feed(self, data: bytes | bytearray) -> None:
        """More from the socket."""
        if self._pos >= len(self._data):
            # The event loop hands over a fresh bytearray; a bytes is copied so that it can grow.
            self._data, self._pos = data if isinstance(data, bytearray) else bytearray(data), 0
            return
        if self._pos:
            del self._data[: self._pos]
            self._pos = 0
        self._data += data

    def next(self) -> tuple[int, bytes] | None:
        """The next complete (opcode, payload): a whole message, a control frame, or (CONT, b"") for a part of a
        message that is not complete yet. None when more bytes are needed. Raises Violation, as soon as it is sure.
        """
        data, pos = self._data, self._pos
        have = len(data) - pos
        if have < 2:
            return None
        first, second = data[pos], data[pos + 1]
        length = second & 0x7F
        start = pos + 6
        if length > _MAX_CONTROL:
            extended = 2 if length == 126 else 8
            if have < 2 + extended:
                self._check_head(first, second, 0)
                return None
            length = (_U16 if extended == 2 else _U64)(data, pos + 2)[0]
            start += extended
        self._check_head(first, second, length)
        end = start + length
        if len(data) < end:
            self._look_ahead(data, start, first & 0x0F)
            return None
        payload = apply_mask(data[start:end], data[start - 4 : start])
        if end == len(data):
            self._drop()
        else:
            self._pos = end
        opcode = first & 0x0F
        if opcode in _DATA:
            return self._data_frame(opcode, payload, final=first >= 0x80)
        return opcode, payload

    def _drop(self) -> None:
        self._data, self._pos = _EMPTY, 0

    def _check_head(self, first: int, second: int, length: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise Violation(1002, "reserved bits must be 0")
        if second < 0x80:
            raise Violation(1002, "frames of a client must be masked")
        if opcode in _CONTROL:
            if second & 0x7F > _MAX_CONTROL or first < 0x80:
                raise Violation(1002, "control frames are short and not fragmented")
        elif opcode not in _DATA:
            raise Violation(1002, "unknown opcode")
        elif (opcode == _CONT) != (self._parts is not None):
            raise Violation(1002, "fragments out of order")
        elif length + len(self._parts or b"") > self.limit:
            raise Violation(1009, "message too big")

    def _data_frame(self, opcode: int, payload: bytes, *, final: bool) -> tuple[int, bytes]:
        if self._parts is None:
            if final and self._decoder is None:
                if opcode == _TEXT:
                    _check_utf8(payload)
                return opcode, payload
            self._kind = opcode
            self._parts = bytearray()
            if opcode == _TEXT and self._decoder is None:
                self._decoder = _new_decoder()
        if self._decoder is not None:
            self._decode(self._decoder, payload[self._scanned :], final=final)
            self._scanned = 0
        self._parts += payload
        if not final:
            return _CONT, b""
        whole, self._parts, self._decoder = bytes(self._parts), None, None
        return self._kind, whole

    def _look_ahead(self, data: bytearray, start: int, opcode: int) -> None:
        """Check the text of a frame that is still coming: bad bytes end the connection when they are seen."""
        if (self._kind if opcode == _CONT else opcode) != _TEXT:
            return
        at = start + self._scanned
        if len(data) <= at:
            return
        if self._decoder is None:
            self._decoder = _new_decoder()
        turn = self._scanned % 4
        mask = data[start - 4 : start]
        fresh = apply_mask(data[at:], mask[turn:] + mask[:turn])
        self._scanned += len(fresh)
        self._decode(self._decoder, fresh, final=False)

    def _decode(self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool) -> None:
        try:
            decoder.decode(data, final)
        except UnicodeDecodeError:
            raise Violation(1007, "invalid UTF-8") from None


_new_decoder = codecs.getincrementaldecoder("utf-8")
