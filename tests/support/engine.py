"""An engine on a real database and a real Redis, with a broker that records and an executor that obeys the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import insert

from hub.core.channel import Channel, Registry
from hub.core.delivery import DeliveryId
from hub.core.dispatch import DispatchLimits
from hub.core.engine import Engine, EngineLimits, Ports, open_engine
from hub.core.errors import QueueUnavailable
from hub.core.ingest import IngestLimits
from hub.core.message import (
    AppId,
    ConversationId,
    Draft,
    MessageId,
    NotificationDraft,
    NotificationId,
    Published,
    Target,
    ToInbox,
    ToUser,
    UserKey,
)
from hub.core.policy import Policy
from hub.core.ports import Clock, Executor
from hub.core.retry import RetryPolicy
from hub.redis_link import RedisLink, open_redis
from hub.settings import Settings
from hub.store import tables
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.migrate import upgrade
from hub.store.plan1 import Plan1Store
from hub.store.queue_redis import RedisSequencer, RedisTail
from hub.store.sql import SqlStore, open_store
from hub.store.sql_chat import SqlChat
from hub.store.sql_engine import open_database

APP = AppId("app_test")
_SECRET = SecretStr("bm90LWEtcmVhbC1rZXktMzItYnl0ZXMtbG9uZy0hISE=")


class RecordingBroker:
    """Remembers what was published and signalled; can be away."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.signals: list[tuple[frozenset[UserKey], Mapping[str, object]]] = []
        self.away = False

    async def publish(self, batch: Sequence[Published]) -> None:
        """Remember."""
        if self.away:
            raise QueueUnavailable
        self.published.extend(batch)

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        """Remember."""
        self.signals.append((frozenset(users), frame))


