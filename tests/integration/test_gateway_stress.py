"""The gateway under hostile clients, slow readers, crowds and its own end, on real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration import test_gateway_sessions as sessions
from tests.integration.gateway_of_test import hear, hear_to_the_end, hello, say, served
from tests.unit.ws.test_wire import masked


@pytest.fixture
def raw() -> Iterator[list[socket.socket]]:
    """Plain sockets, closed at the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for plain in sockets:
        plain.close()


async def handshaken(port: int, sockets: list[socket.socket], *, buffer: int | None = None) -> socket.socket:
    """A plain socket after its handshake, for what a well-behaved client cannot do."""
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    sockets.append(plain)
    if buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    plain.setblocking(False)
    await loop.sock_connect(plain, ("127.0.0.1", port))
    await loop.sock_sendall(
        plain,
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: hub.v1\r\n\r\n",
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(plain, 1)
    assert answer.startswith(b"HTTP/1.1 101")
    return plain


async def rest_of(plain: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    loop = asyncio.get_running_loop()
    data = b""
    async with asyncio.timeout(5):
        while more := await loop.sock_recv(plain, 65_536):
            data += more
    return data


async def test_bad_utf8_and_binary_frames(raw: list[socket.socket]) -> None:
    async with served() as here:
        for data, code in ((masked(1, b"\xff\xfe"), 1007), (masked(2, b"\x00"), 1003), (b"\x81\x01x", 1002)):
            plain = await handshaken(here.port, raw)
            await asyncio.get_running_loop().sock_sendall(plain, data)
            answer = await rest_of(plain)
            assert code.to_bytes(2, "big") in answer[-40:]
            plain.close()


async def test_a_frame_of_ten_megabytes_is_refused_and_not_kept(raw: list[socket.socket]) -> None:
    async with served() as here, here.client("bob") as bob:
        plain = await handshaken(here.port, raw)
        frame = masked(1, b"x")[:1] + b"\xff" + (10_000_000).to_bytes(8, "big") + b"\0\0\0\0"
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(plain, frame)
        for _ in range(50):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(plain, b"x" * 200_000)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while b"message too big" not in answer:
                answer += await loop.sock_recv(plain, 65_536)
        assert b"frame_too_big" in answer
        here.hub.write("bob")
        assert (await hear(bob))["q"] == 1


async def test_a_flood_ends_the_flooder_only() -> None:
    async with served(frames_per_second=100) as here, here.client("eve") as eve, here.client("bob") as bob:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(2_000):
                await say(eve, {"type": "ping", "id": 1})
        frames, closed = await hear_to_the_end(eve)
        assert closed == 4429
        assert frames[-1]["reason"] == "rate_limited"
        assert frames[-1]["reconnect"] is True
        here.hub.write("bob")
        assert (await hear(bob))["q"] == 1


async def test_who_never_reads_costs_a_bounded_amount_and_harms_nobody(raw: list[socket.socket]) -> None:
    async with (
        served(slow_soft_bytes=50_000, slow_hard_bytes=400_000, heartbeat=timedelta(seconds=1)) as here,
        here.client("bob") as bob,
    ):
        slow = await handshaken(here.port, raw, buffer=4_096)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(slow, masked(1, json.dumps(hello("eve")).encode()))
        while len(here.node.seats) < 2:
            await asyncio.sleep(0.01)
        (link,) = here.node.seats.of(here.hub.key("eve"))
        most = 0
        for at in range(1_500):
            here.hub.write("bob", "eve", text="x" * 4_000)
            assert (await hear(bob))["q"] == at + 1
            most = max(most, link.backlog)
        assert 50_000 < most < 100_000
        assert here.node.held_back > 0
        async with asyncio.timeout(8):
            while len(here.gateway) > 1:
                await say(bob, {"type": "ping", "id": 1})
                await hear(bob)
                await asyncio.sleep(0.2)


async def test_a_reader_that_was_slow_gets_everything(raw: list[socket.socket]) -> None:
    async with served(slow_soft_bytes=50_000, slow_hard_bytes=400_000) as here:
        slow = await handshaken(here.port, raw, buffer=4_096)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(slow, masked(1, json.dumps(hello("eve")).encode()))
        while not here.node.seats.of(here.hub.key("eve")):
            await asyncio.sleep(0.01)
        for _ in range(1_500):
            here.hub.write("eve", text="x" * 4_000)
            await asyncio.sleep(0)
        data = b""
        async with asyncio.timeout(20):
            while b'"q":1500,' not in data[-20_000:]:
                data += await loop.sock_recv(slow, 1_000_000)
        assert data.count(b'"type":"message"') == 1_500
        assert b'"type":"behind"' in data


async def test_stopping_the_server_says_bye_and_takes_no_longer_than_told(raw: list[socket.socket]) -> None:
    async with served(drain_timeout=timedelta(seconds=1)) as here:
        stuck = await handshaken(here.port, raw)
        waiting = [await here.open().__aenter__() for _ in range(3)]
        clients = [await here.open().__aenter__() for _ in range(5)]
        for at, websocket in enumerate(clients):
            await say(websocket, hello(f"user{at}"))
            await hear(websocket)
        ends = [asyncio.create_task(hear_to_the_end(websocket)) for websocket in clients + waiting]
        assert await here.stop() < 4
        for frames, code in await asyncio.gather(*ends):
            assert code == 1012
            assert frames[-1]["type"] == "bye"
            assert frames[-1]["reconnect"] is True
            assert 0 <= frames[-1]["retry_after_s"] <= 30
        assert here.hub.present == {}
        assert b"draining" in await rest_of(stuck)


async def test_hundreds_of_connections_come_and_go() -> None:
    async with served(frames_per_second=1_000) as here:
        opened = [here.open(open_timeout=30) for _ in range(300)]
        websockets = await asyncio.gather(*(opening.__aenter__() for opening in opened))
        await asyncio.gather(*(say(ws, hello(f"u{at}")) for at, ws in enumerate(websockets)))
        await asyncio.gather(*(hear(ws) for ws in websockets))
        assert len(here.node.seats) == 300
        here.hub.write(*(f"u{at}" for at in range(300)))
        assert all(frame["q"] == 1 for frame in await asyncio.gather(*(hear(ws) for ws in websockets)))
        await asyncio.gather(*(ws.close() for ws in websockets))
        async with asyncio.timeout(5):
            while len(here.gateway):
                await asyncio.sleep(0.01)
        assert here.hub.present == {}
        assert not here.server.server_state.connections


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
@pytest.mark.parametrize(
    "story",
    [
        sessions.test_a_message_from_one_person_to_another,
        sessions.test_a_reconnect_resumes_where_it_was,
        test_bad_utf8_and_binary_frames,
        test_a_frame_of_ten_megabytes_is_refused_and_not_kept,
        test_a_flood_ends_the_flooder_only,
        test_who_never_reads_costs_a_bounded_amount_and_harms_nobody,
        test_a_reader_that_was_slow_gets_everything,
        test_stopping_the_server_says_bye_and_takes_no_longer_than_told,
        test_hundreds_of_connections_come_and_go,
    ],
)
def test_on_the_loop_that_the_hub_runs_on(
    story: Callable[..., Coroutine[Any, Any, None]], raw: list[socket.socket]
) -> None:
    """uvloop's transports write, pause and close in their own way."""
    import uvloop

    uvloop.run(story(raw) if inspect.signature(story).parameters else story())
