"""The gateway in a real uvicorn, with real sockets: handshakes, hostile clients, slow readers, the end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Origin, Subprotocol

from hub.channels.ws.asyncapi import document, schema_of
from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.node import Node
from hub.channels.ws.protocol import server_options
from hub.channels.ws.routes import SocketApp
from hub.core.message import ConversationId
from hub.settings import Settings
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.rig import settings
from tests.unit.ws.test_wire import masked

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
async def served(**changes: Any) -> AsyncIterator[Served]:
    """A server on a free port; it is stopped, in bounded time, whatever the test has left open."""
    node = Node()
    hub = FakeHub(node)
    chosen: Settings = settings(**changes)
    gateway = SocketGateway(node=node, engine=hub, people=hub, presence=hub, broker=hub, settings=chosen)
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


async def test_every_frame_of_a_session_fits_its_published_schema() -> None:
    published = document()
    async with served(drain_timeout=timedelta(seconds=0.5)) as here:
        here.hub.rooms[ROOM] = [here.hub.key("ann"), here.hub.key("bob")]
        large = ConversationId("cnv_large")
        here.hub.rooms[large] = [here.hub.key("ann")]
        here.hub.diffused.add(large)
        here.hub.queues[here.hub.key("ann")].append(None)
        said: list[dict[str, Any]] = [
            hello("ann", id="h", cursor=0),
            send("hi", "m1", mentions=["bob"]),
            send("hi", "m1"),
            send("hi", "m2", to={"conversation": large}),
            {"type": "ack", "seq": 1},
            {"type": "ack", "seq": 999},
            {"type": "sync", "id": 1, "after": 0, "limit": 10},
            {"type": "sync", "id": 2, "after": 99},
            {"type": "history", "id": 3, "conversation": ROOM},
            {"type": "read", "conversation": ROOM, "seq": 1},
            {"type": "watch", "id": 5, "users": ["bob", "eve"]},
            {"type": "ping", "id": "p"},
        ]
        async with here.client("bob") as bob, here.open() as ann:
            for frame in said:
                check(published, frame, from_client=True)
                await say(ann, frame)
            await asyncio.sleep(0.2)
            await say(bob, {"type": "typing", "conversation": ROOM})
            await asyncio.sleep(0.2)
            here.node.presence_changed(here.hub.key("bob"), True, here.hub.clock())
            here.node.catch_up()
            await asyncio.sleep(0.1)
            stopping = asyncio.create_task(here.stop())
            frames, _ = await hear_to_the_end(ann)
            await stopping
    kinds = set()
    for frame in frames:
        check(published, frame, from_client=False)
        kinds.add(schema_of(frame, from_client=False))
    assert kinds == {
        "Welcome", "MessageFrame", "Ok", "Error", "SyncBatch", "HistoryBatch", "Rebase", "ReadUpTo", "Watching",
        "Pong", "TypingNow", "PresenceNow", "Grew", "Farewell",
    }  # fmt: skip


def check(published: dict[str, Any], frame: dict[str, Any], *, from_client: bool) -> None:
    """The frame fits its schema, which is strict about what it does not name."""
    name = schema_of(frame, from_client=from_client)
    schema = published["components"]["schemas"][name]
    jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": published["components"]},
        format_checker=jsonschema.FormatChecker(),
    ).validate(frame)
    assert set(frame) <= set(schema["properties"]), f"{name} does not name all of {sorted(frame)}"


def test_the_document_names_every_frame_once_and_every_reference_leads_somewhere() -> None:
    published = document(version="7", server="hub.example")
    assert published["asyncapi"] == "3.0.0"
    assert published["info"]["version"] == "7"
    text = json.dumps(published)
    for part in text.split('"$ref": "#/')[1:]:
        at: Any = published
        for step in part.split('"')[0].split("/"):
            at = at[step]
    assert "\\\\Z" not in text
    for name, schema in published["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("title") == name
    with pytest.raises(LookupError):
        schema_of({"type": "nonsense"}, from_client=True)


def test_frames_of_the_library_are_what_the_wire_tests_make() -> None:
    assert masked(1, b"hi")[:2] == Frame(Opcode.TEXT, b"hi").serialize(mask=True)[:2]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
@pytest.mark.parametrize(
    "story",
    [
        test_a_message_from_one_person_to_another,
        test_a_reconnect_resumes_where_it_was,
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
