"""The terminal's live socket: it acknowledges, comes back with its place in the queue, and takes no for an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from hub.embedded import listen
from hub.embedded.listen import Listener, Refused, mint_token

Frame = dict[str, Any]
WELCOME: Frame = {"type": "welcome", "heartbeat_s": 0.02}


class Hub:
    """A hub that plays one scene a connection and keeps what it hears."""

    def __init__(self, *scenes: Callable[[Hub, ServerConnection], Awaitable[None]]) -> None:
        self.scenes = list(scenes)
        self.heard: list[Frame] = []

    async def hear(self, socket: ServerConnection, kind: str) -> Frame:
        while True:
            frame: Frame = json.loads(await socket.recv())
            self.heard.append(frame)
            if frame["type"] == kind:
                return frame

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.subprotocol == "hub.v1"
        await self.scenes.pop(0)(self, socket)


async def say(socket: ServerConnection, *frames: Frame) -> None:
    for frame in frames:
        await socket.send(json.dumps(frame))


@pytest.fixture
async def play(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Hub], Awaitable[Listener]]]:
    monkeypatch.setattr(listen, "mint_token", lambda *_: "token")
    servers = []

    async def start(hub: Hub) -> Listener:
        server = await serve(hub, "127.0.0.1", 0, subprotocols=[Subprotocol("hub.v1")])
        servers.append(server)
        return Listener(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key", "alice")

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def the_end(hub: Hub, socket: ServerConnection) -> None:
    await hub.hear(socket, "hello")
    await say(socket, {"type": "bye", "code": 4403, "reason": "forbidden", "reconnect": False})
    await socket.wait_closed()


async def test_it_comes_back_with_its_cursor(
    play: Callable[[Hub], Awaitable[Listener]], capsys: pytest.CaptureFixture[str]
) -> None:
    async def first(hub: Hub, socket: ServerConnection) -> None:
        hello = await hub.hear(socket, "hello")
        assert hello["token"] == "token"
        assert hello["cursor"] == 0
        await say(socket, WELCOME, {"type": "message", "q": 7, "body": {"text": "你好"}})
        assert (await hub.hear(socket, "ack"))["seq"] == 7
        await hub.hear(socket, "ping")
        await say(socket, {"type": "bye", "code": 4503, "reconnect": True, "retry_after_s": 0.05})

    hub = Hub(first, the_end)
    listener = await play(hub)
    with pytest.raises(Refused, match="forbidden"):
        await listener.run()
    assert hub.heard[-1]["cursor"] == 7
    assert hub.heard[-1]["device"] == hub.heard[0]["device"]
    assert "你好" in capsys.readouterr().out


async def test_a_hub_that_is_away_is_tried_again(
    play: Callable[[Hub], Awaitable[Listener]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["refused", "token"])

    def mint(*_: object) -> str:
        if (answer := next(answers)) == "refused":
            raise ConnectionRefusedError
        return answer

    listener = await play(Hub(the_end))
    monkeypatch.setattr(listen, "mint_token", mint)
    with pytest.raises(Refused):
        await listener.run()


@pytest.mark.parametrize(("status", "error"), [(401, Refused), (503, OSError)])
def test_a_token_is_refused_for_good_or_for_now(status: int, error: type[Exception]) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(error):
            mint_token(f"http://127.0.0.1:{server.server_port}", "key", "alice")
