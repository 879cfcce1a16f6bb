"""What a caller may be allowed to do: scopes of API keys and of end users' tokens."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """Of an API key. A key acts in its own app only, save for APPS_ADMIN."""

    APPS_ADMIN = "apps:admin"
    """Make and change any app of this hub: for who runs the hub, not for an app."""
    KEYS_ADMIN = "keys:admin"
    """Make and revoke keys, with at most the scopes of the key that makes them."""
    AUDIT_READ = "audit:read"
    TOKENS_WRITE = "tokens:write"
    """Mint end users' tokens and sign users out."""
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    PRESENCE_READ = "presence:read"
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"
    MESSAGES_READ = "messages:read"
    MESSAGES_WRITE = "messages:write"
    NOTIFICATIONS_READ = "notifications:read"
    NOTIFICATIONS_WRITE = "notifications:write"
    POLICIES_READ = "policies:read"
    POLICIES_WRITE = "policies:write"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    """Make and change accounts at providers, bind users to addresses."""
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    DELIVERIES_WRITE = "deliveries:write"
    """Replay dead letters."""


class UserScope(StrEnum):
    """Of an end user's token."""

    READ = "read"
    """See what is theirs, acknowledge it, and say how far they have read."""
    WRITE = "write"
    """Send, and change their own settings and devices."""


APP_SCOPES: Final = frozenset(Scope) - {Scope.APPS_ADMIN}
"""All that a key of an app may ever need."""
EVERY_SCOPE: Final = frozenset(Scope)
USER_SCOPES: Final = frozenset(UserScope)
