"""The gateway in a real uvicorn, with real sockets: handshakes, bad beginnings, and the ordinary course."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.node import Node
from hub.channels.ws.routes import SocketApp
from tests.integration.gateway_of_test import HUB_V1, ROOM, hear, hear_to_the_end, hello, say, send, served
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.rig import settings


async def test_a_message_from_one_person_to_another() -> None:
    async with served() as here:
        here.hub.rooms[ROOM] = [here.hub.key("ann"), here.hub.key("bob")]
        async with here.client("ann") as ann, here.client("bob") as bob:
            await say(ann, send("你好", "m1"))
            first, second = await hear(ann), await hear(ann)
            assert {first["type"], second["type"]} == {"message", "ok"}
            message = await hear(bob)
            assert (message["q"], message["sender"], message["body"]) == (1, "ann", {"text": "你好"})
            await say(bob, {"type": "ack", "seq": 1})
            await say(bob, {"type": "ping", "id": "p"})
            assert await hear(bob) == {"type": "pong", "id": "p", "head": 1}
            assert [(user, seq) for _, user, seq in here.hub.acks] == [(here.hub.key("bob"), 1)]


async def test_a_reconnect_resumes_where_it_was() -> None:
    async with served() as here:
        async with here.client("ann") as ann:
            for _ in range(3):
                here.hub.write("ann")
            assert [(await hear(ann))["q"] for _ in range(3)] == [1, 2, 3]
        for _ in range(3):
            here.hub.write("ann")
        async with here.client("ann", cursor=2) as ann:
            assert [(await hear(ann))["q"] for _ in range(4)] == [3, 4, 5, 6]


async def test_large_messages_pass_in_both_directions() -> None:
    async with served() as here:
        here.hub.rooms[ROOM] = [here.hub.key("ann")]
        async with here.client("ann") as ann:
            for at, size in enumerate((100, 200, 65_000)):
                await say(ann, send("x" * size, f"m{at}"))
                frames = [await hear(ann), await hear(ann)]
                (message,) = [frame for frame in frames if frame["type"] == "message"]
                assert message["body"] == {"text": "x" * size}


async def test_fragments_are_put_together() -> None:
    async with served() as here, here.client("ann") as ann:
        await ann.send(iter(['{"type":', '"ping",', '"id":"帧"}']))
        assert await hear(ann) == {"type": "pong", "id": "帧", "head": 0}


@pytest.mark.parametrize(
    ("origin", "origins", "status"),
    [
        ("https://evil.example", (), 403),
        ("null", (), 403),
        ("https://evil.example", ("https://app.example",), 403),
        ("https://app.example", ("https://app.example",), None),
        (None, ("https://app.example",), None),
        ("same", (), None),
    ],
)
async def test_pages_of_other_origins_are_refused(
    origin: str | None, origins: tuple[str, ...], status: int | None
) -> None:
    async with served(ws_origins=origins) as here:
        value = f"http://127.0.0.1:{here.port}" if origin == "same" else origin
        opening = here.open(origin=Origin(value) if value is not None else None)
        if status is None:
            async with opening as websocket:
                assert websocket.subprotocol == HUB_V1
            return
        with pytest.raises(InvalidStatus) as caught:
            await opening.__aenter__()
        assert caught.value.response.status_code == status
        assert json.loads(caught.value.response.body or b"")["code"] == "origin_refused"


@pytest.mark.parametrize("offered", [None, [Subprotocol("hub.v9")]])
async def test_the_version_must_be_offered(offered: list[Subprotocol] | None) -> None:
    async with served() as here:
        with pytest.raises(InvalidStatus) as caught:
            await here.open(subprotocols=offered).__aenter__()
        assert caught.value.response.status_code == 400


async def test_no_more_sockets_than_there_is_room_for() -> None:
    async with served(max_connections=2) as here, here.client("ann"), here.client("bob"):
        with pytest.raises(InvalidStatus) as caught:
            await here.open().__aenter__()
        assert caught.value.response.status_code == 503
        assert caught.value.response.headers["Retry-After"] == "2"


async def test_a_plain_request_is_told_to_upgrade() -> None:
    async with served() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"426" in await reader.readline()
        writer.close()


async def test_another_websocket_protocol_is_a_misconfiguration() -> None:
    node = Node()
    hub = FakeHub(node)
    gateway = SocketGateway(node=node, engine=hub, people=hub, presence=hub, broker=hub, settings=settings())
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def answer(event: Any) -> None:
        answers.append(event)

    scope = {"type": "websocket", "headers": [], "subprotocols": ["hub.v1"], "extensions": {}}
    await SocketApp(gateway, settings())(scope, receive, answer)
    assert answers[0]["status"] == 501


async def test_a_bad_handshake_is_refused_by_the_server() -> None:
    async with served() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(
            b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"400" in await reader.readline()
        writer.close()


async def test_compression_is_never_agreed_on() -> None:
    async with served() as here, here.open(compression="deflate") as websocket:
        assert websocket.response is not None
        assert "Sec-WebSocket-Extensions" not in websocket.response.headers


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        ("{", 4400, "bad_request"),
        ('{"type":"hello","token":5}', 4400, "bad_request"),
        ('{"type":"nonsense"}', 4400, "bad_request"),
        ('{"type":"ping","id":1}', 4400, "bad_request"),
        (json.dumps(hello("bad-token")), 4401, "token_invalid"),
        (json.dumps(hello("old-token")), 4403, "token_expired"),
    ],
)
async def test_a_bad_beginning(first: str, code: int, reason: str) -> None:
    async with served() as here, here.open() as websocket:
        await say(websocket, first)
        frames, closed = await hear_to_the_end(websocket)
        assert frames[0]["type"] == "error"
        assert (frames[-1]["type"], frames[-1]["code"], frames[-1]["reason"]) == ("bye", code, reason)
        assert closed == code


async def test_nothing_at_all_is_a_bad_beginning_too() -> None:
    async with served(hello_timeout=timedelta(seconds=0.3)) as here, here.open() as websocket:
        frames, closed = await hear_to_the_end(websocket)
        assert [frame["reason"] for frame in frames] == ["hello_timeout"]
        assert closed == 4408


async def test_garbage_after_the_hello_is_answered_and_the_session_lives() -> None:
    async with served() as here, here.client("ann") as ann:
        garbage = ["{", "[]", "5", '{"type":"nonsense","id":"n"}', '{"type":"ack","seq":"x"}', "{}"]
        for frame in garbage:
            await say(ann, frame)
        codes = [(await hear(ann))["code"] for _ in garbage]
        assert codes == ["bad_request"] * 3 + ["unknown_type"] + ["bad_request"] * 2
        await say(ann, {"type": "ping", "id": 1})
        assert (await hear(ann))["type"] == "pong"
