"""The directory: apps, keys, people, conversations and what became of notifications. Reads, and changes in one
transaction each. Everything asks for the app, so that one tenant cannot reach another's by a guessed id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

from hub.core.books import AccountChange
from hub.core.contacts import ContactChange, Contacts
from hub.core.conversation import ConversationKind
from hub.core.groups import Announcement, GroupChange
from hub.core.identity import ApiCaller, Recipient
from hub.core.message import AppId, ConversationId, IdempotencyClaim, UserKey
from hub.core.records import (
    ApiKeyRecord,
    AppRecord,
    AppSettings,
    AuditRecord,
    ConversationRecord,
    ConversationView,
    DeliveryFilter,
    DeliveryStory,
    DeliveryView,
    DeviceRecord,
    IssuedKey,
    MemberRecord,
    MintedToken,
    NamedPolicy,
    NotificationView,
    PageRequest,
    RecipientView,
    SigningKeyRecord,
    Slice,
    TimelineEvent,
    UserRecord,
    UserWrite,
)
from hub.core.webhooks import WebhookChange


class Change(GroupChange, ContactChange, WebhookChange, AccountChange, Protocol):
    """One transaction of changes to one app. Nothing holds until the context it came from ends without an error."""

    async def create_app(self, app: AppId, name: str, settings: AppSettings) -> AppRecord:
        """A new tenant. Raises Conflict app_exists."""
        ...

    async def patch_app(self, app: AppId, name: str | None, settings: AppSettings | None) -> AppRecord:
        """Change what is not None. Raises NotFound."""
        ...

    async def issue_key(
        self, app: AppId, name: str, scopes: Collection[str], expires_at: datetime | None
    ) -> IssuedKey:
        """A new API key."""
        ...

    async def revoke_key(self, key_id: str) -> None:
        """End a key of this app. Twice is harmless. Raises NotFound."""
        ...

    async def add_signing_key(self, alg: str, public_key: str) -> SigningKeyRecord:
        """Register a public key (PEM). Raises Refused public_key_invalid."""
        ...

    async def revoke_signing_key(self, kid: str) -> None:
        """End a signing key of this app, and with it every token that it signed. Raises NotFound."""
        ...

    async def put_user(self, user: UserWrite) -> tuple[UserRecord, bool]:
        """Make or change a user; True says that it is new."""
        ...

    async def put_users(self, users: Sequence[UserWrite]) -> Sequence[tuple[UserRecord, bool]]:
        """The same for many, in order."""
        ...

    async def sign_out(self, user: UserKey) -> datetime:
        """Refuse every token of this user issued until now; the time that counts."""
        ...

    async def kick_device(self, user: UserKey, device_id: str) -> None:
        """From now on the device needs a token that is issued after this. Raises NotFound."""
        ...

    async def remove_device(self, user: UserKey, device_id: str) -> None:
        """Forget a device. Raises NotFound."""
        ...

    async def ensure_direct(self, one: UserKey, other: UserKey) -> tuple[ConversationRecord, bool]:
        """The direct conversation of two users; True says that it is new."""
        ...

    async def put_policy(self, policy: NamedPolicy) -> tuple[NamedPolicy, bool]:
        """Make or change a named policy; True says that it is new."""
        ...

    async def delete_policy(self, name: str) -> None:
        """Remove a named policy. Raises NotFound."""
        ...

    async def remember(self, status: int, body: bytes) -> None:
        """The answer that the claim of this change will get from now on."""
        ...


class Directory(Contacts, Protocol):
    """Reads may be a few seconds old where a docstring says so. Every method may raise errors.Unavailable."""

    def change(
        self, app: AppId, *, actor: str, claim: IdempotencyClaim | None = None
    ) -> AbstractAsyncContextManager[Change]:
        """A transaction, committed when the context ends without an error. `actor` is noted in the audit.

        Entering raises records.Repeated where the claim's key was used before; of two at once, one waits for
        the other and then hears so.
        """
        ...

    async def api_caller(self, token: str) -> ApiCaller:
        """Who holds this API key. Raises Refused key_invalid. A revocation is seen within five seconds."""
        ...

    async def mint(self, app: AppId, user_id: str, *, ttl: timedelta, scopes: Collection[str]) -> MintedToken:
        """A token for a user, who is made if new."""
        ...

    async def user_keys(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The hub's numbers of users; unknown ones are missing. One query at most."""
        ...

    async def ensure_users(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The same, and unknown ones are made."""
        ...

    async def recipients(self, users: Collection[UserKey]) -> Mapping[UserKey, Recipient]:
        """How these users want to be spoken to; unknown ones are missing."""
        ...

    async def apps(self, page: PageRequest) -> Slice[AppRecord]:
        """All tenants."""
        ...

    async def app(self, app: AppId) -> AppRecord:
        """One tenant. Raises NotFound."""
        ...

    async def api_keys(self, app: AppId, page: PageRequest) -> Slice[ApiKeyRecord]:
        """The app's keys, revoked ones included."""
        ...

    async def signing_keys(self, app: AppId, page: PageRequest) -> Slice[SigningKeyRecord]:
        """The app's signing keys, revoked ones included."""
        ...

    async def users(self, app: AppId, page: PageRequest) -> Slice[UserRecord]:
        """The app's users, by their ids."""
        ...

    async def user(self, app: AppId, user_id: str) -> UserRecord:
        """One user. Raises NotFound."""
        ...

    async def last_seen(self, users: Collection[UserKey]) -> Mapping[UserKey, datetime]:
        """When users were last online; those never seen are missing."""
        ...

    async def devices(self, user: UserKey, page: PageRequest) -> Slice[DeviceRecord]:
        """A user's devices."""
        ...

    async def device(self, user: UserKey, device_id: str) -> DeviceRecord | None:
        """One of them."""
        ...

    async def conversation(self, app: AppId, conversation: ConversationId) -> ConversationRecord:
        """One conversation. Raises NotFound."""
        ...

    async def conversation_view(
        self, app: AppId, conversation: ConversationId, *, viewer: UserKey | None
    ) -> ConversationView:
        """One conversation as a member sees it, or (None) as the business system does. Raises NotFound."""
        ...

    async def conversations(
        self, app: AppId, *, kind: ConversationKind | None, page: PageRequest
    ) -> Slice[ConversationView]:
        """The app's conversations, newest first."""
        ...

    async def conversations_of(self, app: AppId, user: UserKey, page: PageRequest) -> Slice[ConversationView]:
        """A user's conversations with last message and unread: the inbox first, then by last activity."""
        ...

    async def is_member(self, conversation: ConversationId, user: UserKey) -> bool:
        """Whether this user is in it."""
        ...

    async def members(
        self, app: AppId, conversation: ConversationId, page: PageRequest
    ) -> Slice[MemberRecord]:
        """Who is in a conversation. Raises NotFound."""
        ...

    async def announcement(self, app: AppId, conversation: ConversationId) -> Announcement | None:
        """What stands at the top of a group."""
        ...

    async def thread_of(self, app: AppId, subject: str) -> ConversationRecord | None:
        """The thread of a subject."""
        ...

    async def policies(self, app: AppId) -> Sequence[NamedPolicy]:
        """The app's named policies, by name. May be a few seconds old."""
        ...

    async def notification(self, app: AppId, notification: str) -> NotificationView:
        """One notification with what each recipient has of it. Raises NotFound."""
        ...

    async def timeline(self, app: AppId, notification: str, page: PageRequest) -> Slice[TimelineEvent]:
        """What happened to a notification, oldest first. Raises NotFound."""
        ...

    async def deliveries(self, app: AppId, only: DeliveryFilter, page: PageRequest) -> Slice[DeliveryView]:
        """Deliveries that match, newest first."""
        ...

    async def delivery(self, app: AppId, delivery: str) -> DeliveryStory:
        """One delivery with its events and attempts. Raises NotFound."""
        ...

    async def standing(self, app: AppId, message: str, user: UserKey) -> RecipientView | None:
        """How far a message got with one user, chat and notifications alike; None where the user is not among its
        recipients. Raises NotFound message_not_found."""
        ...

    async def notification_message(self, app: AppId, notification: str) -> str:
        """The message that a notification is about. Raises NotFound notification_not_found."""
        ...

    async def stories(self, app: AppId, deliveries: Sequence[str]) -> Mapping[str, DeliveryStory]:
        """Deliveries with their events and attempts, by id; unknown ones are missing. Three queries."""
        ...

    async def audit(self, app: AppId, page: PageRequest) -> Slice[AuditRecord]:
        """Who did what to the app's configuration, newest first."""
        ...
