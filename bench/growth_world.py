"""A hub that people have used for a while: users, their conversations, and messages through the real engine."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Table, bindparam, insert, update

from hub.bootstrap import Hub, open_hub
from hub.core.body_cache import BodyCache
from hub.core.conversation import direct_id
from hub.core.errors import HubError
from hub.core.message import AppId, ConversationId, Draft, MessageId, SeqKey, ToConversation, UserKey
from hub.embedded.engine import Engine, find_program
from hub.progress import Progress
from hub.settings import Settings
from hub.store.ids import new_id
from hub.store.migrate import upgrade
from hub.store.tables import metadata
from tests.support.engine import HeldExecutor

APP: Final = AppId("app_growth")
HEAVY: Final = UserKey(1)
"""The user whose queue is the long one."""
_FRIENDS: Final = 4
"""Everybody has twice as many direct conversations: with the next ones and the ones before."""
_HEAVY_SHARE: Final = 0.1
"""So many of the messages are for one user: 100,000 of a million."""
_CHUNK: Final = 2_000
_ROWS: Final = 5_000
_WORDS: Final = (
    "会议改到下午三点,地点不变。",
    "收到,谢谢!",
    "The build is green again, shipping it.",
    "请假单已经批了 👍",
    "Could you have a look at the report before noon?",
    "晚上一起吃饭吗?老地方见。",
    "order #20331 has left the warehouse",
    "这个需求下周再排吧,先把手上的做完。",
)


@dataclass(frozen=True, slots=True)
class Room:
    """A conversation of the bench and who is in it."""

    id: ConversationId
    members: tuple[UserKey, ...]


@dataclass(slots=True)
class World:
    """A hub with its people. `sent` counts the messages in it."""

    hub: Hub
    rooms: Sequence[Room]
    users: int
    seed: random.Random
    sent: int = 0
    heavy_rooms: Sequence[Room] = ()
    empty_redis: int = 0

    def draft(self, room: Room) -> Draft:
        """A message of somebody in this conversation."""
        self.sent += 1
        sender = self.seed.choice(room.members)
        text = " ".join(self.seed.choices(_WORDS, k=self.seed.randint(1, 5)))
        return Draft(
            MessageId(new_id("msg")),
            APP,
            sender,
            f"u{sender}",
            ToConversation(room.id),
            "text",
            json.dumps({"text": text}, ensure_ascii=False, separators=(",", ":")),
            datetime.now(UTC),
            client_msg_id=f"c{self.sent}",
        )

    def drafts(self, count: int) -> list[Draft]:
        """Messages all over the place, a tenth of them for one user."""
        heavy = self.seed.random
        return [
            self.draft(self.seed.choice(self.heavy_rooms if heavy() < _HEAVY_SHARE else self.rooms))
            for _ in range(count)
        ]

    def forget_bodies(self) -> None:
        """As if others had been read meanwhile: the next page comes from the store."""
        self.hub.engine.reader._bodies = BodyCache()  # noqa: SLF001

    async def load(self, drafts: Sequence[Draft], bar: Progress) -> None:
        """Send them all through the engine."""
        for start in range(0, len(drafts), _CHUNK):
            await self._submit(drafts[start : start + _CHUNK])
            bar.add(len(drafts[start : start + _CHUNK]))

    async def _submit(self, drafts: Sequence[Draft]) -> None:
        """Until all of them are accepted: a busy store asks to come again."""
        left = list(drafts)
        for attempt in range(20):
            answers = await self.hub.engine.submit_many(left)
            left = [d for d, a in zip(left, answers, strict=True) if isinstance(a, HubError)]
            if not left:
                return
            await asyncio.sleep(0.05 * (attempt + 1))
        message = f"{len(left)} messages were not accepted"
        raise RuntimeError(message)

    async def read(self) -> None:
        """Everybody reads all but the last message of each conversation, as people do who come back now and then."""
        member = metadata.tables["member"]
        for start in range(0, len(self.rooms), _ROWS):
            keys = [SeqKey.of_conversation(room.id) for room in self.rooms[start : start + _ROWS]]
            heads = await self.hub.store.heads(keys)
            rows = [{"room": key.id, "upto": max(0, heads[key] - 1)} for key in keys]
            read = update(member).where(member.c.conversation_id == bindparam("room"))
            async with self.hub.store.database.writing() as connection:
                await connection.execute(read.values(read_seq=bindparam("upto")), rows)

    async def grow(self, total: int, bar: Progress) -> None:
        """Send until `total` messages are in it."""
        while self.sent < total:
            await self.load(self.drafts(min(_CHUNK, total - self.sent)), bar)


@asynccontextmanager
async def opened(folder: Path, plan: str, users: int, seed: int) -> AsyncIterator[World]:
    """A new world in this folder, with an engine of the Redis family of its own: people and no messages."""
    settings = _settings(folder, plan)
    await asyncio.to_thread(upgrade, settings)
    with _engine(settings, folder):
        async with open_hub(settings, executor=HeldExecutor()) as hub:
            rooms = _rooms(users, random.Random(seed))
            await _populate(hub, users, rooms)
            empty = await redis_memory(hub)
            mine = [room for room in rooms if HEAVY in room.members]
            yield World(hub, rooms, users, random.Random(seed), heavy_rooms=mine, empty_redis=empty)


def _settings(folder: Path, plan: str) -> Settings:
    more: dict[str, Any] = {} if plan == "sql" else {"store": plan}
    if not more.keys() <= Settings.model_fields.keys():
        message = "this hub has one storage plan only: --plan sql"
        raise SystemExit(message)
    key = SecretStr(urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return Settings(data_dir=folder, secret_key=key, sandbox=False, **more)


class _engine:  # noqa: N801  (a context manager)
    """An embedded engine, as long as the world lives."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._engine = Engine(find_program(), folder / "redis", settings.embedded_socket)
        self._log = folder / "redis.log"

    def __enter__(self) -> None:
        self._engine.prepare()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._engine.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._engine.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                message = f"the engine did not start: {self._log.read_text(errors='replace')[-400:]}"
                raise RuntimeError(message)
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def _rooms(users: int, seed: random.Random) -> list[Room]:
    """Direct conversations along a ring, and groups of mixed sizes; small ones are many. The choice of a random room
    is then a direct conversation four times in five."""
    people = range(1, users + 1)
    pairs = {
        tuple(sorted((one, (one - 1 + step) % users + 1)))
        for one in people
        for step in range(1, min(_FRIENDS, users - 1) + 1)
    }
    rooms = [Room(direct_id(APP, UserKey(a), UserKey(b)), (UserKey(a), UserKey(b))) for a, b in sorted(pairs)]
    for number in range(users):
        size = seed.randint(3, 15) if number % 7 else seed.randint(20, 60)
        members = sorted(seed.sample(people, min(size, users)))
        rooms.append(Room(ConversationId(f"cnv_group{number}"), tuple(map(UserKey, members))))
    return rooms