class HeldExecutor:
    """Keeps what was asked for until the test runs it; `lose` drops requests, as a dead broker would."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[DeliveryId], timedelta]] = []
        self.priorities: list[str] = []
        """Of every request, in order."""
        self.lose = False

    async def schedule(
        self,
        channel: str,
        deliveries: Sequence[DeliveryId],
        *,
        delay: timedelta,
        priority: str = "normal",
    ) -> None:
        """Keep."""
        if not self.lose:
            self.asked.append((channel, list(deliveries), delay))
            self.priorities.append(priority)

    def take(self) -> list[DeliveryId]:
        """Everything asked for since the last call."""
        ids = [delivery for _, some, _ in self.asked for delivery in some]
        self.asked.clear()
        return ids


class TestClock:
    """Time that a test moves."""

    __test__ = False

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.shift += by


@dataclass
class Rig:
    """An engine and the parts that a test looks at."""

    engine: Engine
    store: SqlStore
    link: RedisLink
    settings: Settings
    rooms: DirectoryRooms
    broker: RecordingBroker = field(default_factory=RecordingBroker)
    executor: HeldExecutor = field(default_factory=HeldExecutor)
    clock: TestClock = field(default_factory=TestClock)

    def draft(
        self, to: Target, *, sender: int = 1, text: str = "你好", client_msg_id: str | None = None
    ) -> Draft:
        """A chat message."""
        return Draft(
            id=MessageId(self.engine.new_id("msg")),
            app=APP,
            sender=UserKey(sender),
            sender_id=f"u{sender}",
            to=to,
            kind="text",
            body=f'{{"text":"{text}"}}',
            created_at=self.clock(),
            client_msg_id=client_msg_id,
        )

    def chat(self, sender: int, to: int, *, client_msg_id: str | None = None, text: str = "你好") -> Draft:
        """A message from one user to another."""
        return self.draft(ToUser(UserKey(to)), sender=sender, client_msg_id=client_msg_id, text=text)

    def notice(
        self, *users: int, policy: Policy, expires_in: timedelta | None = None, dedupe_key: str | None = None
    ) -> Draft:
        """A notification by the business system."""
        now = self.clock()
        return Draft(
            id=MessageId(self.engine.new_id("msg")),
            app=APP,
            sender=UserKey(0),
            sender_id=None,
            to=ToInbox(tuple(UserKey(user) for user in users)),
            kind="notification",
            body='{"title":"审批"}',
            created_at=now,
            expires_at=now + expires_in if expires_in else None,
            notification=NotificationDraft(
                id=NotificationId(self.engine.new_id("ntf")),
                type="test",
                policy=policy,
                dedupe_key=dedupe_key,
            ),
        )

    async def group(
        self, *users: int, conversation: str = "cnv_group", fanout: str = "write"
    ) -> ConversationId:
        """A group of these users, written straight into the tables."""
        async with self.store.database.writing() as connection:
            t = tables.metadata.tables
            await connection.execute(
                insert(t["conversation"]).values(
                    id=conversation,
                    app_id=APP,
                    kind="group",
                    title="",
                    fanout=fanout,
                    version=1,
                    member_count=len(users),
                    metadata="{}",
                    created_at=self.clock(),
                )
            )
            await connection.execute(
                insert(t["member"]),
                [
                    {
                        "conversation_id": conversation,
                        "user_id": user,
                        "role": "member",
                        "joined_seq": 0,
                        "read_seq": 0,
                        "muted": False,
                        "joined_at": self.clock(),
                    }
                    for user in users
                ],
            )
        return ConversationId(conversation)

    async def published(self) -> None:
        """Wait until everything committed has been published."""
        async with asyncio.timeout(5):
            await self.engine.publisher.idle()


def test_settings(directory: Path, database_url: str, redis_url: str) -> Settings:
    """Settings for tests: short graces, everything else as shipped."""
    return Settings(
        data_dir=directory,
        database_url=database_url,
        redis_url=redis_url,
        broker_url="memory://" if "+cluster" in redis_url else "",
        gap_grace=timedelta(milliseconds=200),
    )


test_settings.__test__ = False  # type: ignore[attr-defined]


@asynccontextmanager
async def open_rig(
    settings: Settings,
    *channels: Channel,
    retry: RetryPolicy | None = None,
    users: int = 20,
    fresh: bool = True,
    executor: Executor | None = None,
    groups: bool = False,
) -> AsyncIterator[Rig]:
    """An engine on these settings; `fresh` migrates the database and makes the app and its users. With `groups`,
    threads are joined by speaking, and notices of changes are sent."""
    if fresh:
        await asyncio.to_thread(upgrade, settings)
    clock = TestClock()
    broker, held = RecordingBroker(), HeldExecutor()
    async with open_redis(settings.redis) as link, open_its_store(settings, link, clock=clock) as store:
        if fresh:
            await _people(store, clock(), users)
        secret = settings.model_copy(update={"secret_key": _SECRET})
        elsewhere = store.elsewhere if isinstance(store, Plan1Store) else None
        rooms = directory_rooms(store.database, secret, clock=clock, new_id=new_id, elsewhere=elsewhere)
        ports = Ports(
            messages=store,
            chat=SqlChat(store.database),
            deliveries=store,
            routing=store,
            parking=store,
            sequencer=RedisSequencer(link, tail_ttl=settings.tail_ttl),
            tail=RedisTail(link, size=settings.tail_size, ttl=settings.tail_ttl),
            broker=broker,
            executor=executor or held,
            channels=Registry(channels),
            clock=clock,
            new_id=new_id,
            jitter=lambda: 0.0,
            groups=rooms.groups if groups else None,
        )
        async with open_engine(ports, limits(settings, retry or RetryPolicy())) as engine:
            yield Rig(engine, store, link, settings, rooms, broker, held, clock)


@asynccontextmanager
async def open_its_store(settings: Settings, link: RedisLink, *, clock: Clock) -> AsyncIterator[SqlStore]:
    """The store of either plan."""
    if settings.store == "sql":
        async with open_store(settings, clock=clock) as store:
            yield store
        return
    async with open_database(settings) as database:
        yield Plan1Store(database, settings, link, clock=clock)


def limits(settings: Settings, retry: RetryPolicy) -> EngineLimits:
    """As bootstrap makes them, with the test's retry policy."""
    return EngineLimits(
        ingest=IngestLimits(
            window=settings.batch_window,
            size=settings.batch_size,
            backlog=settings.ingest_backlog,
            timeout=settings.commit_timeout,
            inline_lease=timedelta(seconds=10),
        ),
        dispatch=DispatchLimits(
            lease=settings.delivery_lease, call_timeout=timedelta(seconds=0.5), retry=retry
        ),
        gap_grace=settings.gap_grace,
        tail_size=settings.tail_size,
        republish_after=settings.republish_after,
        republish_margin=settings.republish_margin,
    )


async def _people(store: SqlStore, now: datetime, count: int) -> None:
    t = tables.metadata.tables
    async with store.database.writing() as connection:
        await connection.execute(insert(t["app"]).values(id=APP, name="test", settings="{}", created_at=now))
        rows = [
            {
                "id": number,
                "app_id": APP,
                "user_id": f"u{number}",
                "name": "",
                "locale": "zh-CN",
                "timezone": "Asia/Shanghai",
                "preferences": "{}",
                "created_at": now,
            }
            for number in range(1, count + 1)
        ]
        await connection.execute(insert(t["user"]), rows)
