"""What approvals ask of the world beside their store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from hub.core.delivery import DeliveryId
from hub.core.errors import HubError
from hub.core.message import Accepted, AppId, Draft, TemplatePin, UserKey
from hub.core.outcome import Reason
from hub.core.policy import TimerClock
from hub.core.ports import Clock, NewId
from hub.core.records import NamedPolicy
from hub.core.task_links import TaskLinks
from hub.core.task_store import TaskStore
from hub.core.task_upsert import Later
from hub.core.webhooks import Endpoint, EndpointId, HookCaller


@dataclass(frozen=True, slots=True)
class Profile:
    """What approvals need of a person. `preferences` is a JSON object: `delegate` ({to, from, until}) and `manager`
    (a user's id) count here."""

    id: str
    name: str
    locale: str
    preferences: str


class TaskPeople(Protocol):
    """The product's users."""

    async def ensure(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The hub's numbers; unknown users are made."""
        ...

    async def known(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The hub's numbers of those that exist."""
        ...

    async def profiles(self, users: Collection[UserKey]) -> Mapping[UserKey, Profile]:
        """What is known of them; who is gone is missing."""
        ...


class TaskRules(Protocol):
    """What an app has set up."""

    async def policy(self, app: AppId, name: str) -> NamedPolicy | None:
        """A named policy."""
        ...

    async def template(self, app: AppId, key: str) -> TemplatePin | None:
        """The newest version of a hub template."""
        ...

    async def later(self, app: AppId, clock: TimerClock) -> Later:
        """How time is counted on a clock: for WORKING_HOURS by the app's calendar."""
        ...


class Endpoints(Protocol):
    """The part of webhooks.WebhookBook that approvals use."""

    async def endpoint(self, app: AppId, endpoint: EndpointId) -> Endpoint | None:
        """One endpoint."""
        ...

    async def endpoints(self, app: AppId) -> Sequence[Endpoint]:
        """The app's endpoints, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class ApprovalLimits:
    """`ask` is how long somebody who acts waits for the business system; `lease` how long a follow-up belongs to who
    took it."""

    ask: timedelta = timedelta(seconds=10)
    lease: timedelta = timedelta(seconds=30)
    rest: timedelta = timedelta(seconds=2)
    """Before a follow-up that could not be finished is looked at again."""


@dataclass(frozen=True, slots=True)
class ApprovalPorts:
    """What approvals run on. `disturbing` are the channels that reach people outside the app."""

    store: TaskStore
    people: TaskPeople
    rules: TaskRules
    endpoints: Endpoints
    asker: HookCaller
    submit: Callable[[Sequence[Draft]], Awaitable[list[Accepted | HubError]]]
    cancel: Callable[[DeliveryId, Reason], Awaitable[None]]
    disturbing: frozenset[str]
    clock: Clock
    new_id: NewId
    links: TaskLinks
    limits: ApprovalLimits = ApprovalLimits()
    public: str = ""
    """The hub's own address, before its paths."""
