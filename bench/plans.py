"""Both storage plans in one run: messages a second through the real engine, bytes a message, and what a crash loses.

python -m bench plans [--seconds 4] [--users 200]

Each case has a database and a Redis of its own; the process that writes and Redis are killed (SIGKILL) in the middle of
a load, Redis is started again from its file, and what had been acknowledged is looked for: once with all that it wrote,
and once without its last second, as after a power cut (nothing is taken where it syncs before it answers).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from hub.bootstrap_limits import engine_limits
from hub.bootstrap_store import open_chosen_store
from hub.core.channel import Registry
from hub.core.engine import Engine, Ports, open_engine
from hub.core.message import AppId, Draft, MessageId, ToUser, UserKey
from hub.embedded.engine import Engine as RedisEngine
from hub.embedded.engine import find_program
from hub.redis_link import RedisLink, open_redis
from hub.settings import Settings
from hub.store.ids import new_id
from hub.store.migrate import upgrade
from hub.store.queue_redis import RedisSequencer, RedisTail
from hub.store.sql import SqlStore
from hub.store.sql_chat import SqlChat
from hub.store.tables import App, User

APP = AppId("app_bench")
BODY = '{"text":"' + "字" * 60 + '"}'
FLIGHT = 500
"""Messages under way at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and how its Redis writes to disk."""

    store: str
    fsync: str

    @property
    def name(self) -> str:
        """For the table."""
        return f"plan {1 if self.store == 'redis' else 2}, {self.fsync}"


CASES = (Case("sql", "everysec"), Case("redis", "everysec"), Case("redis", "always"))


@dataclass(slots=True)
class Figures:
    """What was measured of a case."""

    rate: float = 0.0
    redis_bytes: float = 0.0
    sql_bytes: float = 0.0
    per_user: float = 0.0
    acknowledged: int = 0
    killed: int = 0
    cut: int = 0


class Quiet:
    """Nobody listens and nothing is delivered elsewhere."""

    async def publish(self, batch: object) -> None:
        """Nothing."""

    async def signal(self, users: object, frame: object) -> None:
        """Nothing."""

    async def schedule(self, channel: str, deliveries: object, **_: object) -> None:
        """Nothing."""


class Redis:
    """A server that can be killed and started again from its file."""

    def __init__(self, folder: Path, fsync: str) -> None:
        self._engine = RedisEngine(find_program(), folder / "redis", folder / "redis" / "s")
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._engine.socket}"

    def start(self) -> None:
        """Until it answers."""
        self._engine.prepare()
        words = [*self._engine.command(), "--appendfsync", self._fsync]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._engine.answers():
            if time.monotonic() > deadline:
                raise SystemExit("Redis does not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would, as far as the process knows."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def written(self) -> int:
        """Bytes of the append-only file that is written now."""
        return self._file(self._engine.directory).stat().st_size

    def copy(self, to: Path) -> Path:
        """Its files, while it does not run."""
        files = self._engine.directory / "appendonlydir"
        return Path(shutil.copytree(files, to, dirs_exist_ok=True))

    def restore(self, kept: Path, size: int | None) -> None:
        """The files of a copy, cut to a size."""
        files = self._engine.directory / "appendonlydir"
        shutil.rmtree(files)
        shutil.copytree(kept, files)
        if size is not None:
            os.truncate(self._file(self._engine.directory), size)

    def _file(self, directory: Path) -> Path:
        return max((directory / "appendonlydir").glob("*.incr.aof"))


def settings_of(case: Case, folder: Path, redis: str) -> Settings:
    """Of one case, in a folder of its own."""
    return Settings(
        data_dir=folder,
        database_url=f"sqlite+aiosqlite:///{folder / 'hub.db'}",
        redis_url=redis,
        store="redis" if case.store == "redis" else "sql",
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Engine, SqlStore, RedisLink]]:
    """The real engine over the chosen store."""
    async with open_redis(settings.redis) as link, open_chosen_store(settings, link) as store:
        quiet = Quiet()
        ports = Ports(
            messages=store,
            chat=SqlChat(store.database),
            deliveries=store,
            routing=store,
            parking=store,
            sequencer=RedisSequencer(link, tail_ttl=settings.tail_ttl),
            tail=RedisTail(link, size=settings.tail_size, ttl=settings.tail_ttl),
            broker=quiet,
            executor=quiet,
            channels=Registry([]),
            clock=lambda: datetime.now(UTC),
            new_id=new_id,
        )
        async with open_engine(ports, engine_limits(settings)) as engine:
            yield engine, store, link


async def people(store: SqlStore, count: int) -> None:
    """The app and its users."""
    at = datetime.now(UTC)
    async with store.database.writing() as connection:
        await connection.execute(insert(App).values(id=APP, name="bench", settings="{}", created_at=at))
        rows = [{"id": n, "app_id": APP, "user_id": f"u{n}", "created_at": at} for n in range(1, count + 1)]
        await connection.execute(insert(User), rows)


def draft(number: int, users: int) -> Draft:
    """From one of a pair to the other."""
    pair = number % (users // 2)
    sender, other = UserKey(2 * pair + 1), UserKey(2 * pair + 2)
    id_ = MessageId(new_id("msg"))
    return Draft(
        id_, APP, sender, f"u{sender}", ToUser(other), "text", BODY, datetime.now(UTC), client_msg_id=id_[4:]
    )


async def load(engine: Engine, users: int, seconds: float, told: int | None = None) -> tuple[int, float]:
    """Send for that long, FLIGHT at a time; ids that were acknowledged go to a file, if one is given."""
    sent = 0
    began = time.monotonic()

    async def sender(offset: int) -> None:
        nonlocal sent
        number = offset
        while time.monotonic() - began < seconds:
            answer = await engine.submit(draft(number, users))
            number += FLIGHT
            sent += 1
            if told is not None:
                os.write(told, f"{answer.message}\n".encode())

    await asyncio.gather(*(sender(n) for n in range(FLIGHT)), return_exceptions=told is not None)
    return sent, time.monotonic() - began


async def measured(case: Case, folder: Path, redis: Redis, users: int, seconds: float) -> Figures:
    """Rate and sizes."""
    settings = settings_of(case, folder, redis.url)
    upgrade(settings)
    figures = Figures()
    async with opened(settings) as (engine, store, link):
        await people(store, users)
        await asyncio.gather(*(engine.submit(draft(n, users)) for n in range(users)))
        await engine.publisher.idle()
        before = await sizes(link, folder)
        sent, took = await load(engine, users, seconds)
        await engine.publisher.idle()
        after = await sizes(link, folder)
    figures.rate = sent / took
    figures.redis_bytes = (after[0] - before[0]) / sent
    figures.sql_bytes = (after[1] - before[1]) / sent
    figures.per_user = after[0] / users
    return figures


async def sizes(link: RedisLink, folder: Path) -> tuple[int, int]:
    """Bytes in Redis' memory and in the database's files."""
    info = await link.ask("INFO", "memory")
    fields = dict(line.partition(b":")[::2] for line in info.splitlines())
    return int(fields[b"used_memory"]), await asyncio.to_thread(_on_disk, folder)


def _on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("hub.db*"))


def crashed(case: Case, folder: Path, redis: Redis, users: int, seconds: float) -> tuple[int, int, int]:
    """(acknowledged, missing after both were killed in the middle of a load, missing after a power cut). The power cut
    is played: what Redis wrote in the last second, and had not synced for certain, is taken from its file."""
    told = folder / "told"
    words = [sys.executable, "-m", "bench.plans", "--load", str(folder), case.store, redis.url, str(users)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not told.exists() or told.stat().st_size == 0:
        if time.monotonic() > deadline or process.poll() is not None:
            raise SystemExit("the load did not begin")
        time.sleep(0.05)
    time.sleep(seconds - 1)
    synced = redis.written()
    time.sleep(1)
    redis.kill()
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = redis.copy(folder / "kept")
    redis.start()
    acknowledged, killed = asyncio.run(missing(case, folder, redis))
    redis.kill()
    redis.restore(kept, None if case.fsync == "always" else synced)
    redis.start()
    return acknowledged, killed, asyncio.run(missing(case, folder, redis))[1]


async def missing(case: Case, folder: Path, redis: Redis) -> tuple[int, int]:
    """Of the ids that were written down, how many there are and how many the store does not have."""
    lines = (folder / "told").read_text().splitlines()
    ids = [MessageId(line) for line in lines if len(line) == 36]
    async with opened(settings_of(case, folder, redis.url)) as (_, store, _link):
        found = 0
        for start in range(0, len(ids), 500):
            found += len(await store.messages(ids[start : start + 500]))
    return len(ids), len(ids) - found


async def load_for_ever(folder: Path, store: str, redis: str, users: int) -> None:
    """The process that is killed."""
    told = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with opened(settings_of(Case(store, ""), folder, redis)) as (engine, _, _link):
        await load(engine, users, 600, told)


def run(case: Case, users: int, seconds: float) -> Figures:
    """One case, from an empty folder."""
    with tempfile.TemporaryDirectory(prefix="hub-plans-") as name:
        folder = Path(name)
        redis = Redis(folder, case.fsync)
        redis.start()
        try:
            figures = asyncio.run(measured(case, folder, redis, users, seconds))
            figures.acknowledged, figures.killed, figures.cut = crashed(case, folder, redis, users, seconds)
        finally:
            redis.kill()
    return figures


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1 and sys.argv[1] == "--load":
        folder, store, redis, users = sys.argv[2:]
        asyncio.run(load_for_ever(Path(folder), store, redis, int(users)))
        return
    parser = argparse.ArgumentParser(prog="bench plans", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load, in each of two loads of a case")
    parser.add_argument("--users", type=int, default=200)
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, SQLite (synchronous=FULL)")
    names = (
        "case",
        "messages/s",
        "Redis bytes/message",
        "Redis bytes/user",
        "SQL bytes/message",
        "acknowledged",
    )
    print(f"| {' | '.join(names)} | lost by SIGKILL | by a power cut |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in CASES:
        found = run(case, given.users, given.seconds)
        print(
            f"| {case.name} | {found.rate:,.0f} | {found.redis_bytes:,.0f} | {found.per_user:,.0f} "
            f"| {found.sql_bytes:,.0f} | {found.acknowledged:,} | {found.killed:,} | {found.cut:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
