"""The four books of accounts at providers: as one thing to hand around, with the bounds and rules that every kind of
them keeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from hub.core.accounts import (
    Account,
    AccountBook,
    AccountId,
    AccountOptions,
    AccountSecrets,
    Binding,
    BindingBook,
    BindingState,
    GrantBook,
    ProviderTemplate,
    ProviderTemplates,
    Sighting,
)
from hub.core.errors import Refused
from hub.core.message import UserKey

ACCOUNTS_PER_APP: Final = 50
BINDINGS_SHOWN: Final = 200
HOLDERS_SHOWN: Final = 1_000
TEMPLATES_KEPT: Final = 500
ADDRESS_LENGTH: Final = 128
TITLE_LENGTH: Final = 256
UNION: Final = "union"
"""The source of what was found through a union id."""
GRANTS_MOST: Final = 1_000_000
"""Beyond this a ledger's row does not grow: nobody agrees to a million messages."""


@dataclass(frozen=True, slots=True)
class WeChatBooks:
    """What the hub keeps of accounts at providers: four books over one store."""

    accounts: AccountBook
    bindings: BindingBook
    grants: GrantBook
    templates: ProviderTemplates


@dataclass(frozen=True, slots=True)
class Proven:
    """A binding, and when somebody last proved whose it is (or unbound it)."""

    binding: Binding
    proved_at: datetime | None


def check_sighting(sighting: Sighting) -> None:
    """Raises Refused address_invalid for what no provider calls an address, so that no store meets it."""
    for text in (sighting.address, sighting.union_id):
        if text is not None and not (
            0 < len(text) <= ADDRESS_LENGTH and text.isascii() and text.isprintable()
        ):
            length = f"1 to {ADDRESS_LENGTH} printable ASCII characters"
            raise Refused("address_invalid", f"An address and a union id have {length}.")


def seen(known: Proven | None, sighting: Sighting, *, at: datetime) -> Proven:
    """What is known of an address after a sighting. Unchanged where it says nothing new; a user is always news."""
    if known is None:
        empty = Binding(
            sighting.account, sighting.address, None, None, BindingState.ACTIVE, sighting.source, at
        )
        known = Proven(empty, None)
    before = known.binding
    after = replace(
        before,
        user=before.user if sighting.user is None else sighting.user,
        union_id=sighting.union_id or before.union_id,
        state=sighting.state or before.state,
    )
    if sighting.user is not None:
        return replace(known, binding=replace(after, source=sighting.source, updated_at=at), proved_at=at)
    return known if after == before else replace(known, binding=replace(after, updated_at=at))


def united(group: Sequence[Proven], *, at: datetime) -> Sequence[Proven]:
    """Those of the addresses with one union id whose user changes: each gets the user proved last at any of them,
    save where it was unbound later than that."""
    proofs = [
        (known.proved_at, known.binding.address, known.binding.user)
        for known in group
        if known.proved_at is not None and known.binding.user is not None
    ]
    if not proofs:
        return []
    proved_at, _, user = max(proofs)
    changed: list[Proven] = []
    for known in group:
        older = known.proved_at is None or known.proved_at < proved_at
        if known.binding.user != user and older:
            binding = replace(known.binding, user=user, source=UNION, updated_at=at)
            changed.append(replace(known, binding=binding, proved_at=proved_at))
    return changed


def union_of(binding: Binding, options: AccountOptions) -> tuple[str, str] | None:
    """The family and union id by which an address is followed; None where it cannot be."""
    return (options.family, binding.union_id) if options.family and binding.union_id else None


def kept_templates(
    before: Iterable[ProviderTemplate],
    found: Sequence[ProviderTemplate],
    *,
    account: AccountId,
    now: datetime,
) -> Sequence[ProviderTemplate]:
    """What is kept after a synchronisation: what was found, then what is gone, the last seen first, up to the bound."""
    here = {
        t.id: replace(t, account=account, title=t.title[:TITLE_LENGTH], synced_at=now, gone=False)
        for t in found[:TEMPLATES_KEPT]
    }
    lost = [replace(template, gone=True) for template in before if template.id not in here]
    lost.sort(key=lambda template: (template.synced_at or now, template.id), reverse=True)
    return list(itertools.islice(itertools.chain(here.values(), lost), TEMPLATES_KEPT))


class AccountChange(Protocol):
    """The part of a directory.Change that is about accounts at providers: those of the app it is for, noted in the
    audit, never with a secret."""

    async def locked_account(self, account: AccountId) -> tuple[Account, AccountSecrets]:
        """An account as it is now, which nobody else changes until the end. Secrets that HUB_SECRET_KEY does not open
        count as empty. Raises NotFound account_not_found."""
        ...

    async def put_account(self, account: Account, secrets: AccountSecrets | None) -> bool:
        """See AccountBook."""
        ...

    async def note_sync(self, account: AccountId, templates: int) -> None:
        """The audit's line of a synchronisation."""
        ...

    async def import_bindings(self, sightings: Sequence[Sighting]) -> Sequence[Binding]:
        """See BindingBook.note. Raises NotFound account_not_found for another app's, too."""
        ...

    async def unbind(self, account: AccountId, user: UserKey) -> None:
        """See BindingBook. Raises NotFound account_not_found, or binding_not_found where there is nothing to undo."""
        ...
