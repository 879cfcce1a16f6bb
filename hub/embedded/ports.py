"""Which port the hub listens on, and whether it answers there."""

from __future__ import annotations

import asyncio
import socket

from hub.embedded import Trouble

FIRST, LAST = 8080, 8179
FIRST_OF_SANDBOX, LAST_OF_SANDBOX = 9200, 9299


def choose(host: str, wanted: int | None, *, span: tuple[int, int] | None = None) -> int:
    """The wanted port if it is free (0: any), or the next free one of the span (from 8080 on) where none is wanted."""
    first, last = span or (FIRST, LAST)
    if wanted is not None:
        found = _free(host, wanted)
        if found is None:
            text = (
                f"port {wanted} on {host} cannot be used (taken, or not allowed); give another: --port NUMBER"
            )
            raise Trouble(text)
        return found
    for port in range(first, last + 1):
        if _free(host, port) is not None:
            return port
    text = f"no free port on {host} between {first} and {last}; give one: --port NUMBER"
    raise Trouble(text)


def _free(host: str, port: int) -> int | None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        text = f"the host {host!r} is not known here ({error.strerror}); give another: --host ADDRESS"
        raise Trouble(text) from None
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return None
        return int(probe.getsockname()[1])


def address(host: str, port: int) -> str:
    """The URL for somebody on this machine."""
    host = connectable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connectable(host: str) -> str:
    """The host to connect to where the hub listens on this one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


async def until_ready(host: str, port: int, *, path: str = "/readyz") -> None:
    """Waits, without end, until this path answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    while not await _answers_200(connectable(host), port, request):  # noqa: ASYNC110  (another process)
        await asyncio.sleep(0.05)


async def _answers_200(host: str, port: int, request: bytes) -> bool:
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                status = await reader.readline()
            finally:
                writer.close()
    except OSError:  # a time-out is one, too
        return False
    return b" 200 " in status
