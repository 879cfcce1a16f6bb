"""What a delivery costs a gateway process, and what an idle connection weighs.

    python -m bench.fanout [--sockets 1000] [--idle 5000] [--rounds 100] [--repeat 3]

The server (a real uvicorn with the gateway, and an engine and people that do nothing) runs on one core, the readers on
another. The floor is a C program that does one send() a message over as many sockets, in the same run.
"""

# ruff: noqa: ARG002, ASYNC110

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
import uvloop

from bench.fanout_peers import Process, Readers, floor, pin
from hub.channels.ws.frames import encode
from hub.channels.ws.gateway import SocketGateway
from hub.channels.ws.node import Node
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.protocol import server_options
from hub.channels.ws.routes import SocketApp
from hub.channels.ws.sightings import SessionInfo
from hub.core.identity import Device, EndUser, Platform, SocketPolicy
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    Entry,
    HistoryPage,
    Message,
    MessageId,
    Page,
    Published,
    UserKey,
)
from hub.settings import Settings

APP = AppId("app_bench")
BODY = '{"text":"' + "x" * 189 + '"}'
BURST = 20


def first_number(user: int) -> int:
    """How long a user's queue is already: everybody's next number is another one, as in life."""
    return 1_000 + user * 7_919 % 90_000


class Nothing:
    """Engine, people, presence and broker in one, without any content."""

    async def submit(self, draft: Draft) -> Accepted:
        return Accepted(draft.id, ConversationId("cnv"), 1, self.clock())

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        return Page((), next=after, more=False)

    async def heads(self, users: Sequence[UserKey]) -> list[int]:
        return [first_number(int(user)) for user in users]

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        return HistoryPage((), more=False)

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        return

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        return

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{random.getrandbits(96):024x}"

    def clock(self) -> datetime:
        return datetime.now(UTC)

    async def publish(self, batch: Sequence[Published]) -> None:
        return

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        return

    async def authenticate(self, token: str) -> EndUser:
        return EndUser(
            APP,
            UserKey(int(token)),
            f"user-{token}",
            self.clock() + timedelta(hours=1),
            frozenset({"read", "write"}),
        )

    async def device(self, user: EndUser, device_id: str, platform: Platform, name: str) -> Device:
        return Device(DeviceKey(int(user.key)), device_id, platform, name, first_number(int(user.key)))

    async def socket_policy(self, app: AppId) -> SocketPolicy:
        return SocketPolicy(5, replace_oldest=True)

    async def user_key(self, app: AppId, user_id: str) -> UserKey | None:
        return None

    async def user_ids(self, users: Collection[UserKey]) -> Mapping[UserKey, str]:
        return {}

    async def acquainted(self, user: UserKey, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        return {}

    async def members(self, conversation: ConversationId, user: UserKey) -> Sequence[UserKey]:
        return ()

    async def read_diffused(self, user: UserKey) -> Mapping[ConversationId, int]:
        return {}

    async def seen(self, users: Mapping[UserKey, datetime]) -> None:
        return

    async def register(self, session: object) -> None:
        return

    async def unregister(self, session: object) -> None:
        return

    async def online(self, users: Collection[UserKey]) -> Mapping[UserKey, dict[str, object]]:
        return {}

    async def nodes_of(self, users: Collection[UserKey]) -> Mapping[str, Collection[UserKey]]:
        return {}

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[SessionInfo]]:
        return {}

    async def others(self) -> Collection[str]:
        return ()

    async def poll(self, user: UserKey) -> None:
        return

    async def unpoll(self, users: Collection[UserKey]) -> None:
        return

    async def watch(self, users: Collection[UserKey]) -> None:
        return

    async def unwatch(self, users: Collection[UserKey]) -> None:
        return


class Numbers:
    """The queue of each user, as far as its length."""

    def __init__(self) -> None:
        self.heads: dict[int, int] = {}
        self.seq = 0

    def parcel(self, users: Sequence[int]) -> Parcel:
        """A new message for these users."""
        self.seq += 1
        entries = []
        for user in users:
            head = self.heads[user] = self.heads.get(user, first_number(user)) + 1
            entries.append(Entry(UserKey(user), head, MessageId("")))
        message = Message(
            MessageId(f"msg_{self.seq:024x}"), APP, ConversationId("cnv_5qy6xi7jxr7tv6zt3vjt4gnozm"), self.seq,
            UserKey(1), "user-1", "text", BODY, datetime.now(UTC),
        )  # fmt: skip
        return encode(Published(message, tuple(entries)))


def rss_kib() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


# The server process


