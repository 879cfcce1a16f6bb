"""Chat end to end: sent over a socket, committed durably, pushed to the recipient's socket.

    python -m bench.chat [--messages 20000] [--senders 50] [--window 16 | --rate 4000] [--database URL] [--repeat 3]

A real `hub serve` process on one core; the load generator, Redis and the database on the other. Printed per CPU second
of the hub process, with the generator's own share beside it: a generator near 100 % means that it was the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from tests.services import RedisServer
from tests.support.cluster import Cluster, cluster

_TICKS = os.sysconf("SC_CLK_TCK")
_HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: hub.v1\r\n\r\n"
)


def frame(payload: bytes) -> bytes:
    """A client's text frame. The mask is zero, which is legal and spares the generator the masking."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + b"\0\0\0\0" + payload


@dataclass
class Tally:
    """What all sockets of a run have seen."""

    accepted: int = 0
    pushed: int = 0
    refused: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds from sending to the recipient, of one message in sixteen."""


class LoadSocket(asyncio.Protocol):
    """One user. Counts frames by their opening words: decoding each would make the generator the limit."""

    def __init__(self, tally: Tally, name: str, peer: str, token: str, window: int) -> None:
        self.tally = tally
        self.name = name
        self.peer = peer
        self.window = window
        self.left = 0
        self.sent = 0
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._own = f'"sender":"{name}"'.encode()
        self._outstanding = 0
        self._paced = False
        device = {"id": "bench", "platform": "app", "name": "bench"}
        hello = {"type": "hello", "id": "h", "token": token, "device": device, "cursor": 0}
        self._hello: bytes | None = frame(json.dumps(hello).encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out."""
        # uvloop's transports are no subclasses of asyncio's
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_HANDSHAKE)

    def pace(self, count: int, interval: float) -> None:
        """Send `count` messages, one each `interval` seconds, whatever comes back."""
        self.left = self._outstanding = count
        loop = asyncio.get_running_loop()
        begin = loop.time() + interval * random.random()
        for number in range(count):
            loop.call_at(begin + number * interval, self._send)
        self._paced = True

    def start(self, count: int) -> None:
        """Send `count` messages, a window of them at a time."""
        self.left = self._outstanding = count
        if count == 0:
            self.done.set_result(None)
        for _ in range(min(self.window, count)):
            self._send()

    def _send(self) -> None:
        self.left -= 1
        self.sent += 1
        now = time.perf_counter() if self.sent % 16 == 0 else 0
        body = {"text": "x" * 120, "t": now}
        message = {
            "type": "send",
            "id": str(self.sent),
            "to": {"user": self.peer},
            "client_msg_id": f"{self.name}-{self.sent}",
            "kind": "text",
            "body": body,
        }
        self.transport.write(frame(json.dumps(message, separators=(",", ":")).encode()))

    def data_received(self, data: bytes) -> None:
        """Count answers and messages by their opening words; keep the window full."""
        self._buffer += data
        if self._hello is not None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._buffer[: end + 4]
            self.transport.write(self._hello)
            self._hello = None
        for payload in self._frames():
            if payload.startswith(b'{"type":"message"'):
                self.tally.pushed += 1
                self._note_wait(payload)
            elif payload.startswith(b'{"type":"ok"'):
                self.tally.accepted += 1
                if self.left and not self._paced:
                    self._send()
                self._answered()
            elif payload.startswith(b'{"type":"welcome"'):
                self.welcomed.set_result(None)
            elif payload.startswith(b'{"type":"error"'):
                self.tally.refused += 1

    def _frames(self) -> Iterator[bytes]:
        buffer = self._buffer
        at = 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if start + size > len(buffer):
                break
            yield bytes(buffer[start : start + size])
            at = start + size
        del buffer[:at]

    def _answered(self) -> None:
        self._outstanding -= 1
        if self._outstanding == 0:
            self.done.set_result(None)

    def _note_wait(self, payload: bytes) -> None:
        at = payload.find(b'"t":')
        if at < 0 or self._own in payload:
            return
        sent = float(payload[at + 4 : payload.index(b"}", at)])
        if sent:
            self.tally.waits.append(time.perf_counter() - sent)


async def run(hub: Cluster, node_pid: int, arguments: argparse.Namespace, number: int) -> dict[str, float]:
    """One run; everything it measured."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    names = [f"u{number}-{index}" for index in range(arguments.senders)]
    tokens = {
        name: hub.request("POST", f"{hub.url('a')}/v1/tokens", {"user": name})["token"] for name in names
    }
    port = int(hub.url("a").rpartition(":")[2])
    sockets: list[LoadSocket] = []
    for index, name in enumerate(names):
        peer = names[index ^ 1] if index ^ 1 < len(names) else names[0]
        _, protocol = await loop.create_connection(
            partial(LoadSocket, tally, name, peer, tokens[name], arguments.window), "127.0.0.1", port
        )
        sockets.append(protocol)
    await asyncio.gather(*(socket.welcomed for socket in sockets))
    each = arguments.messages // len(sockets)
    before, own, started = cpu_of(node_pid), time.process_time(), time.perf_counter()
    for socket in sockets:
        if arguments.rate:
            socket.pace(each, len(sockets) / arguments.rate)
        else:
            socket.start(each)
    await asyncio.gather(*(socket.done for socket in sockets))
    elapsed = time.perf_counter() - started
    cpu, generator = cpu_of(node_pid) - before, time.process_time() - own
    await asyncio.sleep(0.5)
    for socket in sockets:
        socket.transport.close()
    waits = sorted(tally.waits) or [0.0]
    return {
        "messages/s": tally.accepted / elapsed,
        "messages/s per core of hub CPU": tally.accepted / cpu,
        "pushes per message": tally.pushed / tally.accepted,
        "hub CPU share": cpu / elapsed,
        "generator CPU share": generator / elapsed,
        "median ms": statistics.median(waits) * 1000,
        "p99 ms": waits[int(len(waits) * 0.99)] * 1000,
        "refused": tally.refused,
    }


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main() -> None:
    """Print the medians of the runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--senders", type=int, default=50)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0, help="messages/s over all sockets; 0: as many as go")
    parser.add_argument("--database", default="")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        database = arguments.database or f"sqlite+aiosqlite:///{folder}/hub.db"
        limits = {"HUB_FRAMES_PER_SECOND": "100000", "HUB_LOG_LEVEL": "WARNING"}
        with cluster(Path(folder), database, **limits) as hub:
            hub.start_node("a")
            pid = hub.pid("a")
            os.sched_setaffinity(pid, {0})
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {0})
            os.sched_setaffinity(0, {1})
            assert isinstance(hub.redis, RedisServer)
            os.sched_setaffinity(hub.redis.pid, {1})
            results = [uvloop.run(run(hub, pid, arguments, number)) for number in range(arguments.repeat)]
    print(
        f"chat: {arguments.messages} messages, {arguments.senders} sockets, medians of {arguments.repeat} runs"
    )
    for name in results[0]:
        print(f"  {name:32} {statistics.median(result[name] for result in results):10.2f}")


if __name__ == "__main__":
    main()
