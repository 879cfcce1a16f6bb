"""Accounts at outside providers (what the hub sends from: an official account, a mini program), bindings (a person's
address at an account) and grants (permissions to send a number of messages).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType, Protocol

from hub.core.delivery import DeliveryId
from hub.core.message import AppId, UserKey

AccountId = NewType("AccountId", str)


class GrantSource(StrEnum):
    """Where an account learns of new grants: one of the two, never both, or each would be counted twice."""

    EVENTS = "events"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """What is no secret. `per_second` is the pace of sends; None takes the hub's setting. Accounts of one `family`
    (WeChat: one Open Platform account) share union ids."""

    original_id: str = ""
    family: str = ""
    per_second: float | None = None
    grants_from: GrantSource = GrantSource.EVENTS
    mini_state: str = "formal"
    jump_appid: str = ""
    """The mini program that an official account's messages open."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of an app at a provider. `external_id` is the provider's own id of it (WeChat: the appid)."""

    id: AccountId
    app: AppId
    channel: str
    name: str
    external_id: str
    options: AccountOptions
    created_at: datetime
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class AccountSecrets:
    """Kept encrypted. `aes_keys`: during a rotation there are two, the new one first."""

    secret: str = field(repr=False)
    callback_token: str = field(default="", repr=False)
    aes_keys: tuple[str, ...] = field(default=(), repr=False)


class BindingState(StrEnum):
    """Whether an address can be written to. What rests comes back when the person does."""

    ACTIVE = "active"
    UNFOLLOWED = "unfollowed"
    """They no longer follow (or never did): template messages rest, subscribe messages may still go."""
    BLOCKED = "blocked"
    """They put the account on their blacklist, or refuse its messages."""
    INVALID = "invalid"
    """The provider does not know the address."""


@dataclass(frozen=True, slots=True)
class Binding:
    """An address (WeChat: an openid) at an account; `user` is None while nobody knows whose it is."""

    account: AccountId
    address: str
    user: UserKey | None
    union_id: str | None
    state: BindingState
    source: str
    """How it was learnt: oauth, qr, code, union, import, event."""
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was just learnt of an address. None leaves what is known as it is."""

    account: AccountId
    address: str
    source: str
    user: UserKey | None = None
    union_id: str | None = None
    state: BindingState | None = None


class TicketKind(StrEnum):
    """What a one-time ticket is for."""

    QR_SCENE = "qr_scene"
    OAUTH_STATE = "oauth_state"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A promise made to one user, redeemed once: who brings it back is that user."""

    token: str = field(repr=False)
    kind: TicketKind
    account: AccountId
    user: UserKey
    expires_at: datetime
    return_to: str = ""


class TemplateKind(StrEnum):
    """How a provider's template may be used."""

    MESSAGE = "message"
    """To followers, without asking (an official account's template message)."""
    ONE_TIME = "one_time"
    """Once per grant."""
    LONG_TERM = "long_term"
    """As often as one likes while the person stays subscribed."""


@dataclass(frozen=True, slots=True)
class ProviderTemplate:
    """A template as the provider has it. `fields` are the slots in `content`, in order; `enums` lists the values that
    a slot is limited to."""

    account: AccountId
    id: str
    kind: TemplateKind
    title: str
    content: str
    fields: tuple[str, ...]
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    example: str = ""
    synced_at: datetime | None = None
    gone: bool = False
    """The last synchronisation no longer found it."""


@dataclass(frozen=True, slots=True)
class GrantKey:
    """What permissions are counted by."""

    account: AccountId
    address: str
    template: str


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """`remaining` may be reserved now; `reserved` are in flight. Long-term templates have `unlimited`."""

    key: GrantKey
    remaining: int
    reserved: int
    unlimited: bool
    updated_at: datetime


