"""Real sockets at the door of a web process: how many are let in at a time, who passes whom, and who is sent away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from hub.channels.ws.protocol import server_options
from hub.channels.ws.turnstile import Turnstile
from hub.embedded import doorway
from hub.embedded.doorway import Doorway
from hub.embedded.web import spare_pauses
from hub.settings import Settings

HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: hub.v1\r\n\r\n"
)
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Inside(asyncio.Protocol):
    """Remembers who came in."""

    came: list[asyncio.Transport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.came.append(transport)


@pytest.fixture
def came() -> list[asyncio.Transport]:
    Inside.came = []
    return Inside.came


def a_listener() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    return listening


async def until(here: list[asyncio.Transport], count: int) -> None:
    async with asyncio.timeout(10):
        while len(here) < count:
            await asyncio.sleep(0.001)


async def test_of_those_who_wait_some_are_let_in_at_each_turn(came: list[asyncio.Transport]) -> None:
    listening = a_listener()
    outside = [socket.create_connection(listening.getsockname()) for _ in range(20)]
    door = Doorway([listening], Inside, at_once=3)
    steps = []
    while door.accepted < 20:
        before = door.accepted
        await asyncio.sleep(0)
        steps.append(door.accepted - before)
    assert max(steps) == 3
    await until(came, 20)
    peers = [transport.get_extra_info("peername") for transport in came]
    assert peers == [one.getsockname() for one in outside], "first come, first served"
    door.close()
    await door.wait_closed()
    for transport in came:
        transport.close()
    for one in outside:
        one.close()


async def test_a_door_takes_over_from_a_server_and_nobody_who_waits_is_sent_away(
    came: list[asyncio.Transport],
) -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    early = socket.create_connection(address)
    door = Doorway.instead_of(server, Inside)
    late = socket.create_connection(address)
    await until(came, 2)
    door.close()
    door.close()
    await door.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for transport in came:
        transport.close()
    for one in (early, late):
        one.close()


async def test_without_room_nobody_is_let_in_for_a_while_and_the_door_stays_open(
    came: list[asyncio.Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(socket.socket):
        tries = 0

        def accept(self) -> tuple[socket.socket, Any]:
            self.tries += 1
            if self.tries == 1:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    monkeypatch.setattr(doorway, "_PAUSE", 0.01)
    listening = Full()
    listening.bind(("127.0.0.1", 0))
    listening.listen(10)
    outside = socket.create_connection(listening.getsockname())
    door = Doorway([listening], Inside)
    await until(came, 1)
    door.close()
    outside.close()
    came[0].close()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    else:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "hub.v1"})
        await receive()


class Gate:
    """Whether it is crowded inside."""

    shut = True

    def crowded(self) -> bool:
        return self.shut


@asynccontextmanager
async def served(gate: Gate, **changes: Any) -> AsyncIterator[tuple[int, Turnstile]]:
    settings = Settings(**changes)
    options = server_options(settings, crowded=gate.crowded)
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", **options)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], options["http"].keywords["line"]
    server.should_exit = True
    await running


class Caller:
    """A raw connection that has said something."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> bytes:
        """Of the answer; empty where the connection ended without one."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                return (await self.reader.readline())[9:12]
            return b""


async def call(port: int, said: bytes) -> Caller:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    return Caller(reader, writer)


async def lined_up(line: Turnstile, count: int) -> None:
    """Until so many stand in the line."""
    async with asyncio.timeout(10):
        while len(line) != count:
            await asyncio.sleep(0.001)


async def test_while_it_is_crowded_handshakes_wait_and_requests_pass_them() -> None:
    gate = Gate()
    async with served(gate) as (port, line):
        callers = [await call(port, HANDSHAKE) for _ in range(30)]
        await lined_up(line, 30)
        assert await (await call(port, REQUEST)).status() == b"204"
        assert len(line) == 30
        gate.shut = False
        assert [await caller.status() for caller in callers] == [b"101"] * 30
        for caller in callers:
            caller.writer.transport.abort()


async def test_beyond_the_longest_line_handshakes_are_told_to_come_later() -> None:
    gate = Gate()
    async with served(gate, hello_backlog=2) as (port, line):
        callers = [await call(port, HANDSHAKE) for _ in range(3)]
        await lined_up(line, 3)
        fourth = await call(port, HANDSHAKE)
        assert await fourth.status() == b"503"
        assert b"retry-after: 5" in await fourth.reader.read()
        gate.shut = False
        assert [await caller.status() for caller in callers] == [b"101"] * 3
        for caller in callers:
            caller.writer.transport.abort()


async def test_who_leaves_the_line_or_speaks_in_it_is_passed_over() -> None:
    gate = Gate()
    async with served(gate) as (port, line):
        gone, loud, patient = [await call(port, HANDSHAKE) for _ in range(3)]
        await lined_up(line, 3)
        gone.writer.close()
        loud.writer.write(b"\x81\x00")
        assert await loud.status() == b""
        gate.shut = False
        assert await patient.status() == b"101"
        patient.writer.transport.abort()


async def test_a_server_that_stops_tells_those_in_the_line_to_come_later() -> None:
    gate = Gate()
    async with served(gate) as (port, line):
        waiting = await call(port, HANDSHAKE)
        await lined_up(line, 1)
    assert await waiting.status() == b"503"
    waiting.writer.close()


def test_what_is_there_at_the_start_is_not_looked_at_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        spare_pauses()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > before[2]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
