"""Devices of one user that keep a conversation list and messages: by push, by hint and pull, by long polls."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
from websockets.asyncio.client import ClientConnection

from tests.support.client import HubClient
from tests.support.own_list import MANY, Frame, OwnList


@dataclass
class Kept:
    """The messages that a device holds, as control messages have left them."""

    me: str
    messages: dict[str, Frame] = field(default_factory=dict)
    order: dict[str, list[int]] = field(default_factory=dict)
    """The numbers of each conversation as they came."""
    _by: dict[str, int] = field(default_factory=dict)
    """By message: the number of what changed it last."""

    def take(self, entry: Frame) -> None:
        """An entry of the queue."""
        if entry["id"] is None:
            return
        self.order.setdefault(entry["conversation"], []).append(entry["seq"])
        if not entry.get("control"):
            self.messages.setdefault(entry["id"], {**entry})
            return
        body = entry["body"]
        if entry["kind"] == "hidden":
            for message in body["messages"]:
                self.messages.pop(message, None)
        message = self.messages.get(body.get("message", ""))
        if message is None or message["kind"] == "recalled" or entry["kind"] not in ("recall", "edit"):
            return
        if entry["kind"] == "recall":
            message |= {"kind": "recalled", "body": {}}
        elif "body" in body and entry["seq"] > self._by.get(message["id"], 0):
            self._by[message["id"]] = entry["seq"]
            message["body"] = body["body"]

    def of(self, conversation: str, past: int) -> dict[str, tuple[str, Any]]:
        """Kind and body of each message of a conversation past a number."""
        return {
            id_: (one["kind"], one["body"])
            for id_, one in self.messages.items()
            if one["conversation"] == conversation and one["seq"] > past
        }


class Lister(Protocol):
    """Asks the hub for the list."""

    async def all(self) -> list[Frame]:
        """The whole list. Raises httpx2.TransportError."""
        ...

    async def one(self, conversation: str) -> Frame | None:
        """One conversation, None where the user is not in it."""
        ...


class OverHttp:
    """Lister over REST, on one node after the other."""

    def __init__(self, bases: list[str], token: str) -> None:
        self._bases = itertools.cycle(bases)
        self.http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self.asked = 0

    async def get(self, path: str, **query: Any) -> httpx2.Response:
        """An answer that is no 5xx."""
        self.asked += 1
        while True:
            with contextlib.suppress(httpx2.TransportError):
                answer = await self.http.get(f"{next(self._bases)}{path}", params=query)
                if answer.status_code not in (429, 503):
                    return answer
            await asyncio.sleep(0.1)

    async def all(self) -> list[Frame]:
        """See Lister; in small pages."""
        rows: list[Frame] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = (await self.get("/v1/conversations", **query)).json()
            rows += page["data"]
            if page["page"]["next"] is None:
                return list({row["id"]: row for row in rows}.values())
            query["after"] = page["page"]["next"]

    async def one(self, conversation: str) -> Frame | None:
        """See Lister."""
        answer = await self.get(f"/v1/conversations/{conversation}")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None


class Line:
    """What a device has to apply, one after the other; what is wanted is fetched when nothing more waits."""

    def __init__(self, me: str, lister: Lister) -> None:
        self.list = OwnList(me)
        self.kept = Kept(me)
        self.lister = lister
        self.frames = 0
        self.q = 0
        self._waiting: asyncio.Queue[Frame] = asyncio.Queue()

    def put(self, frame: Frame) -> None:
        """A frame, in the order of its coming."""
        self._waiting.put_nowait(frame)

    async def run(self) -> None:
        """Never returns."""
        while True:
            frame = await self._waiting.get()
            self.frames += 1
            self.list.take(frame)
            if frame["type"] == "message":
                self.q = frame["q"]
                self.kept.take(frame)
            if self._waiting.empty():
                await self.fetch()

    async def fetch(self) -> None:
        """Ask for what is wanted. What comes meanwhile waits."""
        wanted = sorted(self.list.wanted)
        if self.list.everything or len(wanted) > MANY:
            self.list.put_all(await self.lister.all(), q=self.q)
            return
        for id_ in wanted:
            self.list.put(id_, await self.lister.one(id_), q=self.q)


class SocketDevice(HubClient):
    """A device on a socket, with `mode` push or hint."""

    line: Line
    allowed: asyncio.Event

    def begin(self, line: Line) -> SocketDevice:
        """With a list of its own."""
        self.line = line
        self.allowed = asyncio.Event()
        self.allowed.set()
        return self

    async def leave(self) -> None:
        """Lose the connection, and stay away."""
        self.allowed.clear()
        socket = self._socket
        if socket is not None:
            await socket.close()

    def come_back(self) -> None:
        """Connect again."""
        self.allowed.set()

    async def _session(self, socket: ClientConnection) -> None:
        await self.allowed.wait()
        await super()._session(socket)

    async def _receive(self, frame: Frame, socket: ClientConnection) -> None:
        await super()._receive(frame, socket)
        if frame["type"] not in ("message", "batch"):
            self.line.put(frame)

    async def _apply(self, frame: Frame) -> None:
        before = self.cursor
        try:
            await super()._apply(frame)
        finally:  # applied, though the acknowledgement may find the socket closed
            if self.cursor > before:
                self.line.put({**frame, "type": "message"})


class PollDevice:
    """A device that only polls: it reads the list again whenever a poll brought nothing."""

    def __init__(self, bases: list[str], token: str, device: str, line: Line) -> None:
        self._bases = itertools.cycle(bases)
        self._device = {"id": device, "platform": "miniprogram"}
        self._http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self.line = line
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.cursor = 0

    async def leave(self) -> None:
        """Stop polling."""
        self.allowed.clear()

    def come_back(self) -> None:
        """Go on."""
        self.allowed.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.allowed.wait()
            with contextlib.suppress(httpx2.TransportError):
                await self._pull(next(self._bases))

    async def _pull(self, base: str) -> None:
        query: dict[str, Any] = {"after": self.cursor, "wait": "PT1S", "limit": 20}
        answer = await self._http.get(f"{base}/v1/queue", params=query)
        if answer.status_code != 200:
            assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.1)
            return
        page = answer.json()
        if not page["data"]:
            self.line.put({"type": "stale"})
            return
        for entry in page["data"]:
            assert entry["q"] == self.cursor + 1
            self.cursor = entry["q"]
            blank = {"id": None, "conversation": None, "seq": None}
            self.line.put({"type": "message", "q": entry["q"], **(entry["message"] or blank)})
        body = {"seq": self.cursor, "device": self._device}
        acked = await self._http.post(f"{base}/v1/queue/ack", json=body)
        assert acked.status_code in (204, 429, 503), acked.text


Device = SocketDevice | PollDevice


async def until(true: Callable[[], bool], within: float = 20.0) -> None:
    """Waits for it; a time-out is the failure."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.05)
