"""Values of a conversation: what the engine must know to deliver into it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from hub.core.message import AppId, ConversationId, UserKey


class ConversationKind(StrEnum):
    """Direct: two people. Group: any number. Inbox: the one place of an app where notifications live."""

    DIRECT = "direct"
    GROUP = "group"
    INBOX = "inbox"


class Fanout(StrEnum):
    """WRITE: a reference per member and message. READ: none; members pull by the conversation's seq."""

    WRITE = "write"
    READ = "read"


class Role(StrEnum):
    """What a member may do. Owners and admins manage members; a read-only member cannot send."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READONLY = "readonly"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as of `version`, which moves with every change of membership or of fan-out.

    `members` is complete for WRITE fan-out and empty for READ. `version` 0 marks one that does not exist yet
    and is made by its first message.
    """

    id: ConversationId
    app: AppId
    kind: ConversationKind
    fanout: Fanout
    version: int
    members: tuple[UserKey, ...] = ()
    readonly: frozenset[UserKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in a conversation. Messages up to `joined_seq` were before their time."""

    role: Role
    joined_seq: int
    read_seq: int


@lru_cache(maxsize=65_536)
def direct_id(app: AppId, one: UserKey, other: UserKey) -> ConversationId:
    """The id of the direct conversation of two users, the same from either side."""
    low, high = sorted((one, other))
    return _derived("direct", app, str(low), str(high))


@lru_cache(maxsize=1_024)
def inbox_id(app: AppId) -> ConversationId:
    """The id of the app's inbox."""
    return _derived("inbox", app)


def _derived(*parts: str) -> ConversationId:
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    text = base64.b32encode(digest).decode("ascii").rstrip("=").lower()
    return ConversationId(f"cnv_{text}")
