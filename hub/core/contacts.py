"""Values of contacts: whom a user knows, as what, and whom she will not hear of. Nobody else ever sees them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from hub.core.message import AppId, ConversationId, UserKey
from hub.core.own_state import OwnState, OwnStateWrite
from hub.core.records import PageRequest, Slice

MOST_CONTACTS: Final = 10_000
"""Of one user."""
CONTACT: Final = "contact"
"""The kind of a contact of whom nothing else is said."""


@dataclass(frozen=True, slots=True)
class ContactWrite:
    """A contact as it should be; None leaves a field as it is (or at its default for a new one)."""

    user: UserKey
    kind: str | None = None
    alias: str | None = None
    note: str | None = None
    tags: tuple[str, ...] | None = None
    starred: bool | None = None
    blocked: bool | None = None


@dataclass(frozen=True, slots=True)
class ContactRecord:
    """One user in the contacts of another. `name` is what the product calls the user."""

    user: UserKey
    user_id: str
    name: str
    kind: str
    alias: str
    note: str
    tags: tuple[str, ...]
    starred: bool
    blocked: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ContactFilter:
    """Which contacts a list shows; `text` is looked for in names and aliases."""

    kind: str | None = None
    tag: str | None = None
    starred: bool | None = None
    blocked: bool | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class ContactChanges:
    """What came of writing contacts. `conversations` are the direct ones in which somebody was (un)blocked, with the
    user whom that is about."""

    written: Sequence[tuple[ContactRecord, bool]]
    conversations: Sequence[tuple[ConversationId, UserKey]] = ()


class Contacts(Protocol):
    """Reads of contacts."""

    async def contacts(
        self, app: AppId, owner: UserKey, only: ContactFilter, page: PageRequest
    ) -> Slice[ContactRecord]:
        """A user's contacts that match, by their product ids."""
        ...

    async def contact(self, app: AppId, owner: UserKey, user: UserKey) -> ContactRecord:
        """One of them. Raises NotFound contact_not_found."""
        ...


class ContactChange(Protocol):
    """The part of a change that is about contacts and a user's own state."""

    async def put_contacts(self, owner: UserKey, contacts: Sequence[ContactWrite]) -> ContactChanges:
        """Make or change contacts, in order; True says that one is new. Blocking takes effect with the commit: a
        direct message that is accepted later is refused. Raises Refused contact_self, contacts_full."""
        ...

    async def delete_contact(self, owner: UserKey, user: UserKey) -> ContactChanges:
        """Forget a contact, and that it was blocked. Raises NotFound contact_not_found."""
        ...

    async def set_own_state(
        self, user: UserKey, conversation: ConversationId, wanted: OwnStateWrite
    ) -> OwnState:
        """Change what a member keeps of a conversation. Raises NotFound conversation_not_found for who is not in it."""
        ...


def folded(text: str) -> str:
    """Text as names are compared: full-width as half-width, capitals as small, what is around cut off."""
    return unicodedata.normalize("NFKC", text).casefold().strip()
