"""A gateway over transports that only remember: what a socket would have been written, frame by frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from hub.channels.ws.connection import Connection
from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.node import Node
from hub.core.message import ConversationId
from hub.settings import Settings
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.test_wire import masked

ROOM = ConversationId("cnv_room")


class FakeTransport:
    """Takes everything at once, unless it is `stuck`: then it keeps what it was written, as a full socket does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.stuck = False
        self.closed = self.aborted = self.half_closed = False
        self.reading = True
        self.waiting = 0
        self.high = self.low = 0
        self.protocol: Connection | None = None
        self._paused = False
        self._parser = ClientProtocol(parse_uri("ws://test"), state=OPEN, max_size=None)

    def write(self, data: bytes) -> None:
        assert not self.half_closed, "written after the end"
        if self.closed or self.aborted:
            return
        self.written.append(data)
        self._parser.receive_data(data)
        if self.stuck:
            self.waiting += len(data)
            if self.waiting > self.high and not self._paused and self.protocol is not None:
                self._paused = True
                self.protocol.pause_writing()

    def drain(self) -> None:
        """The peer has read everything."""
        self.stuck, self.waiting = False, 0
        if self._paused and self.protocol is not None:
            self._paused = False
            self.protocol.resume_writing()

    def frames(self) -> list[Any]:
        """What was written since the last call: JSON frames, and close codes as ints."""
        found: list[Any] = []
        for event in self._parser.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT:
                found.append(json.loads(bytes(event.data)))
            elif event.opcode is Opcode.CLOSE:
                found.append(int.from_bytes(event.data[:2], "big"))
            else:
                found.append(event.opcode)
        return found

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.high, self.low = high, low

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if self.is_closing():
            return
        setattr(self, how, True)
        if self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Socket:
    """A client on a fake transport."""

    def __init__(self, gateway: SocketGateway) -> None:
        self._gateway = gateway
        self.transport = FakeTransport()
        self.siblings: set[Any] = set()
        self.link = gateway.connect(cast("asyncio.Transport", self.transport), self.siblings)
        self.transport.protocol = self.link

    def say(self, frame: dict[str, Any] | bytes) -> None:
        """Send a text frame."""
        self.link.data_received(masked(1, frame if isinstance(frame, bytes) else json.dumps(frame).encode()))

    def frames(self) -> list[Any]:
        """What came since the last call."""
        return self.transport.frames()

    async def hello(self, user: str, device: str = "d1", platform: str = "web", **more: Any) -> list[Any]:
        """Say hello, and what comes of it."""
        self.say(
            {"type": "hello", "token": user, "device": {"id": device, "platform": platform}} | more,
        )
        return await self.after()

    async def after(self, seconds: float = 0.03) -> list[Any]:
        """What has come when everything has had its time, on a busy machine too."""
        await asyncio.sleep(seconds)
        async with asyncio.timeout(5):
            while self._busy():
                await asyncio.sleep(0.005)
        return self.frames()

    def _busy(self) -> bool:
        recovery, heads = self._gateway.recovery, self._gateway._performer._heads
        if heads._asked or heads._calls:
            return True
        return bool(len(self._gateway.background) or recovery._due or recovery._ready or recovery._workers)


class Rig:
    """The parts of one node."""

    def __init__(self, gateway: SocketGateway, node: Node, hub: FakeHub) -> None:
        self.gateway = gateway
        self.node = node
        self.hub = hub
        self.sockets: list[Socket] = []

    def socket(self) -> Socket:
        """One more connection."""
        self.sockets.append(Socket(self.gateway))
        return self.sockets[-1]

    async def user(self, name: str, device: str = "d1", platform: str = "web", **more: Any) -> Socket:
        """One more connection, live."""
        socket = self.socket()
        first, *_ = await socket.hello(name, device, platform, **more)
        assert first["type"] == "welcome", first
        return socket


def settings(**changes: Any) -> Settings:
    """Settings for impatient tests."""
    return Settings(**{"drain_timeout": timedelta(seconds=0.3), **changes})


@asynccontextmanager
async def a_rig(**changes: Any) -> AsyncIterator[Rig]:
    """A gateway with fakes around it."""
    node = Node()
    hub = FakeHub(node)
    gateway = SocketGateway(
        node=node, engine=hub, people=hub, presence=hub, broker=hub, settings=settings(**changes)
    )
    async with gateway:
        rig = Rig(gateway, node, hub)
        yield rig
        for socket in rig.sockets:
            socket.transport.abort()
        await asyncio.sleep(0)


def numbers(frames: list[Any]) -> list[int]:
    """The q of every message."""
    return [frame["q"] for frame in frames if isinstance(frame, dict) and frame["type"] == "message"]


def types(frames: list[Any]) -> list[Any]:
    """Types of frames, and close codes."""
    return [frame["type"] if isinstance(frame, dict) else frame for frame in frames]


def bye_of(frames: list[Any]) -> tuple[str, int]:
    """The reason and the close code at the end, which agree."""
    bye, code = frames[-2:]
    assert bye["type"] == "bye"
    assert bye["code"] == code
    return bye["reason"], code
