"""A socket client that follows the client rules: order by q, sync on a gap, de-duplicate, acknowledge, come back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

Frame = dict[str, Any]


class Refused(Exception):
    """The hub answered a request with an error that a repeat will not mend."""


@dataclass
class HubClient:
    """One device of one user. `addresses` are tried in turn; `applied` holds every message frame in q order."""

    addresses: list[str]
    token: Callable[[], str]
    device: str
    platform: str = "app"
    heartbeat: float = 2.0
    mode: str = "push"
    hints: int = 0
    farewells: list[Frame] = field(default_factory=list)
    cursor: int = 0
    applied: list[Frame] = field(default_factory=list)
    events: list[Frame] = field(default_factory=list)
    duplicates: int = 0
    gaps: int = 0
    rebased: int = 0
    connects: int = 0
    _farewell: Frame | None = None
    _seen: set[str] = field(default_factory=set)
    _answers: dict[str, asyncio.Future[Frame]] = field(default_factory=dict)
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    _socket: ClientConnection | None = None
    _live: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> HubClient:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def live(self) -> None:
        """Wait until welcomed."""
        await self._live.wait()

    async def send(self, to: Frame, client_msg_id: str, body: Frame, *, kind: str = "text") -> Frame:
        """Send until it is acknowledged, with the same client_msg_id each time. Returns the `ok` frame."""
        while True:
            answer = await self.request(
                {"type": "send", "to": to, "client_msg_id": client_msg_id, "kind": kind, "body": body}
            )
            if answer is not None and answer["type"] == "ok":
                return answer
            if answer is not None and not answer.get("retryable", False):
                raise Refused(json.dumps(answer))
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def request(self, frame: Frame, *, timeout: float = 8.0) -> Frame | None:
        """One request and its answer; None if the socket was lost or nothing came in time."""
        await self._live.wait()
        request_id = f"r{next(self._ids)}"
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = future
        try:
            await self.say({**frame, "id": request_id})
            return await asyncio.wait_for(future, timeout)
        except (TimeoutError, ConnectionClosed, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not future.cancelled():
                raise
            return None
        finally:
            self._answers.pop(request_id, None)

    async def say(self, frame: Frame) -> None:
        """Write a frame that has no answer."""
        if self._socket is None:
            return
        await self._socket.send(json.dumps(frame, ensure_ascii=False))

    async def _run(self) -> None:
        for attempt in itertools.count():
            address = self.addresses[(attempt + hash(self.device)) % len(self.addresses)]
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                async with connect(
                    address,
                    subprotocols=[Subprotocol("hub.v1")],
                    compression=None,
                    ping_interval=None,
                    open_timeout=5,
                    close_timeout=1,
                ) as socket:
                    await self._session(socket)
            self._live.clear()
            self._socket = None
            for future in self._answers.values():
                future.cancel()
            said, self._farewell = self._farewell, None
            if said is not None and not said["reconnect"]:
                return
            after = None if said is None else said.get("retry_after_s")
            await asyncio.sleep(random.uniform(0.05, 0.5) if after is None else after)

    async def _session(self, socket: ClientConnection) -> None:
        hello = {
            "type": "hello",
            "id": "hello",
            "token": self.token(),
            "device": {"id": self.device, "platform": self.platform, "name": "test"},
            "cursor": self.cursor,
            "mode": self.mode,
        }
        await socket.send(json.dumps(hello))
        self.connects += 1
        beat = asyncio.create_task(self._beat(socket))
        try:
            async for text in socket:
                await self._receive(json.loads(text), socket)
        finally:
            beat.cancel()

    async def _beat(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(self.heartbeat * random.uniform(0.8, 1.2))
            with contextlib.suppress(ConnectionClosed):
                await socket.send(json.dumps({"type": "ping", "id": "ping"}))

    async def _receive(self, frame: Frame, socket: ClientConnection) -> None:
        match frame["type"]:
            case "welcome":
                self._socket = socket
                self._live.set()
            case "message":
                await self._apply(frame)
            case "batch":
                for entry in frame.get("entries", ()):
                    await self._apply(entry)
                if self.mode == "hint" and frame.get("more") and "next" in frame:
                    await self._pull()
                self._resolve(frame)
            case "pong":
                if frame["head"] > self.cursor:
                    await self.say({"type": "sync", "id": "sync", "after": self.cursor, "limit": 200})
            case "news":
                self.hints += 1
                await self._pull()
            case "bye":
                self._farewell = frame
                self.farewells.append(frame)
            case "rebase":
                self.rebased += 1
            case "ok" | "error":
                self._resolve(frame)
            case _:
                self.events.append(frame)

    async def _pull(self) -> None:
        await self.say({"type": "sync", "id": "sync", "after": self.cursor, "limit": 200})

    def _resolve(self, frame: Frame) -> None:
        future = self._answers.get(frame.get("id") or "")
        if future is not None and not future.done():
            future.set_result(frame)

    async def _apply(self, frame: Frame) -> None:
        q = frame["q"]
        if q <= self.cursor:
            self.duplicates += 1
            return
        if q > self.cursor + 1:
            self.gaps += 1
            await self.say({"type": "sync", "id": "sync", "after": self.cursor, "limit": 200})
            return
        self.cursor = q
        if frame.get("id") is not None:
            if frame["id"] in self._seen:
                self.duplicates += 1
            else:
                self._seen.add(frame["id"])
                self.applied.append(frame)
        await self.say({"type": "ack", "seq": q})
