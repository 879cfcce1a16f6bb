"""A form's first file, whatever the pieces are in which it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api.multipart import first_file
from hub.api.problems import Problem

TYPE = "multipart/form-data; boundary=XyZ"


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def form(
    content: bytes, head: bytes = b'Content-Disposition: form-data; name="f"; filename="a.png"'
) -> bytes:
    field = b'--XyZ\r\nContent-Disposition: form-data; name="token"\r\n\r\nvalue\r\n'
    return field + b"--XyZ\r\n" + head + b"\r\nContent-Type: image/png\r\n\r\n" + content + b"\r\n--XyZ--\r\n"


async def read(data: bytes, size: int) -> tuple[str, str, bytes]:
    part = await first_file(TYPE, pieces(data, size))
    return part.name, part.mime, b"".join([chunk async for chunk in part.chunks])


@given(
    content=st.lists(st.sampled_from([b"\r\n", b"--", b"XyZ", b"\r\n--Xy", b"\0", b"a" * 50])).map(b"".join),
    size=st.integers(1, 200),
)
async def test_the_bytes_come_out_as_they_went_in(content: bytes, size: int) -> None:
    if b"\r\n--XyZ" in b"\r\n" + content:
        return
    assert await read(form(content), size) == ("a.png", "image/png", content)


async def test_a_name_in_chinese_comes_both_ways() -> None:
    encoded = b"Content-Disposition: form-data; name=f; filename*=UTF-8''%E5%9B%BE.png"
    assert (await read(form(b"x", encoded), 7))[0] == "图.png"
    plain = 'Content-Disposition: form-data; name="f"; filename="图.png"'.encode()
    assert (await read(form(b"x", plain), 7))[0] == "图.png"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--XyZ--\r\n",
        b'--XyZ\r\nContent-Disposition: form-data; name="f"\r\n\r\nonly a field\r\n--XyZ--\r\n',
        form(b"cut off")[:-12],
        b"--XyZ\r\nX: " + b"y" * 20_000,
        b"no form at all",
    ],
)
async def test_what_is_no_form_with_a_file_is_malformed(data: bytes) -> None:
    with pytest.raises(Problem) as problem:
        await read(data, 50)
    assert problem.value.code == "body_malformed"


async def test_a_form_without_a_boundary_is_malformed() -> None:
    with pytest.raises(Problem):
        await first_file("multipart/form-data", pieces(b"", 1))