class Reservation(StrEnum):
    """What `GrantBook.reserve` answers."""

    MADE = "made"
    """One grant is set aside for this delivery now."""
    HELD = "held"
    """It was already: an earlier try of the same delivery did not end clearly."""
    SPENT = "spent"
    """This delivery has used its grant: the provider has accepted it before."""
    NONE_LEFT = "none_left"


class AccountBook(Protocol):
    """Accounts in SQL. Reads may be a few seconds old. Every method may raise errors.Unavailable."""

    async def account(self, account: AccountId) -> Account | None:
        """One account, disabled ones too."""
        ...

    async def accounts_of(self, app: AppId, channel: str | None = None) -> Sequence[Account]:
        """The app's accounts, oldest first."""
        ...

    async def secrets(self, account: AccountId) -> AccountSecrets:
        """Its secrets. Raises NotFound account_not_found."""
        ...

    async def put_account(self, account: Account, secrets: AccountSecrets | None, *, actor: str) -> bool:
        """Make or change it (None leaves the secrets); True says that it is new. Raises Conflict: account_taken where
        the app has another account with the same channel and external id, account_limit past ACCOUNTS_PER_APP."""
        ...

    async def delete_account(self, account: AccountId, *, actor: str) -> None:
        """Remove it with its bindings, grants and templates. Raises NotFound."""
        ...


class BindingBook(Protocol):
    """Who is who at which account. An address belongs to at most one user; the latest proof counts."""

    async def addresses(
        self, accounts: Collection[AccountId], users: Collection[UserKey]
    ) -> Mapping[tuple[AccountId, UserKey], Binding]:
        """Each user's binding at each account, whatever its state: of several, the one proved last. One query."""
        ...

    async def bindings_of(self, app: AppId, user: UserKey) -> Sequence[Binding]:
        """A user's bindings, newest first: at most BINDINGS_SHOWN."""
        ...

    async def binding(self, account: AccountId, address: str) -> Binding | None:
        """What is known of an address."""
        ...

    async def note(self, sightings: Sequence[Sighting]) -> Sequence[Binding]:
        """Write down what was learnt, in one transaction, and follow union ids both ways: all addresses with one
        union id in a family are the user's who was proved last at any of them. Idempotent. A new address whose state
        is not said is ACTIVE. Returns the binding of every sighting, in order, then those that changed through union
        ids. Raises NotFound account_not_found."""
        ...

    async def unbind(self, account: AccountId, user: UserKey) -> bool:
        """Forget whose address it is, until there is a newer proof; a union id alone does not bring it back. Returns
        whether there was one."""
        ...

    async def issue_ticket(self, ticket: Ticket) -> None:
        """Keep a ticket; only a hash of its token is stored."""
        ...

    async def redeem_ticket(self, token: str, kind: TicketKind, *, now: datetime) -> Ticket | None:
        """The ticket, once; None where it is unknown, of another kind, used or too old."""
        ...

    async def forget_tickets(self, before: datetime) -> int:
        """Remove tickets that ended before this; how many there were."""
        ...


