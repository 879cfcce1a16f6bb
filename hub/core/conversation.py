"""Values of a conversation: what the engine must know to deliver into it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from hub.core.message import AppId, ConversationId, UserKey


class ConversationKind(StrEnum):
    """Direct: two people. Group: any number. Thread: the discussion of a subject, such as the comments under a post.
    Inbox: the one place of an app where notifications live.
    """

    DIRECT = "direct"
    GROUP = "group"
    THREAD = "thread"
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
class Speech:
    """Who may speak in a conversation at the moment, beyond being a member who is not read-only."""

    silenced: bool = False
    """Only its owner and its admins speak."""
    leaders: frozenset[UserKey] = frozenset()
    """The owner and the admins, where it is silenced and write-diffused."""
    silenced_until: Mapping[UserKey, datetime] = field(default_factory=dict)
    """Members who may not speak before a time; complete for WRITE fan-out and empty for READ."""
    dissolved: bool = False
    """Nobody speaks any more."""
    open: bool = False
    """Whoever is no member may become one; in a thread by speaking."""


FREE = Speech()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as of `version`, which moves with every change of membership, of fan-out or of who may speak.

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
    speech: Speech = FREE
    blocked: frozenset[UserKey] = frozenset()
    """Those of a direct conversation of whom the other one does not want to hear."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in a conversation. Messages up to `joined_seq` were before their time."""

    role: Role
    joined_seq: int
    read_seq: int
    silenced_until: datetime | None = None
    cleared_seq: int = 0
    """Messages up to it were cleared by the member for themselves."""
    hides: bool = False
    """The member has hidden single messages of this conversation."""


def fanout_of(now: Fanout, members: int, limit: int) -> Fanout:
    """How a conversation that is at `now` goes on with so many members: READ above the limit, WRITE again below half
    of it, and in between as it is, so that it does not swing with every member who comes and goes.
    """
    if members > limit:
        return Fanout.READ
    return Fanout.WRITE if members * 2 < limit else now


@lru_cache(maxsize=65_536)
def direct_id(app: AppId, one: UserKey, other: UserKey) -> ConversationId:
    """The id of the direct conversation of two users, the same from either side."""
    low, high = sorted((one, other))
    return _derived("direct", app, str(low), str(high))


def thread_id(app: AppId, subject: str) -> ConversationId:
    """The id of the thread of a subject."""
    return _derived("thread", app, subject)


@lru_cache(maxsize=1_024)
def inbox_id(app: AppId) -> ConversationId:
    """The id of the app's inbox."""
    return _derived("inbox", app)


def _derived(*parts: str) -> ConversationId:
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    text = base64.b32encode(digest).decode("ascii").rstrip("=").lower()
    return ConversationId(f"cnv_{text}")
