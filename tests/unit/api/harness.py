"""The REST API on the real engine and directory over one database file, with Redis played by memory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx2
import uuid_utils
from fastapi import FastAPI
from pydantic import SecretStr

from hub.api import Readiness, new_app
from hub.approvals_wiring import open_approvals
from hub.bootstrap_keeping import keeping_on
from hub.channels._wechat.field_notes import fields_of
from hub.channels.ws.heads import Heads
from hub.channels.ws.node import Node
from hub.channels.ws.polls import Polls
from hub.channels.ws.sightings import SessionInfo
from hub.core.accounts import ProviderTemplate
from hub.core.approvals import Approvals
from hub.core.books import WeChatBooks
from hub.core.channel import Registry
from hub.core.delivery import DeliveryId
from hub.core.dispatch import DispatchLimits
from hub.core.engine import Engine, EngineLimits, Ports, open_engine
from hub.core.field_guide import TemplateField
from hub.core.ingest import IngestLimits
from hub.core.keeping import Keeping
from hub.core.message import AppId, ConversationId, Published, SeqKey, UserKey
from hub.core.records import AppSettings
from hub.core.scopes import APP_SCOPES, EVERY_SCOPE
from hub.core.search import MessageSearch
from hub.core.templates import TemplateBook
from hub.media.folder import FolderStore
from hub.redis_link import open_redis
from hub.settings import Settings
from hub.store.directory_sql import DirectoryRooms, SqlDirectory, directory_rooms
from hub.store.memory_queue import MemorySequencer, MemoryTail
from hub.store.people import SqlPeople
from hub.store.plan1 import Plan1Store
from hub.store.schema import metadata
from hub.store.sql import SqlStore
from hub.store.sql_chat import SqlChat
from hub.store.sql_engine import Database, make_engine
from hub.store.templates_sql import SqlTemplates
from hub.store.webhooks_sql import SqlWebhooks
from tests.fakes.channel import ScriptedChannel
from tests.fakes.desk import MemoryDesk
from tests.fakes.hooks import ScriptedHooks

SECRET = SecretStr("bm90LWEtcmVhbC1rZXktMzItYnl0ZXMtbG9uZy0hISE=")
MINE, THEIRS = AppId("shop"), AppId("bank")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


class Broker:
    """Remembers what was published and signalled."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.signals: list[tuple[frozenset[UserKey], Mapping[str, object]]] = []

    async def publish(self, batch: Sequence[Published]) -> None:
        self.published.extend(batch)

    async def signal(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        self.signals.append((frozenset(users), frame))


class Counters(MemorySequencer):
    """All keys or none, as the port asks."""

    async def draw(self, wants: Mapping[SeqKey, int]) -> Mapping[SeqKey, int]:
        return await super().draw(wants) if wants.keys() <= self._last.keys() else {}


class Executor:
    """Does nothing: deliveries wait for the sweep."""

    async def schedule(
        self,
        channel: str,
        deliveries: Sequence[DeliveryId],
        *,
        delay: timedelta,
        priority: str = "normal",
    ) -> None:
        """Forget."""


class Doorman:
    """Says what a test told it, and notes whom it shows out."""

    def __init__(self) -> None:
        self.live: list[SessionInfo] = []
        self.kicked: list[tuple[UserKey, str]] = []

    async def sessions(self, user: UserKey) -> Sequence[SessionInfo]:
        return [info for info in self.live if info.session == f"ses_{user}"]

    async def kick(self, user: UserKey, device: str) -> int:
        self.kicked.append((user, device))
        return len(await self.sessions(user))


class Presence:
    """Says what a test told it."""

    async def poll(self, user: UserKey) -> None:
        """No other nodes here."""

    async def unpoll(self, users: Collection[UserKey]) -> None:
        """No other nodes here."""

    def __init__(self) -> None:
        self.platforms: dict[UserKey, list[str]] = {}

    async def online(self, users: Sequence[UserKey]) -> Mapping[UserKey, Mapping[str, object]]:
        return {
            user: {"online": bool(self.platforms.get(user)), "platforms": self.platforms.get(user, [])}
            for user in users
        }


@dataclass
class Hub:
    """deps.Services."""

    engine: Engine
    rooms: DirectoryRooms
    settings: Settings
    templates: TemplateBook
    hooks: ScriptedHooks
    desk: MemoryDesk
    approvals: Approvals
    keeping: Keeping
    presence: Presence = field(default_factory=Presence)
    door: Doorman = field(default_factory=Doorman)
    told: list[tuple[ConversationId, list[UserKey]]] = field(default_factory=list)
    frames: list[tuple[list[UserKey], dict[str, object]]] = field(default_factory=list)
    """What live sessions were told, beside messages."""
    dependencies: list[Readiness] = field(default_factory=lambda: [Readiness("database", True, 0.1)])

    @property
    def directory(self) -> SqlDirectory:
        return self.rooms.directory

    @property
    def webhooks(self) -> SqlWebhooks:
        return self.rooms.webhooks

    @property
    def books(self) -> WeChatBooks:
        return self.rooms.books

    def template_fields(self, template: ProviderTemplate) -> Sequence[TemplateField]:
        return fields_of(template)

    @property
    def search(self) -> MessageSearch:
        return self.rooms.directory.search

    @property
    def people(self) -> SqlPeople:
        return self.rooms.people

    async def ready(self) -> Sequence[Readiness]:
        return self.dependencies

    async def rights_changed(self, user: UserKey) -> None:
        """No sockets here."""

    @property
    def doorman(self) -> Doorman:
        return self.door

    @property
    def polls(self) -> Polls:
        heads = Heads(self.engine.heads)
        return Polls(
            node=Node(), read=self.engine.sync, heads=heads, notes=self.presence, settings=self.settings
        )

    async def membership_changed(self, conversation: ConversationId, users: Collection[UserKey]) -> None:
        self.engine.roster.forget([conversation])
        await self.engine.notices.tell(conversation)
        self.told.append((conversation, list(users)))

    async def tell(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        self.frames.append((list(users), dict(frame)))


@dataclass
class World:
    """Two apps with a key each, and somebody to call the API as."""

    app: FastAPI
    hub: Hub
    database: Database
    broker: Broker
    clock: Clock
    http: httpx2.AsyncClient
    admin: str
    key: str
    their_key: str

    def bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    async def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> httpx2.Response:
        """A request with the first app's key, or another token (empty: none)."""
        chosen = self.key if token is None else token
        given = {**(self.bearer(chosen) if chosen else {}), **(headers or {})}
        return await self.http.request(method, path, headers=given, **rest)

    async def get(self, path: str, token: str | None = None, **rest: Any) -> Any:
        """The JSON of a successful GET."""
        answer = await self.call("GET", path, token, **rest)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object, token: str | None = None, **rest: Any) -> Any:
        """The JSON of a successful POST."""
        answer = await self.call("POST", path, token, json=body, **rest)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def users(self, *ids: str, key: str | None = None) -> None:
        """Make users."""
        await self.post("/v1/users/batch", {"users": [{"user_id": user_id} for user_id in ids]}, key)

    async def token(self, user: str, key: str | None = None, **fields: Any) -> str:
        """A user's token."""
        made = await self.post("/v1/tokens", {"user": user, **fields}, key)
        return str(made["token"])

    async def group(self, *members: str, title: str = "群 🎉", key: str | None = None) -> str:
        """A group of these users."""
        body = {"title": title, "members": [{"user_id": member} for member in members]}
        return str((await self.post("/v1/conversations", body, key))["id"])


@asynccontextmanager
async def open_world(
    database_url: str, *, create: bool = True, groups: bool = False, **settings_given: Any
) -> AsyncIterator[World]:
    """Everything opened, and closed backwards. With `groups`, notices of changes are messages as in earnest."""
    settings = Settings(
        database_url=database_url,
        secret_key=SECRET,
        batch_window=timedelta(0),
        sqlite_synchronous="NORMAL",
        rate_failures=0,
        rate_user=0,
        rate_key=0,
        **settings_given,
    )
    async with AsyncExitStack() as stack:
        engine = make_engine(settings)
        stack.push_async_callback(engine.dispose)
        if create:
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
        database = Database(engine, timeout=timedelta(seconds=10))
        clock, broker = Clock(), Broker()
        store = await _store_of(settings, database, clock, stack)
        elsewhere = store.elsewhere if isinstance(store, Plan1Store) else None
        rooms = directory_rooms(database, settings, clock=clock, new_id=new_id, elsewhere=elsewhere)
        folder = Path(await asyncio.to_thread(mkdtemp, prefix="hub-media-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        files = FolderStore(folder)
        keeping = keeping_on(settings, store, rooms, files, clock=clock, new_id=new_id)
        ports = Ports(
            messages=store,
            chat=SqlChat(database),
            deliveries=store,
            routing=store,
            parking=store,
            sequencer=Counters(),
            tail=MemoryTail(size=64),
            broker=broker,
            executor=Executor(),
            channels=Registry([ScriptedChannel("ws"), ScriptedChannel("wechat_mp")]),
            clock=clock,
            new_id=new_id,
            cleared=store,
            attachments=keeping.media,
            groups=rooms.groups if groups else None,
        )
        core = await stack.enter_async_context(open_engine(ports, _limits(settings)))
        templates = SqlTemplates(database, clock=clock, new_id=new_id)
        desk = MemoryDesk(rooms.books, clock)
        hooks = ScriptedHooks(rooms.webhooks)
        approvals = open_approvals(
            core,
            database=database,
            directory=rooms.directory,
            templates=templates,
            webhooks=rooms.webhooks,
            hooks=hooks,
            settings=settings,
        )
        hub = Hub(core, rooms, settings, templates, hooks, desk, approvals, keeping)
        app = new_app(settings, new_id=new_id)
        app.state.hub = hub
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, base_url="http://hub.test")
        )
        async with rooms.directory.change(MINE, actor="test") as change:
            await change.create_app(MINE, "商店", AppSettings())
            await change.create_app(THEIRS, "银行", AppSettings())
            admin = await change.issue_key(MINE, "admin", EVERY_SCOPE, None)
            key = await change.issue_key(MINE, "后台", APP_SCOPES, None)
            their_key = await change.issue_key(THEIRS, "后台", APP_SCOPES, None)
        yield World(app, hub, database, broker, clock, http, admin.secret, key.secret, their_key.secret)


async def _store_of(settings: Settings, database: Database, clock: Clock, stack: AsyncExitStack) -> SqlStore:
    """The store of either plan."""
    if settings.store == "sql":
        return SqlStore(database, settings, clock=clock)
    link = await stack.enter_async_context(open_redis(settings.redis))
    return Plan1Store(database, settings, link, clock=clock)


def new_id(prefix: str) -> str:
    """As in production."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def sqlite_url(folder: Path) -> str:
    """A database file of a test's own."""
    return f"sqlite+aiosqlite:///{folder / 'hub.db'}"


def _limits(settings: Settings) -> EngineLimits:
    return EngineLimits(
        ingest=IngestLimits(
            window=settings.batch_window,
            size=settings.batch_size,
            backlog=settings.ingest_backlog,
            timeout=settings.commit_timeout,
            inline_lease=timedelta(seconds=10),
        ),
        dispatch=DispatchLimits(lease=settings.delivery_lease, call_timeout=timedelta(seconds=1)),
        gap_grace=settings.gap_grace,
        tail_size=settings.tail_size,
        republish_after=settings.republish_after,
        republish_margin=settings.republish_margin,
    )
