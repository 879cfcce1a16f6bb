"""Growth: what a send, a page and the conversation list cost in a hub with a million messages, and how large it is.

    python -m bench.growth [--messages 1000000] [--users 10000] [--plan sql|redis] [--rounds 200] [--json FILE]

Two hubs are filled through the real engine with the same people: one with a message or so a conversation, one with all
the messages. Then both are measured in turns, so that whatever else the machine does meets both alike. Pages are
full in both, and no body that a process remembers makes one cheaper.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.growth_world import APP, HEAVY, World, opened, redis_memory
from hub.core.message import SeqKey, UserKey
from hub.core.records import PageRequest
from hub.progress import Progress

GOAL: Final = 1.3
_PAGE: Final = 50
_FULL: Final = 2 * _PAGE
_WARM_SHARE: Final = 100
"""The small hub holds one message in so many, and at least one a conversation (pages full, in those that are read)."""
_SAMPLE: Final = 500

Operation = Callable[[World, random.Random], Awaitable[object]]


async def _send(world: World, seed: random.Random) -> None:
    await world.hub.engine.submit(world.draft(seed.choice(world.rooms)))


async def _sync_newest(world: World, seed: random.Random) -> None:
    user = seed.choice(seed.choice(world.heavy_rooms).members)
    head = await world.hub.engine.head(user)
    await world.hub.engine.sync(user, after=max(0, head - _PAGE), limit=_PAGE)


async def _sync_middle(world: World, seed: random.Random) -> None:
    """From the truth: past what is kept in memory, in the long queue."""
    head = await world.hub.engine.head(HEAVY)
    await world.hub.engine.sync(HEAVY, after=seed.randint(0, max(0, head - _PAGE)), limit=_PAGE)


async def _history_newest(world: World, seed: random.Random) -> None:
    room = seed.choice(world.heavy_rooms)
    reader = seed.choice(room.members)
    await world.hub.engine.history(room.id, reader=reader, after=None, before=None, limit=_PAGE)


async def _history_middle(world: World, seed: random.Random) -> None:
    """A page of a busy conversation, wherever it lies."""
    room = seed.choice(world.heavy_rooms)
    key = SeqKey.of_conversation(room.id)
    head = (await world.hub.store.heads([key]))[key]
    before = seed.randint(min(head, _PAGE), head) + 1
    await world.hub.engine.history(room.id, reader=HEAVY, after=None, before=before, limit=_PAGE)


async def _list(world: World, seed: random.Random) -> None:
    user = UserKey(seed.randint(1, world.users))
    await world.hub.directory.conversations_of(APP, user, PageRequest(limit=_PAGE))


OPERATIONS: Final[Mapping[str, Operation]] = {
    "send": _send,
    "sync page, newest": _sync_newest,
    "sync page, long queue": _sync_middle,
    "history page, newest": _history_newest,
    "history page, within": _history_middle,
    "conversation list": _list,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians in milliseconds of one operation in the small hub and in the large one."""

    start: float
    end: float

    @property
    def ratio(self) -> float:
        """How many times the price of the small one the large one asks."""
        return self.end / self.start


async def measure(small: World, large: World, rounds: int, seed: int) -> dict[str, Measured]:
    """Every operation `rounds` times in each hub, in turns."""
    times: dict[str, dict[int, list[float]]] = {name: {0: [], 1: []} for name in OPERATIONS}
    choice = random.Random(seed)
    with Progress("measure", rounds) as bar:
        for _ in range(rounds):
            for name, operation in OPERATIONS.items():
                each = [(0, small), (1, large)]
                choice.shuffle(each)
                for which, world in each:
                    world.forget_bodies()
                    begun = time.perf_counter()
                    await operation(world, choice)
                    times[name][which].append((time.perf_counter() - begun) * 1e3)
            bar.add()
    return {name: Measured(statistics.median(t[0]), statistics.median(t[1])) for name, t in times.items()}


async def settled(world: World) -> None:
    """Until everything committed has been published: its tails are what they will be."""
    for _ in range(600):
        await world.hub.engine.publisher.flush_marks()
        if not await world.hub.store.unpublished(before=world.hub.engine.clock(), limit=1):
            return
        await asyncio.sleep(0.1)


