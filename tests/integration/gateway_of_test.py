"""A gateway in a real uvicorn, and clients on real sockets, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.neighbours import ActionsApi
from hub.channels.ws.node import Node
from hub.channels.ws.protocol import server_options
from hub.channels.ws.routes import SocketApp
from hub.core.message import ConversationId
from hub.settings import Settings
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.rig import settings

ROOM = ConversationId("cnv_room")
HUB_V1 = Subprotocol("hub.v1")


@dataclass
class Served:
    """A server with everything that a test may look at."""

    port: int
    gateway: SocketGateway
    node: Node
    hub: FakeHub
    server: uvicorn.Server
    running: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/ws"

    def open(self, **more: Any) -> connect:
        """A client without a hello."""
        options = {"subprotocols": [HUB_V1], "compression": None, "ping_interval": None, "max_size": None}
        return connect(self.url, **{**options, **more})

    @asynccontextmanager
    async def client(self, user: str, device: str = "d1", **more: Any) -> AsyncIterator[ClientConnection]:
        """A client that was welcomed."""
        async with self.open() as websocket:
            await say(websocket, hello(user, device, **more))
            welcome = await hear(websocket)
            assert welcome["type"] == "welcome", welcome
            yield websocket

    async def stop(self) -> float:
        """Stop the server; how long it took."""
        began = time.monotonic()
        self.server.should_exit = True
        await self.running
        return time.monotonic() - began


def hello(user: str, device: str = "d1", **more: Any) -> dict[str, Any]:
    return {"type": "hello", "token": user, "device": {"id": device, "platform": "web"}, **more}


def send(text: str, client_msg_id: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "send",
        "id": client_msg_id,
        "to": {"conversation": ROOM},
        "client_msg_id": client_msg_id,
        "kind": "text",
        "body": {"text": text},
        **more,
    }


async def say(websocket: ClientConnection, frame: dict[str, Any] | str) -> None:
    await websocket.send(frame if isinstance(frame, str) else json.dumps(frame))


async def hear(websocket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        frame: dict[str, Any] = json.loads(await websocket.recv())
    return frame


async def hear_to_the_end(websocket: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """Every frame until the close, and its code."""
    frames = []
    try:
        while True:
            frames.append(await hear(websocket))
    except ConnectionClosed as closed:
        return frames, closed.rcvd.code if closed.rcvd else None


@asynccontextmanager
async def served(*, actions: ActionsApi | None = None, **changes: Any) -> AsyncIterator[Served]:
    """A server on a free port; it is stopped, in bounded time, whatever the test has left open. `actions` are what it
    does about cards' buttons."""
    node = Node()
    hub = FakeHub(node)
    chosen: Settings = settings(**changes)
    gateway = SocketGateway(
        node=node, engine=hub, people=hub, presence=hub, broker=hub, settings=chosen, actions=actions
    )
    async with gateway:
        config = uvicorn.Config(
            SocketApp(gateway, chosen),
            port=0,
            log_level="critical",
            lifespan="off",
            **server_options(chosen),
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        here = Served(port, gateway, node, hub, server, running)
        yield here
        assert await here.stop() < 8
    assert len(gateway) == 0
    assert len(node.seats) == 0
