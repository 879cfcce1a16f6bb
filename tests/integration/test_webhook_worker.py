"""A real Celery worker posts what is due, and one that is killed between the post and the note of it posts again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.core.message import AppId
from hub.core.records import AppSettings, PageRequest
from hub.core.webhooks import EndpointId, HookState, WebhookEvent, WebhookEventId
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.migrate import upgrade
from hub.store.sql_engine import open_database
from hub.webhooks.signing import verify
from tests.services import ChosenRedis, start_chosen_redis
from tests.services.process import Process
from tests.support.cluster import SECRET
from tests.support.hook_receiver import HookReceiver, open_hook_receiver

pytestmark = pytest.mark.worker
APP = AppId("app_1")


@contextmanager
def worker(folder: Path, settings: Settings, redis: ChosenRedis) -> Iterator[Process]:
    """A worker with beat for webhooks alone, with a lease of four seconds."""
    environment = {
        "HUB_DATA_DIR": folder,
        "HUB_DATABASE_URL": settings.database_url,
        **redis.environment,
        "HUB_SECRET_KEY": SECRET,
        "HUB_WEBHOOK_ALLOW": "127.0.0.1",
        "HUB_WEBHOOK_TIMEOUT": "1",
        "PYTHONPATH": Path.cwd(),
    }
    words = "-m celery -A tasks.app:app worker -B -P threads -c 2 --without-gossip --without-mingle"
    command = [
        "env",
        *(f"{name}={value}" for name, value in environment.items()),
        sys.executable,
        *f"{words} -Q hub.webhooks -l INFO -s {folder / 'beat'}".split(),
    ]
    log = folder / "worker.log"
    process = Process(command, log=log, ready=lambda _: " ready." in log.read_text(errors="replace"))
    process.start()
    try:
        yield process
    finally:
        process.stop()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[DirectoryRooms]:
    """A migrated database with one app."""
    await asyncio.to_thread(upgrade, settings)
    async with open_database(settings) as database:
        rooms = directory_rooms(database, settings, clock=utc_now, new_id=new_id)
        async with rooms.directory.change(APP, actor="test") as change:
            await change.create_app(APP, "商店", AppSettings())
        yield rooms


async def endpoint(rooms: DirectoryRooms, url: str, *events: str) -> tuple[EndpointId, str]:
    async with rooms.directory.change(APP, actor="test") as change:
        made, secret = await change.create_webhook(url, events, "")
    return made.id, secret


async def put(rooms: DirectoryRooms, *types: str) -> list[WebhookEventId]:
    made = [WebhookEvent(WebhookEventId(new_id("evt")), APP, type_, utc_now(), "{}") for type_ in types]
    await rooms.webhooks.put_events(made)
    return [event.id for event in made]


async def until_delivered(rooms: DirectoryRooms, hook: EndpointId, count: int) -> None:
    async with asyncio.timeout(40):
        while True:
            page = await rooms.webhooks.deliveries(hook, PageRequest(200), state=HookState.DELIVERED)
            if len(page.items) >= count:
                return
            await asyncio.sleep(0.1)


async def arrived(receiver: HookReceiver) -> None:
    assert await asyncio.to_thread(receiver.arrived.acquire, timeout=40)


@pytest.mark.timeout(120)
async def test_a_worker_posts_what_is_due_and_again_what_it_died_in(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}",
        secret_key=SecretStr(SECRET),
    )
    with start_chosen_redis(tmp_path) as redis, open_hook_receiver() as receiver:
        async with opened(settings) as rooms:
            fast, secret = await endpoint(rooms, f"{receiver.url}/fast", "fast")
            with worker(tmp_path, settings, redis) as process:
                ids = await put(rooms, *["fast"] * 30)
                await until_delivered(rooms, fast, 30)
                heard = receiver.at("/fast")
                assert sorted(one.headers["webhook-id"] for one in heard) == sorted(ids), "each once"
                for one in heard:
                    verify([secret], one.headers, one.body, now=utc_now())

                for _ in heard:
                    await arrived(receiver)
                slow, _ = await endpoint(rooms, f"{receiver.url}/slow", "slow")
                (event,) = await put(rooms, "slow")
                await arrived(receiver)
                await asyncio.to_thread(process.kill)
                receiver.open.set()
                await asyncio.to_thread(process.start)
                await until_delivered(rooms, slow, 1)
    assert {one.headers["webhook-id"] for one in receiver.at("/slow")} == {event}
    assert len(receiver.at("/slow")) == 2
