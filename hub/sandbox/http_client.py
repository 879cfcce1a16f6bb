"""One HTTP/1.0 request over a connection of its own: all that calling somebody back needs."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_MOST: Final = 1_000_000


class Unreachable(Exception):
    """No answer: refused, reset, too late, or not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


async def request(
    method: str, url: str, *, body: bytes = b"", content_type: str = "", timeout_s: float
) -> Answer:
    """Sends it once and reads the answer. Raises Unreachable; never takes longer than the time-out."""
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _exchange(url, _head(method, url, body, content_type) + body)
    except TimeoutError as error:
        raise Unreachable(f"no answer in {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    return _parse(raw)


def _head(method: str, url: str, body: bytes, content_type: str) -> bytes:
    """HTTP/1.0, so that the answer is never chunked and ends with the connection."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.0", f"Host: {parts.netloc}", "User-Agent: Mozilla/4.0", "Accept: */*"]
    if method == "POST":
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _exchange(url: str, sent: bytes) -> bytes:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an http address: {url}")
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        writer.write(sent)
        await writer.drain()
        chunks, size = [], 0
        while size < _MOST and (chunk := await reader.read(65536)):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    finally:
        writer.close()


def _parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Unreachable("the answer is not HTTP" if raw else "the connection ended without an answer")
    return Answer(int(words[1]), body)
