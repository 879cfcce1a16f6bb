"""What routes stand on: the services of this process, and who is calling.

Without `from __future__ import annotations`: FastAPI reads the signatures of the closures below.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol, TypeAlias

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from hub.api.limits import Buckets, Rate, Taken
from hub.api.live import DoormanApi, PollsApi
from hub.api.problems import Problem
from hub.core.accounts import AccountDesk, ProviderTemplate
from hub.core.approvals import Approvals
from hub.core.books import WeChatBooks
from hub.core.channel import Registry
from hub.core.chat import Chat
from hub.core.control import CancelReport, EventScope, RecallReport, ReplayFilter, ScheduledRow
from hub.core.directory import Directory
from hub.core.errors import HubError, Refused
from hub.core.field_guide import TemplateField
from hub.core.identity import ApiCaller, EndUser
from hub.core.keeping import Keeping
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    HistoryPage,
    NotificationId,
    Page,
    UserKey,
)
from hub.core.ports import Clock, NewId, People
from hub.core.scopes import Scope, UserScope
from hub.core.search import MessageSearch
from hub.core.templates import TemplateBook
from hub.core.webhooks import HookCaller, WebhookBook
from hub.settings import Settings

Caller: TypeAlias = ApiCaller | EndUser

FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)


class EngineApi(Protocol):
    """The verbs of core.engine.Engine that routes use."""

    channels: Registry
    clock: Clock
    new_id: NewId
    chat: Chat
    """What is done with messages that are there."""

    async def submit(self, draft: Draft) -> Accepted:
        """Accept a message; the answer comes after its commit."""
        ...

    async def submit_many(self, drafts: Sequence[Draft]) -> list[Accepted | HubError]:
        """The same for many; answers in order, errors as values."""
        ...

    async def schedule(self, draft: Draft, at: datetime) -> Accepted:
        """Accept a notification that is to be sent at a time."""
        ...

    async def scheduled(self, app: AppId, notification: NotificationId) -> ScheduledRow | None:
        """A notification that was to be sent at a time."""
        ...

    async def cancel(self, app: AppId, notification: NotificationId) -> CancelReport:
        """Send no more of it. Raises NotFound."""
        ...

    async def recall(self, app: AppId, notification: NotificationId) -> RecallReport:
        """Take it back as far as that is possible. Raises NotFound."""
        ...

    async def replay(self, app: AppId, wanted: ReplayFilter) -> int:
        """Try dead letters again: how many."""
        ...

    async def event(self, app: AppId, scope: EventScope, name: str) -> int:
        """A business event: how many deliveries it made pointless."""
        ...

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        """A contiguous page of a user's queue."""
        ...

    async def head(self, user: UserKey) -> int:
        """The newest committed number of a user's queue."""
        ...

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        """Messages of a conversation; `reader` None is the business system."""
        ...

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        """A device has everything up to `seq`."""
        ...

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        """A user has read a conversation up to `seq`."""
        ...


