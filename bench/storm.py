"""Everybody comes back at once: clients that all resume against one node, on another core than its own.

Each client has a queue with some entries and says hello with a cursor a few behind. Measured: the time until all have
everything, what was lost, and the round trip of healthy sessions meanwhile (a ping each 50 ms, and its pong).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from bench.chat import cpu_of
from bench.chat import frame as text_frame
from hub.embedded.web import allow_many_files
from tests.support.cluster import Cluster, cluster

_HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: hub.v1\r\n\r\n"
)
_HEALTHY = 50
_PING_EVERY = 0.05


@dataclass
class Storm:
    """What all clients have seen."""

    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    refused: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)

    def synced(self, seconds: float) -> None:
        """One more has everything."""
        self.waits.append(seconds)
        self.left -= 1
        if self.left == 0:
            self.done.set()


class Client(asyncio.Protocol):
    """One client on a raw socket; it comes back when it is told to."""

    def __init__(self, storm: Storm, hello: bytes, cursor: int, head: int) -> None:
        self._storm = storm
        self._hello = hello
        self._at = cursor
        self._head = head
        self._buffer = bytearray()
        self._open = False
        self._began = time.perf_counter()
        self._synced = False
        self.retry_after: float | None = None
        self.gone = asyncio.get_running_loop().create_future()
        self.welcomed = asyncio.get_running_loop().create_future()
        self._pings: dict[int, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        """Count what comes in order."""
        self._buffer += data
        if not self._open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self.retry_after = 1.0
                self.transport.close()
                return
            del self._buffer[: end + 4]
            self._open = True
            self.transport.write(self._hello)
        for payload in self._frames():
            self._take(payload)

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"message","q":'):
            q = int(payload[22 : payload.index(b",", 22)])
            if q != self._at + 1:
                self._storm.lost += 1
            self._at = q
        elif payload.startswith(b'{"type":"welcome"'):
            if not self.welcomed.done():
                self.welcomed.set_result(None)
        elif payload.startswith(b'{"type":"pong"'):
            pong = json.loads(payload)
            self._storm.trips.append(time.perf_counter() - self._pings.pop(pong["id"]))
        elif payload.startswith(b'{"type":"bye"'):
            self._storm.refused += 1
            bye = json.loads(payload)
            if not bye["reconnect"]:
                message = f"sent away for good: {bye}"
                raise SystemExit(message)
            self.retry_after = bye.get("retry_after_s", 1.0)
        if not self._synced and self._at >= self._head and self.welcomed.done():
            self._synced = True
            self._storm.synced(time.perf_counter())

    def ping(self, number: int) -> None:
        """A heartbeat whose answer is timed."""
        self._pings[number] = time.perf_counter()
        self.transport.write(text_frame(json.dumps({"type": "ping", "id": number}).encode()))

    def _frames(self) -> Iterator[bytes]:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if start + size > len(buffer):
                break
            opcode = buffer[at] & 0x0F
            if opcode == 1:
                yield bytes(buffer[start : start + size])
            at = start + size
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The end of this connection."""
        if not self.gone.done():
            self.gone.set_result(None)


def hello_of(token: str, cursor: int) -> bytes:
    """The first frame."""
    device = {"id": "bench", "platform": "app", "name": "bench"}
    hello = {"type": "hello", "id": "h", "token": token, "device": device, "cursor": cursor}
    return text_frame(json.dumps(hello).encode())


async def come_back(storm: Storm, port: int, token: str, cursor: int, head: int) -> asyncio.Transport:
    """One client, until it has everything; it obeys `bye`."""
    loop = asyncio.get_running_loop()
    while True:
        make = partial(Client, storm, hello_of(token, cursor), cursor, head)
        _, client = await loop.create_connection(make, "127.0.0.1", port)
        await asyncio.wait((client.gone, client.welcomed), return_when=asyncio.FIRST_COMPLETED)
        if client.welcomed.done():
            return client.transport
        await asyncio.sleep(client.retry_after if client.retry_after is not None else 0.5)


async def visit(hub: Cluster, tokens: list[str], head: int) -> None:
    """Everybody has been here before: their devices are known."""
    port = int(hub.url("a").rpartition(":")[2])
    storm = Storm(left=len(tokens))
    for start in range(0, len(tokens), 500):
        some = tokens[start : start + 500]
        for transport in await asyncio.gather(*(come_back(storm, port, one, head, head) for one in some)):
            transport.close()
    await asyncio.wait_for(storm.done.wait(), 60)


async def healthy(storm: Storm, port: int, tokens: list[str], stop: asyncio.Event) -> None:
    """Sessions that are there already, and keep talking."""
    loop = asyncio.get_running_loop()
    quiet = Storm(left=len(tokens))
    quiet.trips = storm.trips
    clients = []
    for token in tokens:
        _, client = await loop.create_connection(
            partial(Client, quiet, hello_of(token, 0), 0, 0), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.welcomed for client in clients))
    number = 0
    while not stop.is_set():
        for client in clients:
            number += 1
            client.ping(number)
            await asyncio.sleep(_PING_EVERY / len(clients))
    for client in clients:
        client.transport.close()