class GrantBook(Protocol):
    """The ledger of subscriptions. Every change is atomic; none can make `remaining` negative."""

    async def add(self, key: GrantKey, count: int, *, once: str) -> bool:
        """The person agreed to `count` more (at least 1). `once` identifies the agreement within this key: a repeat
        changes nothing and answers False."""
        ...

    async def set_unlimited(self, key: GrantKey, unlimited: bool) -> None:
        """A long-term subscription begins or ends."""
        ...

    async def clear(self, key: GrantKey) -> None:
        """The provider says that nothing is left: what remains becomes 0 and a long-term subscription ends; what is
        reserved stays reserved, and is not given back by a later release."""
        ...

    async def reserve(self, key: GrantKey, delivery: DeliveryId, *, now: datetime) -> Reservation:
        """Set one grant aside. HELD and SPENT are about the delivery, whatever key it had then. A long-term one is not
        counted, but written all the same."""
        ...

    async def commit(self, delivery: DeliveryId) -> None:
        """The provider accepted it: the grant is spent. Idempotent."""
        ...

    async def release(self, delivery: DeliveryId) -> None:
        """Not sent: give the grant back, unless the key was cleared since. Idempotent; a spent one stays spent."""
        ...

    async def noted(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        """Those with a grant reserved or spent, as every send has."""
        ...

    async def holders(self, key: GrantKey) -> Sequence[DeliveryId]:
        """The deliveries that have a grant of this key reserved (not spent), oldest first: at most HOLDERS_SHOWN."""
        ...

    async def stale(self, before: datetime, limit: int) -> Sequence[DeliveryId]:
        """Deliveries whose reservation is older than `before`, for the sweep."""
        ...

    async def balances(self, account: AccountId, address: str) -> Sequence[GrantBalance]:
        """What a person has granted, by template."""
        ...

    async def forget(self, before: datetime) -> int:
        """Remove what only guards against repeats and is older; how many."""
        ...


class ProviderTemplates(Protocol):
    """Templates as last synchronised. Reads may be a few seconds old."""

    async def template(self, account: AccountId, template: str) -> ProviderTemplate | None:
        """One of them."""
        ...

    async def templates_of(self, account: AccountId) -> Sequence[ProviderTemplate]:
        """All of them, by title."""
        ...

    async def replace(
        self, account: AccountId, found: Sequence[ProviderTemplate], *, now: datetime
    ) -> Sequence[ProviderTemplate]:
        """What the provider has now; those not among them are marked `gone`. Returns all, by title: past
        TEMPLATES_KEPT those that are gone longest are forgotten. Raises NotFound account_not_found."""
        ...


PACE_DEFAULT = 100.0
TICKET_LIFE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """How an account does, for the operator. `detail` has the provider's words, `advice` what to do."""

    ok: bool
    circuit: str
    """closed, open or probing."""
    open_until: datetime | None = None
    detail: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """A provider's daily count of one of its calls."""

    call: str
    limit: int
    used: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """How a person can prove whose address is whose: a page to open, or a QR code to scan, once."""

    url: str
    expires_at: datetime
    picture: str = ""


class Consent(StrEnum):
    """What a person answered to a mini program's question for a subscription."""

    ACCEPT = "accept"
    REJECT = "reject"
    BAN = "ban"
    FILTER = "filter"


class AccountDesk(Protocol):
    """What only a provider can do for an account. May raise Refused (the provider's refusal in plain words; code
    `provider_refused`), Conflict, NotFound or Unavailable."""

    async def health(self, account: Account, *, probe: bool) -> AccountHealth:
        """With `probe` the provider is asked for a token now; otherwise only what is known already."""
        ...

    async def quotas(self, account: Account) -> Sequence[Quota]:
        """What may still be sent today."""
        ...

    async def sync_templates(self, account: Account) -> Sequence[ProviderTemplate]:
        """Read the provider's templates and keep them."""
        ...

    async def invite_by_page(self, account: Account, user: UserKey, *, return_to: str) -> Invitation:
        """An OAuth page for who is in the provider's browser (an official account only)."""
        ...

    async def invite_by_qr(self, account: Account, user: UserKey) -> Invitation:
        """A QR code with a one-time scene (an official account only)."""
        ...

    async def bind_by_code(self, account: Account, user: UserKey, code: str) -> Binding:
        """A mini program's login code (code2session)."""
        ...

    async def refresh(self, account: Account, address: str) -> Binding:
        """Ask the provider whether the person follows now, and their union id."""
        ...

    async def report_consents(
        self, account: Account, user: UserKey, answers: Mapping[str, Consent], *, once: str
    ) -> Sequence[GrantBalance]:
        """What a client says the person answered, by template id. Raises Conflict grants_from_events where the account
        learns of grants by events. `once` identifies the question: a repeat changes nothing."""
        ...