async def serve(sockets: int) -> None:
    """Obeys lines on stdin: `broadcast N`, `unicast N`, `burst N`, `memory`, `quit`."""
    settings = Settings(max_connections=100_000, hello_timeout=timedelta(seconds=60))
    node, nothing = Node(), Nothing()
    gateway = SocketGateway(
        node=node, engine=nothing, people=nothing, presence=nothing, broker=nothing, settings=settings
    )
    async with gateway:
        config = uvicorn.Config(
            SocketApp(gateway, settings), port=0, log_level="critical", access_log=False, lifespan="off",
            proxy_headers=False, **server_options(settings),
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        numbers = Numbers()
        lines: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        threading.Thread(target=_pump, args=(loop, lines), daemon=True).start()
        while (line := await lines.get()) not in ("quit", ""):
            what, _, amount = line.partition(" ")
            print(json.dumps(await measure(what, int(amount or 0), node, numbers, sockets)), flush=True)
        server.should_exit = True
        await running


def _pump(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line.strip())
    loop.call_soon_threadsafe(lines.put_nowait, "")


async def measure(what: str, rounds: int, node: Node, numbers: Numbers, sockets: int) -> dict[str, float]:
    """CPU seconds and deliveries of one case."""
    if what == "memory":
        gc.collect()
        return {"rss_kib": rss_kib(), "sessions": len(node.seats), "cpu": time.process_time()}
    everybody = list(range(1, sockets + 1))
    if what == "broadcast":
        calls = [[numbers.parcel(everybody)] for _ in range(rounds)]
    elif what == "unicast":
        calls = [[numbers.parcel([random.choice(everybody)])] for _ in range(rounds * sockets)]
    elif what == "batched":
        calls = [
            [numbers.parcel([random.choice(everybody)]) for _ in range(50)]
            for _ in range(rounds * sockets // 50)
        ]
    else:
        calls = [[numbers.parcel(everybody) for _ in range(BURST)] for _ in range(rounds)]
    await asyncio.sleep(0.2)
    before, pushed = time.process_time(), node.pushed
    for parcels in calls:
        node.push(parcels)
        await asyncio.sleep(0)
    used = time.process_time() - before
    await asyncio.sleep(0.3)
    return {"cpu": used, "deliveries": node.pushed - pushed, "held_back": node.held_back}


# The run


def hub(sockets: int, rounds: int, repeat: int) -> dict[str, float]:
    """Microseconds a delivery of the gateway."""
    process = Process([sys.executable, "-m", "bench.fanout", "--serve", str(sockets)])
    readers = Readers(process.port)
    readers.connect(sockets, hello=True)
    readers.start()
    result = {}
    for what in ("broadcast", "unicast", "batched", "burst"):
        costs = []
        for _ in range(repeat):
            amount = max(1, rounds // BURST) if what == "burst" else rounds
            answer = json.loads(process.ask(f"{what} {amount}"))
            assert answer["held_back"] == 0, answer
            costs.append(answer["cpu"] / answer["deliveries"] * 1e6)
        result[what] = statistics.median(costs)
    print(f"readers received {readers.received:,} bytes")
    process.close()
    return result


def idle(count: int) -> tuple[float, float]:
    """KiB of resident memory for one idle authenticated connection, and microseconds of CPU to accept it."""
    process = Process([sys.executable, "-m", "bench.fanout", "--serve", "1"])
    readers = Readers(process.port)
    readers.connect(200, hello=True)
    before = json.loads(process.ask("memory"))
    readers.connect(count, hello=True)
    after = json.loads(process.ask("memory"))
    process.close()
    assert after["sessions"] - before["sessions"] == count, after
    cpu = (after["cpu"] - before["cpu"]) / count * 1e6
    return float(after["rss_kib"] - before["rss_kib"]) / count, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--idle", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return
    pin(1)
    kib, cpu = idle(options.idle)
    print(f"idle connection: {kib:.1f} KiB resident, {cpu:.0f} us of CPU from handshake to welcome")
    costs = hub(options.sockets, options.rounds, options.repeat)
    size = len(Numbers().parcel([1]).rest) + 30
    base = floor(options.sockets, options.rounds, size, options.repeat)
    for what, cost in costs.items():
        c = base.get("unicast" if what in ("unicast", "batched") else "broadcast")
        ratio = f"{c / cost:.2f} of the C loop ({c:.2f} us)" if c else ""
        print(f"{what:10} {cost:6.2f} us a delivery, {1e6 / cost:9,.0f} a second and core  {ratio}")


if __name__ == "__main__":
    main()
