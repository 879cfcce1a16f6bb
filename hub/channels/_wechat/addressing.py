"""Which account a delivery leaves from, at which address, and by which mapping: decided for a whole batch at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from hub.channels._wechat.wording import Facts
from hub.core.accounts import (
    Account,
    AccountId,
    AccountOptions,
    Binding,
    BindingState,
    ProviderTemplate,
    TemplateKind,
)
from hub.core.books import WeChatBooks
from hub.core.channel import Envelope
from hub.core.identity import Recipient
from hub.core.message import AppId, NotificationDraft, UserKey
from hub.core.outcome import Reason, Rejected
from hub.core.policy import Hop
from hub.core.rendering import hub_names, speaking
from hub.core.templates import ChannelMapping, TemplateBook, TemplateVersion

_NO_TEMPLATE: Final = Rejected(
    Reason.TEMPLATE_INVALID,
    "this notification names no template; WeChat sends nothing without one",
    "wx.template.none",
)
_DEAD: Final[Mapping[BindingState, tuple[Reason, str]]] = {
    BindingState.UNFOLLOWED: (Reason.UNSUBSCRIBED, "the person does not follow the account"),
    BindingState.BLOCKED: (Reason.USER_BLOCK, "the person has blocked the account"),
    BindingState.INVALID: (Reason.NO_ADDRESS, "WeChat does not know the address any more"),
}


@dataclass(frozen=True, slots=True)
class Route:
    """A way that a template can take: the account, how it is said there, and WeChat's template. `known` is False where
    the templates have not been synchronised: then it is what the mapping says."""

    account: Account
    mapping: ChannelMapping
    template: ProviderTemplate
    known: bool = True

    def reaches(self, binding: Binding) -> bool:
        """Whether a message can go there. Subscribe messages need nobody to follow."""
        if binding.state is BindingState.UNFOLLOWED:
            return self.template.kind is not TemplateKind.MESSAGE
        return binding.state is BindingState.ACTIVE


@dataclass(frozen=True, slots=True)
class Addressed:
    """A delivery that can be tried. `reader` is the recipient in the language of the card."""

    envelope: Envelope
    route: Route
    binding: Binding
    reader: Recipient
    facts: Facts


_Ask: TypeAlias = tuple[AppId, str, int | None, str | None]
"""App, template key, pinned version, account of the hop: deliveries that agree in these have the same routes."""


@dataclass(frozen=True, slots=True)
class _Plan:
    version: TemplateVersion
    routes: tuple[Route, ...]


class Addressing:
    """Of one channel. Everything may raise errors.Unavailable."""

    def __init__(
        self, channel: str, books: WeChatBooks, templates: TemplateBook, *, default_kind: TemplateKind
    ) -> None:
        """`default_kind` is taken for a provider's template that has never been synchronised."""
        self._channel = channel
        self._books = books
        self._templates = templates
        self._default_kind = default_kind

    async def of(self, batch: Sequence[Envelope]) -> Sequence[Addressed | Rejected]:
        """In the order of the batch. All addresses are found by one query."""
        asks = [_ask_of(envelope) for envelope in batch]
        plans: dict[_Ask, _Plan | Rejected] = {}
        for ask in asks:
            if ask is not None and ask not in plans:
                plans[ask] = await self._plan(ask)
        found = [_NO_TEMPLATE if ask is None else plans[ask] for ask in asks]
        bindings = await self._bindings(batch, found)
        return [
            plan if isinstance(plan, Rejected) else self._choose(envelope, plan, bindings)
            for envelope, plan in zip(batch, found, strict=True)
        ]

    async def routes(
        self, app: AppId, version: TemplateVersion, account: str | None = None
    ) -> tuple[Route, ...] | Rejected:
        """The ways that a version of a template can take, the best first. With `account`, only through that one."""
        mappings = [mapping for mapping in version.mappings if mapping.channel == self._channel]
        if not mappings:
            detail = f"template {version.key} version {version.version} has no mapping for {self._channel}"
            return Rejected(Reason.TEMPLATE_INVALID, detail, "wx.template.unmapped")
        accounts = await self._accounts(app, account)
        found = [(one, mapping) for one in accounts if (mapping := _mapping_for(one.id, mappings))]
        if not found:
            named = f"account {account}" if account else f"an enabled account of {self._channel}"
            return Rejected(Reason.NO_ADDRESS, f"the app has not got {named} that the template is mapped for")
        return tuple([await self._route(one, mapping) for one, mapping in found])

    def imagined(self, app: AppId, version: TemplateVersion) -> tuple[Route, ...]:
        """For a look at what would be sent, while the app has no account."""
        some = AccountOptions(jump_appid="(appid)")
        nobody = Account(
            AccountId(""), app, self._channel, self._channel, "", some, datetime.min.replace(tzinfo=UTC)
        )
        return tuple(self._assumed(nobody, one) for one in version.mappings if one.channel == self._channel)

    async def route(self, account: Account, mapping: ChannelMapping) -> Route:
        """One of them, with what is known of the provider's template."""
        return await self._route(account, mapping)

    async def accounts(self, app: AppId) -> Sequence[Account]:
        """The app's accounts of this channel that are enabled, oldest first."""
        return await self._accounts(app, None)

    async def _accounts(self, app: AppId, account: str | None) -> Sequence[Account]:
        if account is None:
            some = await self._books.accounts.accounts_of(app, self._channel)
        else:
            one = await self._books.accounts.account(AccountId(account))
            some = [one] if one is not None else []
        return [one for one in some if one.enabled and one.app == app and one.channel == self._channel]

    async def _route(self, account: Account, mapping: ChannelMapping) -> Route:
        known = await self._books.templates.template(account.id, mapping.template)
        return self._assumed(account, mapping) if known is None else Route(account, mapping, known)

    def _assumed(self, account: Account, mapping: ChannelMapping) -> Route:
        fields = tuple(mapping.fields)
        template = ProviderTemplate(account.id, mapping.template, self._default_kind, "", "", fields)
        return Route(account, mapping, template, known=False)

    async def _plan(self, ask: _Ask) -> _Plan | Rejected:
        app, key, number, account = ask
        if number is None:
            version = await self._templates.latest(app, key)
        else:
            version = await self._templates.version(app, key, number)
        if version is None:
            return Rejected(Reason.TEMPLATE_INVALID, f"there is no template {key}", "wx.template.none")
        routes = await self.routes(app, version, account)
        return routes if isinstance(routes, Rejected) else _Plan(version, routes)

    async def _bindings(
        self, batch: Sequence[Envelope], plans: Sequence[_Plan | Rejected]
    ) -> Mapping[tuple[AccountId, UserKey], Binding]:
        accounts: set[AccountId] = set()
        users: set[UserKey] = set()
        for envelope, plan in zip(batch, plans, strict=True):
            if not isinstance(plan, Rejected):
                accounts.update(route.account.id for route in plan.routes)
                users.add(envelope.delivery.user)
        return await self._books.bindings.addresses(accounts, users) if accounts else {}

    def _choose(
        self, envelope: Envelope, plan: _Plan, bindings: Mapping[tuple[AccountId, UserKey], Binding]
    ) -> Addressed | Rejected:
        """The first account that reaches the person, in the order of the routes."""
        user = envelope.delivery.user
        met = [
            (route, binding)
            for route in plan.routes
            if (binding := bindings.get((route.account.id, user))) is not None
        ]
        for route, binding in met:
            if route.reaches(binding):
                return _addressed(envelope, plan.version, route, binding)
        if not met:
            names = ", ".join(route.account.name for route in plan.routes)
            return Rejected(Reason.NOT_BOUND, f"the person is not known at {names}")
        reason, detail = _DEAD[met[0][1].state]
        return Rejected(reason, detail)


