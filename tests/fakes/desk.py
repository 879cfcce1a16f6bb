"""An AccountDesk that asks no provider: it answers by simple rules, and refuses what a test told it to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hub.core.accounts import (
    TICKET_LIFE,
    Account,
    AccountHealth,
    Binding,
    BindingState,
    Consent,
    GrantBalance,
    GrantKey,
    GrantSource,
    Invitation,
    ProviderTemplate,
    Quota,
    Sighting,
    Ticket,
    TicketKind,
)
from hub.core.books import WeChatBooks
from hub.core.errors import Conflict, HubError, NotFound
from hub.core.message import UserKey
from hub.core.ports import Clock


@dataclass
class MemoryDesk:
    """A login code `c` is the address `o_c`. `provider` are the templates that a synchronisation finds; `trouble`, if
    there is any, is what every method that asks a provider raises."""

    books: WeChatBooks
    clock: Clock
    provider: Sequence[ProviderTemplate] = ()
    trouble: HubError | None = None
    tickets: list[Ticket] = field(default_factory=list)

    async def health(self, account: Account, *, probe: bool) -> AccountHealth:
        """Open where a probe met trouble."""
        if probe and self.trouble is not None:
            until = datetime(2026, 3, 1, 1, 14, tzinfo=UTC)
            return AccountHealth(False, "open", until, self.trouble.detail, "40164")
        return AccountHealth(account.enabled, "closed")

    async def quotas(self, account: Account) -> Sequence[Quota]:
        """One call, hardly used."""
        self._ask()
        return [Quota(f"/cgi-bin/{account.channel}", 100, 1, 99)]

    async def sync_templates(self, account: Account) -> Sequence[ProviderTemplate]:
        """What `provider` says."""
        self._ask()
        return await self.books.templates.replace(account.id, self.provider, now=self.clock())

    async def invite_by_page(self, account: Account, user: UserKey, *, return_to: str) -> Invitation:
        """A ticket whose token stands in the address."""
        ticket = await self._issue(account, user, TicketKind.OAUTH_STATE, return_to)
        return Invitation(f"https://open.example.com/?state={ticket.token}", ticket.expires_at)

    async def invite_by_qr(self, account: Account, user: UserKey) -> Invitation:
        """The same with a picture."""
        self._ask()
        ticket = await self._issue(account, user, TicketKind.QR_SCENE, "")
        return Invitation(
            f"https://q.example.com/{ticket.token}", ticket.expires_at, "https://q.example.com/a.png"
        )

    async def bind_by_code(self, account: Account, user: UserKey, code: str) -> Binding:
        """Mini programs only."""
        if account.channel != "miniprogram":
            raise Conflict("not_for_this_account", "Only a mini program can do this.")
        self._ask()
        sighting = Sighting(account.id, f"o_{code}", "code", user, f"un_{code}", BindingState.ACTIVE)
        return (await self.books.bindings.note([sighting]))[0]

    async def refresh(self, account: Account, address: str) -> Binding:
        """Nothing new."""
        found = await self.books.bindings.binding(account.id, address)
        if found is None:
            raise NotFound("binding_not_found", "Nothing is known of this address.")
        return found

    async def report_consents(
        self, account: Account, user: UserKey, answers: Mapping[str, Consent], *, once: str
    ) -> Sequence[GrantBalance]:
        """Each acceptance counts one."""
        if account.options.grants_from is not GrantSource.CLIENT:
            raise Conflict("grants_from_events", "This account learns of subscriptions by events.")
        found = await self.books.bindings.addresses([account.id], [user])
        binding = found.get((account.id, user))
        if binding is None:
            raise NotFound("binding_not_found", "The user is not bound at this account.")
        for template, answer in answers.items():
            if answer is Consent.ACCEPT:
                await self.books.grants.add(GrantKey(account.id, binding.address, template), 1, once=once)
        return await self.books.grants.balances(account.id, binding.address)

    def _ask(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def _issue(self, account: Account, user: UserKey, kind: TicketKind, return_to: str) -> Ticket:
        number = len(self.tickets)
        ticket = Ticket(f"ticket-{number}", kind, account.id, user, self.clock() + TICKET_LIFE, return_to)
        self.tickets.append(ticket)
        await self.books.bindings.issue_ticket(ticket)
        return ticket