async def sizes(world: World, folder: Path) -> dict[str, Any]:
    """Bytes in SQL and in Redis, and what comes to a message, a user and a reference."""
    sql = await asyncio.to_thread(lambda: sum(file.stat().st_size for file in folder.glob("hub.db*")))
    memory = await redis_memory(world.hub)
    users = random.Random(1).sample(range(1, world.users + 1), min(_SAMPLE, world.users))
    heads = await world.hub.engine.heads([UserKey(user) for user in users])
    references = sum(min(head, world.hub.settings.tail_size) for head in heads) / len(users) * world.users
    grown = memory - world.empty_redis
    return {
        "messages": world.sent,
        "sql_bytes": sql,
        "sql_bytes_per_message": round(sql / world.sent, 1),
        "sql_bytes_per_user": round(sql / world.users, 1),
        "redis_bytes": memory,
        "redis_bytes_per_user": round(grown / world.users, 1),
        "redis_bytes_per_reference": round(grown / max(1.0, references), 1),
        "entries_of_longest_queue": await world.hub.engine.head(HEAVY),
    }


async def tables(world: World) -> Sequence[tuple[str, int]]:
    """The largest tables and indexes of SQLite, in bytes; empty where it was not built to tell."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    query = text("SELECT name, SUM(pgsize) AS size FROM dbstat GROUP BY name ORDER BY size DESC LIMIT 12")
    try:
        return [(row.name, row.size) for row in await world.hub.store.database.rows(query)]
    except DBAPIError:
        return []


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fill both hubs and measure them."""
    async with (
        opened(folder / "start", options.plan, options.users, options.seed) as small,
        opened(folder / "end", options.plan, options.users, options.seed) as large,
    ):
        first = [room for room in small.rooms for _ in range(_FULL if HEAVY in room.members else 1)]
        warm = max(len(first), options.messages // _WARM_SHARE)
        with Progress("load", warm + max(warm, options.messages)) as bar:
            begun = time.perf_counter()
            for world in (small, large):
                await world.load([world.draft(room) for room in first], bar)
            await small.grow(warm, bar)
            await large.grow(options.messages, bar)
            seconds = time.perf_counter() - begun
        for world in (small, large):
            await world.read()
            await settled(world)
        of_start, of_end = await sizes(small, folder / "start"), await sizes(large, folder / "end")
        measured = await measure(small, large, options.rounds, options.seed)
        largest = await tables(large)
    return {
        "plan": options.plan,
        "users": options.users,
        "load_seconds": round(seconds, 1),
        "start": of_start,
        "end": of_end,
        "largest_tables": dict(largest),
        "goal_ratio": GOAL,
        "medians_ms": {
            name: {"start": round(m.start, 3), "end": round(m.end, 3), "ratio": round(m.ratio, 2)}
            for name, m in measured.items()
        },
    }


def show(report: Mapping[str, Any]) -> None:
    """Print it for people."""
    start, end = report["start"], report["end"]
    print(
        f"plan {report['plan']}: {start['messages']:,} and {end['messages']:,} messages, {report['users']:,} users"
    )
    print(f"  {'':<24} {'start ms':>10} {'end ms':>10} {'ratio':>7}   goal <= {report['goal_ratio']}")
    for name, row in report["medians_ms"].items():
        over = "" if row["ratio"] <= report["goal_ratio"] else "   over"
        print(f"  {name:<24} {row['start']:>10.3f} {row['end']:>10.3f} {row['ratio']:>7.2f}{over}")
    for name in (
        "sql_bytes_per_message",
        "sql_bytes_per_user",
        "redis_bytes_per_user",
        "redis_bytes_per_reference",
    ):
        print(f"  {name:<26} {start[name]:>12,.1f} {end[name]:>12,.1f}")
    for table, size in report["largest_tables"].items():
        print(f"    {table:<44} {size:>14,} B")
    print(
        f"  longest queue: {end['entries_of_longest_queue']:,} entries; loaded in {report['load_seconds']:,} s"
    )


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--plan", choices=("sql", "redis"), default="sql")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the report here as well")
    parser.add_argument("--folder", type=Path, help="for the data (several GB); default: a temporary one")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hub-growth-", dir=options.folder))
    try:
        report = uvloop.run(run(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(report)
    text = json.dumps(report, ensure_ascii=False, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