def hop_of(envelope: Envelope) -> Hop | None:
    """The step of the policy that the delivery is for."""
    if envelope.notification is None:
        return None
    hops = envelope.notification.policy.hops
    return hops[envelope.delivery.hop] if envelope.delivery.hop < len(hops) else None


def facts_of(data: Mapping[str, object], notification: NotificationDraft | None, digest_of: int) -> Facts:
    """What placeholders may name; `digest_count` is how many notifications this message stands for."""
    return Facts({"digest_count": digest_of, **data}, hub_names(notification, digest_of))


def _ask_of(envelope: Envelope) -> _Ask | None:
    hop, notification = hop_of(envelope), envelope.notification
    account = hop.account if hop is not None else None
    app = envelope.delivery.app
    if hop is not None and hop.template:
        return app, hop.template, None, account
    if notification is None or notification.template is None:
        return None
    return app, notification.template.key, notification.template.version, account


def _mapping_for(account: AccountId, mappings: Sequence[ChannelMapping]) -> ChannelMapping | None:
    """The account's own, else the one for all accounts of the channel."""
    own = [mapping for mapping in mappings if mapping.account == account]
    shared = [mapping for mapping in mappings if mapping.account is None]
    return next(iter(own or shared), None)


def _addressed(envelope: Envelope, version: TemplateVersion, route: Route, binding: Binding) -> Addressed:
    notification = envelope.notification
    pin = notification.template if notification is not None else None
    reader = speaking(envelope.recipient, version, pin.locale if pin is not None else None)
    facts = facts_of(_data_of(notification), notification, envelope.digest_of)
    return Addressed(envelope, route, binding, reader, facts)


def _data_of(notification: NotificationDraft | None) -> Mapping[str, object]:
    try:
        data = json.loads(notification.data or "{}") if notification is not None else {}
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
