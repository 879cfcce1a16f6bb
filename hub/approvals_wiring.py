"""Wires approvals: the concrete store, people, policies, calendars and webhooks behind the core's service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from hub.api.policies_json import built_in
from hub.core.approvals import Approvals
from hub.core.approvals_ports import ApprovalPorts
from hub.core.channel import Registry
from hub.core.delivery import Canceled, DeliveryId
from hub.core.directory import Directory
from hub.core.dispatch import Dispatcher
from hub.core.errors import HubError
from hub.core.message import Accepted, AppId, Draft, TemplatePin
from hub.core.outcome import Reason
from hub.core.policy import TimerClock
from hub.core.ports import Clock, NewId
from hub.core.records import NamedPolicy
from hub.core.task_links import TaskLinks
from hub.core.task_upsert import Later
from hub.core.templates import TemplateBook
from hub.core.webhooks import HookCaller, WebhookBook
from hub.settings import Settings
from hub.store.approvals_people import SqlTaskPeople
from hub.store.approvals_sql import SqlTasks
from hub.store.sql_engine import Database


class EngineParts(Protocol):
    """What approvals use of the engine."""

    channels: Registry
    clock: Clock
    new_id: NewId
    dispatcher: Dispatcher

    async def submit_many(self, drafts: Sequence[Draft]) -> list[Accepted | HubError]:
        """Accept messages; answers in order, errors as values."""
        ...


class AppRules:
    """`TaskRules`: policies and calendars of the directory, versions of the template book."""

    def __init__(self, directory: Directory, templates: TemplateBook, channels: Registry) -> None:
        self._directory = directory
        self._templates = templates
        self._channels = channels

    async def policy(self, app: AppId, name: str) -> NamedPolicy | None:
        """See the port."""
        own = {policy.name: policy for policy in await self._directory.policies(app)}
        return own.get(name) or built_in(self._channels.names).get(name)

    async def template(self, app: AppId, key: str) -> TemplatePin | None:
        """See the port."""
        found = await self._templates.latest(app, key)
        return None if found is None else TemplatePin(found.key, found.version)

    async def later(self, app: AppId, clock: TimerClock) -> Later:
        """See the port."""
        if clock is TimerClock.ALWAYS:
            return _passing
        return (await self._directory.app(app)).settings.calendar.add


def _passing(at: datetime, by: timedelta) -> datetime:
    return at + by


def links_of(settings: Settings) -> TaskLinks:
    """Signed with this hub's secret; where it is being replaced, the old one is still read."""
    return TaskLinks(*(part.strip().encode() for part in settings.secret_key.get_secret_value().split(",")))


def open_approvals(
    engine: EngineParts,
    *,
    database: Database,
    directory: Directory,
    templates: TemplateBook,
    webhooks: WebhookBook,
    hooks: HookCaller,
    settings: Settings,
) -> Approvals:
    """The service over these parts, which stay their openers' to close."""

    async def cancel(delivery: DeliveryId, reason: Reason) -> None:
        await engine.dispatcher.settle(delivery, Canceled(reason))

    return Approvals(
        ApprovalPorts(
            store=SqlTasks(database),
            people=SqlTaskPeople(database, directory),
            rules=AppRules(directory, templates, engine.channels),
            endpoints=webhooks,
            asker=hooks,
            submit=engine.submit_many,
            cancel=cancel,
            disturbing=frozenset(engine.channels.names) - {"ws"},
            clock=engine.clock,
            new_id=engine.new_id,
            links=links_of(settings),
            public=settings.public,
        )
    )


class Rooms(Protocol):
    """The parts of the directory that approvals stand on."""

    @property
    def directory(self) -> Directory:
        """Apps and people."""
        ...

    @property
    def webhooks(self) -> WebhookBook:
        """Who is asked, and who hears."""
        ...


class Store(Protocol):
    """The SQL store."""

    @property
    def database(self) -> Database:
        """What it is over."""
        ...


class Ground(Protocol):
    """What every process stands on (bootstrap's own)."""

    @property
    def store(self) -> Store:
        """The SQL store."""
        ...

    @property
    def rooms(self) -> Rooms:
        """The directory."""
        ...

    @property
    def templates(self) -> TemplateBook:
        """Hub templates."""
        ...

    @property
    def hooks(self) -> HookCaller:
        """Asks business systems."""
        ...


def approvals_on(settings: Settings, ground: Ground, engine: EngineParts) -> Approvals:
    """The service over what a process has opened."""
    return open_approvals(
        engine,
        database=ground.store.database,
        directory=ground.rooms.directory,
        templates=ground.templates,
        webhooks=ground.rooms.webhooks,
        hooks=ground.hooks,
        settings=settings,
    )
