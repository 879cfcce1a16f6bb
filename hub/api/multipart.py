"""The first file of a `multipart/form-data` body, read as it comes: what mini programs upload with."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from hub.api.problems import Problem

_MOST_HEAD: Final = 16_384
"""Bytes of a part's header, and of small fields before the file."""
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(r'filename="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ENCODED_NAME: Final = re.compile(r"filename\*=utf-8''([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file in a form: `chunks` ends where the part ends."""

    name: str
    mime: str
    chunks: AsyncIterator[bytes]


async def first_file(content_type: str, stream: AsyncIterator[bytes]) -> FilePart:
    """The first part that has a file name. Raises Problem body_malformed for what is no form, or has no file."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _malformed("the form has no boundary")
    mark = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    buffer = bytearray(b"\r\n")
    while True:
        head = await _head(stream, buffer, mark)
        part = _described(head)
        chunks = _until(stream, buffer, mark)
        if part is not None:
            return FilePart(part[0], part[1], chunks)
        async for _ in chunks:
            pass


async def _more(stream: AsyncIterator[bytes], buffer: bytearray) -> None:
    async for chunk in stream:
        if chunk:
            buffer += chunk
            return
    raise _malformed("the form ends too early")


async def _head(stream: AsyncIterator[bytes], buffer: bytearray, mark: bytes) -> str:
    """The header of the next part; what was before it is dropped."""
    while True:
        at = buffer.find(mark)
        if at >= 0:
            begin = at + len(mark)
            if buffer[begin : begin + 2] == b"--":
                raise _malformed("the form has no file")
            end = buffer.find(b"\r\n\r\n", begin)
            if end >= 0:
                head = bytes(buffer[begin:end])
                # The line break before a boundary belongs to it, also where the part is empty.
                del buffer[: end + 2]
                return head.decode("utf-8", "replace")
        if len(buffer) > _MOST_HEAD:
            raise _malformed("a part of the form has too long a header")
        await _more(stream, buffer)


async def _until(stream: AsyncIterator[bytes], buffer: bytearray, mark: bytes) -> AsyncIterator[bytes]:
    """The bytes of a part, without its boundary, which stays."""
    started = False
    while True:
        at = buffer.find(mark)
        ready = at if at >= 0 else len(buffer) - len(mark)
        skip = 0 if started else 2
        if ready > skip:
            yield bytes(buffer[skip:ready])
            del buffer[:ready]
            started = True
        elif at >= 0 and not started:
            started = True
            del buffer[:at]
        if at >= 0:
            return
        await _more(stream, buffer)


def _described(head: str) -> tuple[str, str] | None:
    """Name and type of a file's part, None for a field."""
    plain, encoded = _NAME.search(head), _ENCODED_NAME.search(head)
    if plain is None and encoded is None:
        return None
    name = unquote(encoded[1]) if encoded else (plain[1] if plain else "")
    lines = (line.partition(":") for line in head.splitlines())
    mime = next((value.strip() for key, _, value in lines if key.strip().lower() == "content-type"), "")
    return name, mime


def _malformed(what: str) -> Problem:
    return Problem("body_malformed", f"The body is not a form with a file: {what}.")
