"""Real Celery workers, killed while they deliver, and a broker that comes back empty: every delivery still ends."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from hub.core.delivery import DeliveryState
from hub.core.message import UserKey
from hub.core.policy import Hop, Policy, Success
from hub.settings import Settings
from tasks.app import make_app
from tasks.queue import CeleryExecutor
from tests.fakes.channel import ScriptedChannel
from tests.services import ChosenRedis, start_chosen_redis
from tests.services.process import Process
from tests.support.cluster import SECRET
from tests.support.engine import Rig, open_rig

pytestmark = pytest.mark.worker
POLICY = Policy((Hop("folder", Success.ACCEPTED),))
USERS = range(1, 21)


class Worker(Process):
    """A worker process; it is ready when its log says so once more."""

    def __init__(self, command: list[str], log: Path) -> None:
        super().__init__(command, log=log, ready=lambda _: self._greetings() > self._greeted)
        self._greeted = 0

    def start(self) -> None:
        self._greeted = self._greetings()
        super().start()

    def _greetings(self) -> int:
        return self.log.read_text(errors="replace").count(" ready.") if self.log.exists() else 0


@contextmanager
def worker(directory: Path, settings: Settings, redis: ChosenRedis, pool: str) -> Iterator[Process]:
    """A worker with beat that delivers into `directory/provider`."""
    (directory / "provider").mkdir(exist_ok=True)
    log = directory / "worker.log"
    environment = {
        "HUB_DATA_DIR": directory,
        "HUB_DATABASE_URL": settings.database_url,
        **redis.environment,
        "HUB_SECRET_KEY": SECRET,
        "HUB_DELIVERY_LEASE": "2",
        "HUB_DELIVERY_BATCH": "20",
        "HUB_TEST_PROVIDER": directory / "provider",
        "PYTHONPATH": Path.cwd(),
    }
    words = f"-m celery -A tests.support.worker_app:app worker -B -P {pool} -c 2 --without-gossip --without-mingle"
    queues = f"-l INFO -s {directory / 'beat'}"
    command = [
        "env",
        *(f"{k}={v}" for k, v in environment.items()),
        sys.executable,
        *f"{words} {queues}".split(),
    ]

    process = Worker(command, log)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def settings_for(directory: Path, redis: ChosenRedis) -> Settings:
    return Settings(
        data_dir=directory,
        database_url=f"sqlite+aiosqlite:///{directory / 'hub.db'}",
        redis_url=redis.url,
        broker_url=redis.broker_url,
        delivery_lease=timedelta(seconds=2),
        delivery_batch=20,
    )


async def states(rig: Rig) -> Counter[DeliveryState]:
    rows = await rig.store.open_of_users([UserKey(user) for user in USERS])
    return Counter(row.state for row in rows)


async def until_accepted(rig: Rig, provider: Path, count: int) -> None:
    async with asyncio.timeout(60):
        while len(list(provider.iterdir())) < count or (await states(rig)).keys() - {DeliveryState.ACCEPTED}:
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.timeout(120)
async def test_killing_workers_loses_no_delivery(tmp_path: Path, pool: str) -> None:
    with start_chosen_redis(tmp_path) as redis:
        settings = settings_for(tmp_path, redis)
        executor = CeleryExecutor(make_app(settings), batch=settings.delivery_batch)
        async with open_rig(settings, ScriptedChannel("folder"), executor=executor) as rig:
            with worker(tmp_path, settings, redis, pool) as process:
                for _ in range(10):
                    await rig.engine.submit(rig.notice(*USERS, policy=POLICY))
                for _ in range(3):
                    await asyncio.sleep(0.7)
                    await asyncio.to_thread(process.kill)
                    await asyncio.to_thread(process.start)
                await until_accepted(rig, tmp_path / "provider", 200)
    tries = [len(file.read_text().splitlines()) for file in (tmp_path / "provider").iterdir()]
    assert len(tries) == 200
    assert max(tries) <= 4, "a try that was cut short may be repeated, but not more often than workers died"


@pytest.mark.timeout(120)
async def test_a_broker_that_comes_back_empty_loses_no_delivery(tmp_path: Path) -> None:
    with start_chosen_redis(tmp_path) as redis:
        settings = settings_for(tmp_path, redis)
        executor = CeleryExecutor(make_app(settings), batch=settings.delivery_batch)
        async with open_rig(settings, ScriptedChannel("folder"), executor=executor) as rig:
            for _ in range(5):
                await rig.engine.submit(rig.notice(*USERS, policy=POLICY))
            await rig.engine.drain()
            redis.broker.flush()
            with worker(tmp_path, settings, redis, "threads"):
                await until_accepted(rig, tmp_path / "provider", 100)