def prepare(hub: Cluster, clients: int, entries: int) -> list[str]:
    """Users with queues, and a token for each."""
    names = [f"storm-{number}" for number in range(clients)]
    base = hub.url("a")
    for start in range(0, clients, 500):
        some = [{"user_id": name} for name in names[start : start + 500]]
        hub.request("POST", f"{base}/v1/users/batch", {"users": some})
        for number in range(entries):
            body = {"to": some, "content": {"title": f"n{number}"}, "route": {"steps": [{"channel": "ws"}]}}
            hub.request("POST", f"{base}/v1/notifications", body)
    return names


def signed(hub: Cluster, names: list[str]) -> list[str]:
    """Tokens, signed here with a registered key: minting thousands over HTTP would take longer than the bench."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    made = hub.request("POST", f"{hub.url('a')}/v1/signing-keys", {"alg": "EdDSA", "public_key": pem})
    app = hub.request("GET", f"{hub.url('a')}/v1/signing-keys")["data"][0].get("app_id", "default")
    now = int(time.time())
    claims = {"aud": "hub", "tenant": app, "iat": now, "exp": now + 3600}
    return [
        jwt.encode({**claims, "sub": name}, private, algorithm="EdDSA", headers={"kid": made["kid"]})
        for name in names
    ]


async def run(hub: Cluster, arguments: argparse.Namespace, tokens: list[str], pid: int) -> dict[str, float]:
    """One storm."""
    port = int(hub.url("a").rpartition(":")[2])
    storm, stop = Storm(left=len(tokens)), asyncio.Event()
    calm = [
        hub.request("POST", f"{hub.url('a')}/v1/tokens", {"user": f"calm-{n}"})["token"]
        for n in range(_HEALTHY)
    ]
    talking = asyncio.create_task(healthy(storm, port, calm, stop))
    await asyncio.sleep(1.0)
    before = sorted(storm.trips) or [0.0]
    storm.trips.clear()
    cpu, own, began = cpu_of(pid), time.process_time(), time.perf_counter()
    cursor = arguments.entries - arguments.behind
    returning = [
        asyncio.create_task(come_back(storm, port, token, cursor, arguments.entries)) for token in tokens
    ]
    try:
        async with asyncio.timeout(60):
            await storm.done.wait()
    except TimeoutError:
        message = f"{storm.left} of {len(tokens)} clients never had everything"
        raise SystemExit(message) from None
    elapsed = time.perf_counter() - began
    spent, mine = cpu_of(pid) - cpu, time.process_time() - own
    trips = sorted(storm.trips) or [0.0]
    stop.set()
    await talking
    for transport in await asyncio.gather(*returning):
        transport.close()
    await asyncio.sleep(0.5)
    return {
        "all in sync, s": elapsed,
        "lost or out of order": storm.lost,
        "told to come back later": storm.refused,
        "median resume, s": statistics.median(storm.waits) - began,
        "healthy p50 before, ms": before[len(before) // 2] * 1000,
        "healthy p99 before, ms": before[int(len(before) * 0.99)] * 1000,
        "healthy p50 meanwhile, ms": trips[len(trips) // 2] * 1000,
        "healthy p99 meanwhile, ms": trips[int(len(trips) * 0.99)] * 1000,
        "healthy worst meanwhile, ms": trips[-1] * 1000,
        "hub CPU per resume, ms": spent / len(tokens) * 1000,
        "generator CPU share": mine / elapsed,
    }


def main() -> None:
    """Print the medians of the runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--entries", type=int, default=5, help="in each queue")
    parser.add_argument("--behind", type=int, default=2, help="entries that each client has missed")
    parser.add_argument("--database", default="")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        database = arguments.database or f"sqlite+aiosqlite:///{folder}/hub.db"
        with cluster(Path(folder), database, HUB_LOG_LEVEL="WARNING", HUB_RATE_KEY="0") as hub:
            hub.start_node("a")
            tokens = signed(hub, prepare(hub, arguments.clients, arguments.entries))
            uvloop.run(visit(hub, tokens, arguments.entries))
            pid = hub.pid("a")
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {0})
            os.sched_setaffinity(0, {1})
            os.sched_setaffinity(hub.redis.pid, {1})
            results = [uvloop.run(run(hub, arguments, tokens, pid)) for _ in range(arguments.repeat)]
    print(f"storm: {arguments.clients} clients resume at once, medians of {arguments.repeat} runs")
    for name in results[0]:
        print(f"  {name:32} {statistics.median(result[name] for result in results):10.2f}")


if __name__ == "__main__":
    main()
