"""Framing: the same verdicts as the library's parser, whatever the bytes and however they are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from hub.channels.ws.wire import (
    Op,
    Parser,
    Violation,
    close_code,
    close_frame,
    head,
    pong_frame,
    ws_frame,
)

LIMIT = 1_000
MASK = b"\x12\x34\x56\x78"


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A frame of a client, with a visible mask."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if len(payload) < 126:
        start = bytes((first, 0x80 | len(payload)))
    elif len(payload) < 65_536:
        start = struct.pack("!BBH", first, 0x80 | 126, len(payload))
    else:
        start = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
    return start + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def parse(data: bytes, cuts: list[int] | None = None, limit: int = LIMIT) -> list[tuple[int, bytes] | int]:
    """Messages and control frames, and the close code of the violation at the end, if there is one."""
    parser = Parser(limit)
    found: list[tuple[int, bytes] | int] = []
    edges = sorted({min(cut, len(data)) for cut in cuts or []} | {0, len(data)})
    try:
        for start, end in zip(edges, [*edges[1:], len(data)], strict=True):
            parser.feed(data[start:end])
            while (frame := parser.next()) is not None:
                if frame != (0, b""):
                    found.append(frame)
    except Violation as error:
        found.append(error.code)
    return found


def reference(data: bytes) -> list[tuple[int, bytes] | int]:
    """What the library makes of the same bytes."""
    protocol = ServerProtocol(state=OPEN, max_size=LIMIT)
    protocol.receive_data(data)
    found: list[tuple[int, bytes] | int] = []
    parts, kind = b"", 0
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            kind = kind if event.opcode is Opcode.CONT else int(event.opcode)
            parts += bytes(event.data)
            if event.fin:
                found.append((kind, parts))
                parts = b""
        else:
            found.append((int(event.opcode), bytes(event.data)))
            if event.opcode is Opcode.CLOSE:
                break
    if protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        found.append(int(protocol.close_sent.code))
    return found


frames = st.builds(
    masked,
    st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10, 3, 11]),
    st.binary(max_size=40) | st.text(max_size=20).map(str.encode) | st.binary(min_size=120, max_size=300),
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0, 1]),
)


def _until_close(found: list[tuple[int, bytes] | int]) -> list[tuple[int, bytes] | int]:
    """The library decodes no text and stops at a close frame; so does this view of both."""
    kept: list[tuple[int, bytes] | int] = []
    for item in found:
        kept.append(item)
        if isinstance(item, tuple) and item[0] == Op.CLOSE:
            break
    return kept


@given(st.lists(frames, max_size=6).map(b"".join) | st.binary(max_size=60), st.lists(st.integers(0, 400)))
def test_verdicts_are_those_of_the_library(data: bytes, cuts: list[int]) -> None:
    mine, theirs = _until_close(parse(data, cuts)), _until_close(reference(data))
    if 1007 in mine:
        # The library leaves UTF-8 to its user: what came before is the same.
        assert mine[:-1] == theirs[: len(mine) - 1]
        return
    closed = [item for item in theirs if isinstance(item, tuple) and item[0] == Op.CLOSE]
    if closed or (mine and isinstance(mine[-1], tuple) and mine[-1][0] == Op.CLOSE):
        # Close payloads are judged by close_code, not by the parser.
        assert mine[: len(theirs) - 1] == theirs[:-1] or mine == theirs
        return
    if mine and isinstance(mine[-1], int) and (not theirs or isinstance(theirs[-1], tuple)):
        # Some rules are seen to be broken before the frame is complete.
        mine = mine[:-1]
    if mine and theirs and {mine[-1], theirs[-1]} == {1002, 1009}:
        # A frame that breaks the order and is too large: which of the two is named first is free.
        mine, theirs = mine[:-1], theirs[:-1]
    assert mine == theirs


@given(st.lists(frames, max_size=6).map(b"".join), st.lists(st.integers(0, 400), max_size=40))
def test_where_the_bytes_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert parse(data, cuts) == parse(data)


@given(st.binary(max_size=500))
def test_nothing_but_a_violation_is_raised(data: bytes) -> None:
    parse(data)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_frames_of_every_length_are_understood_by_the_library(size: int) -> None:
    data = ws_frame(b"x" * size)
    client = ClientProtocol(parse_uri("ws://test"), state=OPEN, max_size=None)
    client.receive_data(data)
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    assert frame.opcode is Opcode.TEXT
    assert bytes(frame.data) == b"x" * size


@pytest.mark.parametrize("size", [0, 125, 126, 65_536, 262_144])
def test_frames_of_every_length_are_read(size: int) -> None:
    assert parse(masked(1, b"y" * size), limit=300_000) == [(1, b"y" * size)]


def test_a_message_in_fragments_with_a_ping_between() -> None:
    data = masked(1, b"ab", fin=False) + masked(9, b"!") + masked(0, b"cd", fin=False) + masked(0, b"ef")
    assert parse(data) == [(9, b"!"), (1, b"abcdef")]


def test_a_character_may_be_cut_by_fragments_but_not_by_the_end() -> None:
    smile = "😀".encode()
    assert parse(masked(1, smile[:2], fin=False) + masked(0, smile[2:])) == [(1, smile)]
    assert parse(masked(1, smile[:2], fin=False) + masked(0, b"")) == [1007]
    assert parse(masked(1, smile[:3])) == [1007]


def test_bad_utf8_is_noticed_in_the_fragment_that_has_it() -> None:
    assert parse(masked(1, b"ok", fin=False) + masked(0, b"\xff", fin=False)) == [1007]


def test_bad_utf8_is_noticed_before_the_frame_is_complete() -> None:
    frame = masked(1, "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"rest")
    parser = Parser(LIMIT)
    # Six bytes of head and mask, ten of good text, and the second bad one tells.
    for at in range(17):
        parser.feed(frame[at : at + 1])
        assert parser.next() is None
    parser.feed(frame[17:18])
    with pytest.raises(Violation, match="1007"):
        parser.next()


@given(st.text(max_size=50), st.lists(st.integers(0, 200), max_size=20), st.integers(0, 200))
def test_good_text_passes_however_it_is_cut(text: str, cuts: list[int], middle: int) -> None:
    data = text.encode()
    frames = masked(1, data[:middle], fin=False) + masked(0, data[middle:]) + masked(1, data)
    assert parse(frames, cuts) == [(1, data), (1, data)]


def test_binary_is_not_text() -> None:
    assert parse(masked(2, b"\xff")) == [(2, b"\xff")]
    assert parse(masked(2, b"\xff", fin=False) + masked(0, b"\xfe")) == [(2, b"\xff\xfe")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(1, b"x", rsv=4), 1002),
        (masked(3), 1002),
        (masked(0, b"x"), 1002),
        (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
        (masked(9, b"x" * 126), 1002),
        (masked(9, b"x", fin=False), 1002),
        (ws_frame(b"unmasked"), 1002),
        (masked(1, b"x" * (LIMIT + 1)), 1009),
        (masked(1, b"x" * 600, fin=False) + masked(0, b"x" * 600), 1009),
    ],
)
def test_broken_rules(data: bytes, code: int) -> None:
    assert parse(data)[-1] == code


def test_a_large_frame_is_refused_by_its_head() -> None:
    parser = Parser(LIMIT)
    parser.feed(masked(1, b"x" * 10_000_000)[:14])
    with pytest.raises(Violation) as caught:
        parser.next()
    assert caught.value.code == 1009
    assert parser.buffered <= 14


def test_nothing_is_held_between_messages() -> None:
    parser = Parser(LIMIT)
    for _ in range(3):
        parser.feed(masked(1, b"x" * 500) + masked(1, b"y"))
        assert parser.next() == (1, b"x" * 500)
        assert parser.next() == (1, b"y")
        assert parser.next() is None
        assert parser.buffered == 0


def test_many_empty_fragments_take_no_memory() -> None:
    parser = Parser(LIMIT)
    parser.feed(masked(1, b"a", fin=False))
    for _ in range(10_000):
        parser.feed(masked(0, b"", fin=False))
        while parser.next() is not None:
            pass
    assert parser.buffered == 1


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert close_code(Close(code, "why").serialize()) == code
    assert parse_close(close_frame(code, "why")) == (code, "why")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_close_codes_that_may_not(code: int) -> None:
    with pytest.raises(Violation) as caught:
        close_code(struct.pack("!H", code))
    assert caught.value.code == 1002


def test_close_payloads() -> None:
    assert close_code(b"") is None
    with pytest.raises(Violation, match="1002"):
        close_code(b"\x03")
    with pytest.raises(Violation, match="1007"):
        close_code(struct.pack("!H", 1000) + b"\xff")


def test_a_close_reason_is_cut_between_characters() -> None:
    code, reason = parse_close(close_frame(1000, "语" * 60))
    assert code == 1000
    assert reason == "语" * 41


def test_small_frames() -> None:
    assert close_frame(None) == b"\x88\x00"
    assert pong_frame(b"hi") == b"\x8a\x02hi"
    assert head(5) == b"\x81\x05"


def parse_close(data: bytes) -> tuple[int, str]:
    """Code and reason of an unmasked close frame."""
    assert data[0] == 0x88
    close = Close.parse(data[2:])
    return int(close.code), close.reason