async def _populate(hub: Hub, users: int, rooms: Sequence[Room]) -> None:
    now = datetime.now(UTC)
    tables = metadata.tables
    people = (
        {"id": n, "app_id": APP, "user_id": f"u{n}", "name": f"用户 {n}", **_USER, "created_at": now}
        for n in range(1, users + 1)
    )
    app = {"id": APP, "name": "growth", "settings": "{}", "created_at": now}
    conversations = (
        {
            "id": room.id,
            "app_id": APP,
            "kind": "group" if "group" in room.id else "direct",
            "fanout": "write",
            "title": "",
            "version": 1,
            "member_count": len(room.members),
            "metadata": "{}",
            "created_at": now,
        }
        for room in rooms
    )
    members = (
        {
            "conversation_id": room.id,
            "user_id": user,
            "role": "member",
            "joined_seq": 0,
            "read_seq": 0,
            "muted": False,
            "joined_at": now,
        }
        for room in rooms
        for user in room.members
    )
    await _insert(hub, tables["app"], iter([app]))
    await _insert(hub, tables["user"], people)
    await _insert(hub, tables["conversation"], conversations)
    await _insert(hub, tables["member"], members)


_USER: Final = {"locale": "zh-CN", "timezone": "Asia/Shanghai", "preferences": "{}"}


async def _insert(hub: Hub, table: Table, rows: Iterator[Mapping[str, Any]]) -> None:
    while some := [dict(row) for row in islice(rows, _ROWS)]:
        async with hub.store.database.writing() as connection:
            await connection.execute(insert(table), some)


async def redis_memory(hub: Hub) -> int:
    """Bytes that the engine says its data takes."""
    text = await hub.link.ask("INFO", "memory")
    words = text.decode() if isinstance(text, bytes) else str(text)
    return int(words.partition("used_memory:")[2].split()[0])
