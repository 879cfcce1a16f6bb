"""A live socket for the terminal: what a user's device receives, one JSON frame a line."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from hub.embedded import Trouble
from hub.embedded.folder import DataFolder

Frame = dict[str, Any]
LONGEST_WAIT = 15.0


class Refused(Trouble):
    """The hub does not want this client back."""


@dataclass(slots=True)
class Listener:
    """One device of one user; it keeps its place in the queue between sockets."""

    address: str
    key: str
    user: str
    device: str = field(default_factory=lambda: f"listen-{secrets.token_hex(4)}")
    cursor: int = 0
    failures: int = 0
    retry_after: float = 0.0

    async def run(self) -> NoReturn:
        """Listens; after a loss it waits a random while, longer each time, and comes back."""
        while True:
            try:
                await self._one_socket()
            except (OSError, WebSocketException) as error:
                show(f"! {str(error) or type(error).__name__}")
            longest = min(LONGEST_WAIT, 0.5 * 2**self.failures)
            wait = self.retry_after + random.uniform(0, longest)  # noqa: S311
            self.failures, self.retry_after = self.failures + 1, 0.0
            show(f"! connecting again in {wait:.1f} s · 稍后重连")
            await asyncio.sleep(wait)

    async def _one_socket(self) -> None:
        token = await asyncio.to_thread(mint_token, self.address, self.key, self.user)
        url = self.address.replace("http", "ws", 1) + "/v1/ws"
        protocols = [Subprotocol("hub.v1")]
        async with connect(
            url, subprotocols=protocols, compression=None, proxy=None, ping_interval=None, max_size=None
        ) as socket:
            device = {"id": self.device, "platform": "web", "name": "terminal"}
            await send(socket, {"type": "hello", "token": token, "device": device, "cursor": self.cursor})
            pings: asyncio.Task[None] | None = None
            try:
                async for text in socket:
                    frame: Frame = json.loads(text)
                    if frame["type"] != "pong":
                        show(json.dumps(frame, ensure_ascii=False))
                    await self._answer(socket, frame)
                    if frame["type"] == "welcome" and pings is None:
                        pings = asyncio.create_task(keep_alive(socket, float(frame["heartbeat_s"])))
            finally:
                if pings:
                    pings.cancel()

    async def _answer(self, socket: ClientConnection, frame: Frame) -> None:
        match frame["type"]:
            case "welcome":
                self.failures = 0
            case "message":
                self.cursor = max(self.cursor, frame["q"])
                await send(socket, {"type": "ack", "seq": self.cursor})
            case "rebase":
                self.cursor = frame["head"]
            case "bye":
                if not frame.get("reconnect", True):
                    text = f"the hub closed the socket for good: {frame.get('reason')}"
                    raise Refused(text)
                self.retry_after = float(frame.get("retry_after_s") or 0)
            case _:
                pass  # shown, that is all


async def keep_alive(socket: ClientConnection, every: float) -> None:
    """Says ping before the hub wonders whether anybody is there."""
    number = 0
    with suppress(WebSocketException):
        while True:
            await asyncio.sleep(every * 0.8)
            number += 1
            await send(socket, {"type": "ping", "id": number})


async def send(socket: ClientConnection, frame: Frame) -> None:
    await socket.send(json.dumps(frame, ensure_ascii=False))


def mint_token(address: str, key: str, user: str) -> str:
    """A short token for the user, by the data folder's API key."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/tokens", json.dumps({"user": user}), headers)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if answer.status in {401, 403, 404, 422}:
        text = f"the hub gives no token for {user!r}: {answer.status} {body.decode(errors='replace')[:300]}"
        raise Refused(text)
    if answer.status >= 300:
        text = f"the hub answered {answer.status} to POST /v1/tokens"
        raise OSError(text)
    return str(json.loads(body)["token"])


def main(folder: DataFolder, user: str) -> None:
    """Listens until Ctrl-C."""
    address, key = folder.address(), folder.api_key()
    if address is None or key is None:
        text = f"no hub is running on the data folder {folder.path}; start it with ./run"
        raise Trouble(text)
    with suppress(KeyboardInterrupt):
        asyncio.run(Listener(address, key, user).run())


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