class PresenceApi(Protocol):
    """Who has live sockets."""

    async def online(self, users: Sequence[UserKey]) -> Mapping[UserKey, Mapping[str, object]]:
        """`{"online": bool, "platforms": [...]}` of each user. May raise errors.QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """How one dependency does."""

    name: str
    ok: bool
    ms: float
    detail: str = ""


class Services(Protocol):
    """What `app.state.hub` must be once the hub has started."""

    @property
    def engine(self) -> EngineApi:
        """The verbs."""
        ...

    @property
    def directory(self) -> Directory:
        """Apps, people, conversations, keys."""
        ...

    @property
    def search(self) -> MessageSearch:
        """What messages say, by the words in it."""
        ...

    @property
    def keeping(self) -> Keeping:
        """Files, how long things are kept, removal of users, export."""
        ...

    @property
    def people(self) -> People:
        """Tokens and devices."""
        ...

    @property
    def presence(self) -> PresenceApi:
        """Live sessions."""
        ...

    @property
    def polls(self) -> PollsApi | None:
        """Requests that wait for news, where this process takes them."""
        ...

    @property
    def doorman(self) -> DoormanApi:
        """Sessions of devices."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        ...

    @property
    def webhooks(self) -> WebhookBook:
        """Where business systems hear of what happens."""
        ...

    @property
    def hooks(self) -> HookCaller:
        """Asks one of them right now."""
        ...

    @property
    def approvals(self) -> Approvals:
        """Tasks that people decide."""
        ...

    @property
    def templates(self) -> TemplateBook:
        """What kinds of notifications say."""
        ...

    @property
    def books(self) -> WeChatBooks:
        """Accounts at WeChat, bindings, grants and templates."""
        ...

    @property
    def desk(self) -> AccountDesk:
        """What only WeChat can do for an account."""
        ...

    def template_fields(self, template: ProviderTemplate) -> Sequence[TemplateField]:
        """What the fields of a provider's template take."""
        ...

    async def ready(self) -> Sequence[Readiness]:
        """Each dependency, asked now, in bounded time."""
        ...

    async def rights_changed(self, user: UserKey) -> None:
        """What this user may do has changed, after the commit: live sessions must show their tokens again."""
        ...

    async def membership_changed(self, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """These users came into or left a conversation, after the commit: caches and live sessions should know."""
        ...

    async def tell(self, users: Collection[UserKey], frame: Mapping[str, object]) -> None:
        """A frame that is not stored for all live sessions of these users. Lost where Redis is away."""
        ...


async def services_of(request: Request) -> Services:
    """The services, or a problem while there are none."""
    found: Services | None = getattr(request.app.state, "hub", None)
    if found is None:
        raise Problem("starting", "The hub is not ready yet.", headers={"Retry-After": "1"})
    return found


Hub: TypeAlias = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route asks of its caller: a scope of a key, of a user's token, or either."""

    key: Scope | None
    user: UserScope | None


def _needing(needs: Needs) -> Any:
    async def caller(request: Request) -> Caller:
        return await authorise(request, needs)

    caller.needs = needs  # type: ignore[attr-defined]  # read by needs_of
    return Depends(caller)


def needs_of(route: APIRoute) -> Needs | None:
    """What the route's code asks of its caller; None for a public one."""
    for dependency in route.dependant.dependencies:
        found: Needs | None = getattr(dependency.call, "needs", None)
        if found is not None:
            return found
    return None


def by_key(scope: Scope) -> Any:
    """The caller is a business system with this scope."""
    return _needing(Needs(scope, None))


def by_user(scope: UserScope) -> Any:
    """The caller is an end user."""
    return _needing(Needs(None, scope))


def by_either(scope: Scope, user_scope: UserScope) -> Any:
    """The caller is one or the other."""
    return _needing(Needs(scope, user_scope))


async def authorise(request: Request, needs: Needs) -> Caller:
    """The caller, who may do what the route needs; within the rate. Raises Problem."""
    services = await services_of(request)
    caller = await _authenticate(request, services)
    _limit(request, caller, services.settings)
    match caller:
        case ApiCaller():
            if needs.key is None:
                raise Problem("user_token_required", "Call this route with an end user's token.")
            _has(needs.key, caller.scopes, "key")
        case EndUser():
            if needs.user is None:
                raise Problem("key_required", "Call this route with an API key.")
            _has(needs.user, caller.scopes, "token")
    return caller


def _has(scope: str, scopes: frozenset[str], what: str) -> None:
    if scope not in scopes:
        raise Problem("scope_missing", f"This {what} was not given the scope `{scope}`.")


async def _authenticate(request: Request, services: Services) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Problem("auth_required", "Send `Authorization: Bearer …` with an API key or a user's token.")
    try:
        if token.startswith("hub_"):
            return await services.directory.api_caller(token)
        return await services.people.authenticate(token)
    except Refused as refused:
        address = request.client.host if request.client else "unknown"
        _take(request, f"failed:{address}", _rate(services.settings.rate_failures))
        headers = {
            "WWW-Authenticate": f'Bearer realm="hub", error="invalid_token", error_description="{refused.code}"'
        }
        raise Problem(refused.code, refused.detail, headers=headers) from refused


def _limit(request: Request, caller: Caller, settings: Settings) -> None:
    match caller:
        case ApiCaller():
            _take(request, f"key:{caller.key_id}", _rate(settings.rate_key))
        case EndUser():
            _take(request, f"user:{caller.key}", _rate(settings.rate_user))


def _rate(per_second: int) -> Rate:
    return Rate(per_second, 2 * per_second)


def _take(request: Request, name: str, rate: Rate) -> None:
    buckets: Buckets = request.app.state.buckets
    taken = buckets.take(name, rate)
    if taken is None:
        return
    request.scope["state"]["rate"] = taken
    if not taken.allowed:
        raise Problem(
            "rate_limited", f"At most {rate.per_second:g} requests a second.", headers=taken.headers()
        )


def rate_of(scope: Mapping[str, Any]) -> Taken | None:
    """What the bucket said to this request, if one was asked."""
    found: Taken | None = scope.get("state", {}).get("rate")
    return found


async def user_of(services: Services, app: AppId, user_id: str) -> UserKey:
    """The number of a user who must exist. Raises Problem user_not_found."""
    found = await services.directory.user_keys(app, [user_id])
    if user_id not in found:
        raise Problem("user_not_found", f"There is no user {user_id!r} in this app.")
    return found[user_id]


async def person_of(services: Services, caller: Caller, user_id: str | None) -> EndUser:
    """Whom a route is about: the end user who calls, or the `?user=` that a business system names."""
    match caller:
        case EndUser():
            if user_id not in (None, caller.id):
                raise Problem("not_yourself", "A user's token speaks for its own user only.")
            return caller
        case ApiCaller():
            if user_id is None:
                raise Problem("user_required", "Say whose, with `?user=`.")
            key = await user_of(services, caller.app, user_id)
            return EndUser(caller.app, key, user_id, FAR)


def actor_of(caller: Caller) -> str:
    """Who this is in the audit."""
    return caller.key_id if isinstance(caller, ApiCaller) else f"user:{caller.id}"
