"""Accounts at providers, addresses and templates in this process's memory: for tests, examples and one-process use.

What happens in one call happens at once: there is no await inside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hub.core.accounts import (
    Account,
    AccountId,
    AccountSecrets,
    Binding,
    ProviderTemplate,
    Sighting,
    Ticket,
    TicketKind,
)
from hub.core.books import (
    ACCOUNTS_PER_APP,
    BINDINGS_SHOWN,
    Proven,
    WeChatBooks,
    check_sighting,
    kept_templates,
    seen,
    union_of,
    united,
)
from hub.core.errors import Conflict, NotFound
from hub.core.message import AppId, UserKey
from hub.core.ports import Clock
from hub.store.clock import utc_now
from hub.store.memory_grants import MemoryGrants

_MICROSECOND = timedelta(microseconds=1)


class MemoryAccounts:
    """`AccountBook`."""

    def __init__(self) -> None:
        self.known: dict[AccountId, Account] = {}
        self.kept: dict[AccountId, AccountSecrets] = {}
        self.dependents: list[MemoryBindings | MemoryGrants | MemoryTemplates] = []

    def found(self, account: AccountId) -> Account:
        """It, or NotFound account_not_found."""
        if account not in self.known:
            raise NotFound("account_not_found", "There is no such account.")
        return self.known[account]

    async def account(self, account: AccountId) -> Account | None:
        """See the port."""
        return self.known.get(account)

    async def accounts_of(self, app: AppId, channel: str | None = None) -> Sequence[Account]:
        """See the port."""
        own = [a for a in self.known.values() if a.app == app and channel in (None, a.channel)]
        return sorted(own, key=lambda account: (account.created_at, account.id))

    async def secrets(self, account: AccountId) -> AccountSecrets:
        """See the port."""
        self.found(account)
        return self.kept[account]

    async def put_account(self, account: Account, secrets: AccountSecrets | None, *, actor: str) -> bool:  # noqa: ARG002
        """See the port; `actor` is noted nowhere."""
        others = [a for a in self.known.values() if a.id != account.id]
        name = (account.app, account.channel, account.external_id)
        before = self.known.get(account.id)
        if (before is not None and before.app != account.app) or name in {
            (a.app, a.channel, a.external_id) for a in others
        }:
            raise Conflict("account_taken", "The app has this account already.")
        if before is None and sum(a.app == account.app for a in others) >= ACCOUNTS_PER_APP:
            raise Conflict("account_limit", f"An app has at most {ACCOUNTS_PER_APP} accounts.")
        self.known[account.id] = account if before is None else replace(account, created_at=before.created_at)
        if secrets is not None or before is None:
            self.kept[account.id] = secrets or AccountSecrets("")
        return before is None

    async def delete_account(self, account: AccountId, *, actor: str) -> None:  # noqa: ARG002
        """See the port."""
        self.found(account)
        del self.known[account], self.kept[account]
        for dependent in self.dependents:
            dependent.forget_account(account)


class MemoryBindings:
    """`BindingBook`."""

    def __init__(self, accounts: MemoryAccounts, *, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._known: dict[tuple[AccountId, str], Proven] = {}
        self._tickets: dict[tuple[str, TicketKind], Ticket] = {}

    async def addresses(
        self, accounts: Collection[AccountId], users: Collection[UserKey]
    ) -> Mapping[tuple[AccountId, UserKey], Binding]:
        """See the port."""
        wanted = set(users)
        found: dict[tuple[AccountId, UserKey], Binding] = {}
        for known in self._by_proof():
            binding = known.binding
            if binding.account in accounts and binding.user is not None and binding.user in wanted:
                found[binding.account, binding.user] = binding
        return found

    def _by_proof(self) -> list[Proven]:
        proved = ((known.proved_at, known) for known in self._known.values())
        pairs = [(at, known.binding.address, known) for at, known in proved if at is not None]
        return [known for *_, known in sorted(pairs, key=lambda pair: pair[:2])]

    async def bindings_of(self, app: AppId, user: UserKey) -> Sequence[Binding]:
        """See the port."""
        own = [
            known.binding
            for known in self._known.values()
            if known.binding.user == user and self._accounts.known[known.binding.account].app == app
        ]
        own.sort(key=lambda binding: (binding.updated_at, binding.account, binding.address), reverse=True)
        return own[:BINDINGS_SHOWN]

    async def binding(self, account: AccountId, address: str) -> Binding | None:
        """See the port."""
        known = self._known.get((account, address))
        return None if known is None else known.binding

    async def note(self, sightings: Sequence[Sighting]) -> Sequence[Binding]:
        """See the port."""
        for sighting in sightings:
            check_sighting(sighting)
            self._accounts.found(sighting.account)
        now = self._clock()
        own = {(sighting.account, sighting.address): None for sighting in sightings}
        for place, sighting in enumerate(sightings):
            key = (sighting.account, sighting.address)
            self._known[key] = seen(self._known.get(key), sighting, at=now + place * _MICROSECOND)
        changed: dict[tuple[AccountId, str], None] = {}
        for union in dict.fromkeys(self._union(key) for key in own):
            if union is not None:
                changed |= dict.fromkeys(self._unite(union, now))
        others = [self._known[key].binding for key in changed if key not in own]
        return [self._known[s.account, s.address].binding for s in sightings] + others

    def _union(self, key: tuple[AccountId, str]) -> tuple[AppId, tuple[str, str]] | None:
        account = self._accounts.known[key[0]]
        union = union_of(self._known[key].binding, account.options)
        return None if union is None else (account.app, union)

    def _unite(self, union: tuple[AppId, tuple[str, str]], now: datetime) -> Iterable[tuple[AccountId, str]]:
        group = [known for key, known in self._known.items() if self._union(key) == union]
        for known in united(group, at=now):
            key = (known.binding.account, known.binding.address)
            self._known[key] = known
            yield key

    async def unbind(self, account: AccountId, user: UserKey) -> bool:
        """See the port."""
        now = self._clock()
        own = [k for k in self._known.values() if k.binding.account == account and k.binding.user == user]
        for known in own:
            binding = replace(known.binding, user=None, updated_at=now)
            self._known[account, binding.address] = replace(known, binding=binding, proved_at=now)
        return bool(own)

    async def issue_ticket(self, ticket: Ticket) -> None:
        """See the port."""
        self._tickets[ticket.token, ticket.kind] = ticket

    async def redeem_ticket(self, token: str, kind: TicketKind, *, now: datetime) -> Ticket | None:
        """See the port."""
        ticket = self._tickets.pop((token, kind), None)
        return None if ticket is None or ticket.expires_at <= now else ticket

    async def forget_tickets(self, before: datetime) -> int:
        """See the port."""
        old = [key for key, ticket in self._tickets.items() if ticket.expires_at < before]
        for key in old:
            del self._tickets[key]
        return len(old)

    def forget_account(self, account: AccountId) -> None:
        """It was deleted."""
        self._known = {key: known for key, known in self._known.items() if key[0] != account}
        self._tickets = {key: t for key, t in self._tickets.items() if t.account != account}


class MemoryTemplates:
    """`ProviderTemplates`."""

    def __init__(self, accounts: MemoryAccounts) -> None:
        self._accounts = accounts
        self._known: dict[AccountId, dict[str, ProviderTemplate]] = {}

    async def template(self, account: AccountId, template: str) -> ProviderTemplate | None:
        """See the port."""
        return self._known.get(account, {}).get(template)

    async def templates_of(self, account: AccountId) -> Sequence[ProviderTemplate]:
        """See the port."""
        return sorted(self._known.get(account, {}).values(), key=lambda found: (found.title, found.id))

    async def replace(
        self, account: AccountId, found: Sequence[ProviderTemplate], *, now: datetime
    ) -> Sequence[ProviderTemplate]:
        """See the port."""
        self._accounts.found(account)
        self._known[account] = {t.id: t for t in kept_templates(
            self._known.get(account, {}).values(), found, account=account, now=now
        )}  # fmt: skip
        return await self.templates_of(account)

    def forget_account(self, account: AccountId) -> None:
        """It was deleted."""
        self._known.pop(account, None)


def memory_books(*, clock: Clock = utc_now) -> WeChatBooks:
    """Books that nothing outlives."""
    accounts = MemoryAccounts()
    bindings = MemoryBindings(accounts, clock=clock)
    grants = MemoryGrants(clock=clock)
    templates = MemoryTemplates(accounts)
    accounts.dependents += [bindings, grants, templates]
    return WeChatBooks(accounts, bindings, grants, templates)
