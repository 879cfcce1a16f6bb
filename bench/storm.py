"""Everybody comes back at once: clients that all resume against one node, on another core than its own.

Each client has a queue with some entries and says hello with a cursor a few behind. Measured: the time until all have
everything, what was lost, and the round trip of healthy sessions meanwhile (a ping each 50 ms, and its pong). Those are
in a process of their own (bench/prober.py), whose own lateness is printed beside: thousands of clients in one process
hold each other up. The load average says what else the machine did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.chat import cpu_of
from bench.chat import frame as text_frame
from hub.embedded.web import allow_many_files
from tests.services import RedisServer
from tests.support.cluster import Cluster, cluster

_HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: hub.v1\r\n\r\n"
)
_HEALTHY = 50
_BEFORE = 1.0
"""Seconds of calm before the storm."""
_TICK = 0.005


@dataclass
class Storm:
    """What all clients have seen."""

    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    refused: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    transports: list[asyncio.Transport] = field(default_factory=list)
    trips: list[tuple[float, float]] = field(default_factory=list)
    """When a ping was sent, and how long its pong took."""

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
            sent = self._pings.pop(json.loads(payload)["id"])
            self._storm.trips.append((sent, time.perf_counter() - sent))
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

    @property
    def unanswered(self) -> int:
        """Pings that have no pong yet."""
        return len(self._pings)

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


@dataclass
class Healthy:
    """What sessions saw that were there before."""

    trips: list[tuple[float, float]] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)
    unanswered: int = 0


@asynccontextmanager
async def healthy(port: int, tokens: list[str]) -> AsyncIterator[Healthy]:
    """Sessions that are there already and keep talking; what they saw is known at the end."""
    pipe = asyncio.subprocess.PIPE
    prober = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.prober", stdin=pipe, stdout=pipe, limit=1 << 26
    )
    assert prober.stdin is not None
    assert prober.stdout is not None
    seen = Healthy()
    prober.stdin.write(json.dumps({"port": port, "tokens": tokens}).encode() + b"\n")
    if await prober.stdout.readline() != b"ready\n":
        message = "the healthy sessions were not welcomed"
        raise SystemExit(message)
    try:
        yield seen
    finally:
        prober.stdin.close()
        told: dict[str, Any] = json.loads(await prober.stdout.readline() or b"{}")
        await prober.wait()
        seen.trips, seen.lags = told.get("trips", []), told.get("lags", [])
        seen.unanswered = told.get("unanswered", 0)


async def own_lags(lags: list[float]) -> None:
    """How late this process is itself, until it is cancelled."""
    due = time.perf_counter()
    while True:
        due = max(due + _TICK, time.perf_counter())
        await asyncio.sleep(due - time.perf_counter())
        lags.append(max(0.0, time.perf_counter() - due))


def between(points: Sequence[tuple[float, float]], begin: float, end: float) -> list[float]:
    """The values of a span of time, in order of size; one nought where there are none."""
    return sorted(value for at, value in points if begin <= at < end) or [0.0]


def p99(values: Sequence[float]) -> float:
    """Of values in order, in milliseconds."""
    return values[int(len(values) * 0.99)] * 1000


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


async def resume(storm: Storm, port: int, arguments: argparse.Namespace, tokens: list[str]) -> None:
    """All of them at once, until all have everything."""
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
    storm.transports = await asyncio.gather(*returning)


async def run(hub: Cluster, arguments: argparse.Namespace, tokens: list[str], pid: int) -> dict[str, float]:
    """One storm."""
    port = int(hub.url("a").rpartition(":")[2])
    storm, late = Storm(left=len(tokens)), list[float]()
    calm = [
        hub.request("POST", f"{hub.url('a')}/v1/tokens", {"user": f"calm-{n}"})["token"]
        for n in range(_HEALTHY)
    ]
    async with healthy(port, calm) as seen:
        await asyncio.sleep(_BEFORE)
        watching = asyncio.create_task(own_lags(late))
        cpu, own, began = cpu_of(pid), time.process_time(), time.perf_counter()
        await resume(storm, port, arguments, tokens)
        ended, spent = time.perf_counter(), cpu_of(pid) - cpu
        mine = time.process_time() - own
        watching.cancel()
    for transport in storm.transports:
        transport.close()
    before, trips = between(seen.trips, 0, began), between(seen.trips, began, ended)
    late.sort()
    await asyncio.sleep(1.0)
    return {
        "all in sync, s": ended - began,
        "lost or out of order": storm.lost,
        "told to come back later": storm.refused,
        "median resume, s": statistics.median(storm.waits) - began,
        "healthy p50 before, ms": before[len(before) // 2] * 1000,
        "healthy p99 before, ms": p99(before),
        "healthy p50 meanwhile, ms": trips[len(trips) // 2] * 1000,
        "healthy p99 meanwhile, ms": p99(trips),
        "healthy worst meanwhile, ms": trips[-1] * 1000,
        "pings meanwhile": len(trips),
        "pings never answered": seen.unanswered,
        "prober late itself, p99, ms": p99(between(seen.lags, began, ended)),
        "generator late itself, p99, ms": p99(late or [0.0]),
        "hub CPU per resume, ms": spent / len(tokens) * 1000,
        "hub CPU share": spent / (ended - began),
        "generator CPU share": mine / (ended - began),
        "load average": os.getloadavg()[0],
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
            assert isinstance(hub.redis, RedisServer)
            os.sched_setaffinity(hub.redis.pid, {1})
            results = [uvloop.run(run(hub, arguments, tokens, pid)) for _ in range(arguments.repeat)]
    print(f"storm: {arguments.clients} clients resume at once, medians of {arguments.repeat} runs")
    for name in results[0]:
        print(f"  {name:32} {statistics.median(result[name] for result in results):10.2f}")


if __name__ == "__main__":
    main()
