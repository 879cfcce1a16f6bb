"""Groups and threads as values, what a directory does to them in one transaction, and what the engine asks of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NewType, Protocol

from hub.core.conversation import Role
from hub.core.group_rules import Invite
from hub.core.message import AppId, ConversationId, UserKey

if TYPE_CHECKING:
    from hub.core.records import ConversationRecord, NewMember

NoticeId = NewType("NoticeId", str)


@dataclass(frozen=True, slots=True)
class Doer:
    """Who changes a group: a user, or (without a key) the business system."""

    key: UserKey | None = None
    id: str | None = None


SYSTEM_DOER = Doer()


@dataclass(frozen=True, slots=True)
class GroupState:
    """What a group or a thread has beside its title. `subject` is a thread's; `read_until` is the highest number of
    its last time as a read-diffused one."""

    avatar: str = ""
    subject: str | None = None
    invite: Invite = Invite.ADMINS
    open: bool = False
    max_members: int = 0
    """0 is as many as the hub allows."""
    silenced: bool = False
    dissolved_at: datetime | None = None
    owner: UserKey | None = None
    read_until: int = 0


@dataclass(frozen=True, slots=True)
class GroupWrite:
    """What a group should be like; None leaves a field as it is (or at its default for a new one)."""

    title: str | None = None
    avatar: str | None = None
    metadata: str | None = None
    invite: Invite | None = None
    open: bool | None = None
    max_members: int | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What stands at the top of a group. `by` is the product's user id, None for the business system."""

    text: str
    by: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """A conversation after a change, and the users for whom live sessions must look again at what they are in."""

    record: ConversationRecord
    users: tuple[UserKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """What members are still to be told of a change; `also` are users beside them who must hear of it."""

    id: NoticeId
    app: AppId
    conversation: ConversationId
    body: str
    also: tuple[UserKey, ...] = ()


class GroupChange(Protocol):
    """Changes of groups and threads. Each asks group_rules under the lock of the conversation, raises its version and
    writes down a notice, all in the transaction that it is part of. All raise NotFound, Forbidden and Conflict."""

    async def create_group(
        self, wanted: GroupWrite, members: Sequence[NewMember], *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """A new group. A user who makes one owns it; a business system names at most one owner."""
        ...

    async def put_thread(
        self, subject: str, wanted: GroupWrite, *, by: Doer = SYSTEM_DOER
    ) -> tuple[GroupChanged, bool]:
        """The thread of a subject, which is made if new (True). One that exists stays as it is."""
        ...

    async def patch_group(
        self, conversation: ConversationId, wanted: GroupWrite, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Change what is not None."""
        ...

    async def add_members(
        self, conversation: ConversationId, members: Sequence[NewMember], *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Bring users in, who see what comes from now on. For those who are in it, the business system's call gives
        the role named; a user's call leaves them as they are."""
        ...

    async def join(self, conversation: ConversationId, user: UserKey) -> GroupChanged:
        """Become a member of an open one; twice is harmless."""
        ...

    async def leave(self, conversation: ConversationId, user: UserKey) -> GroupChanged:
        """Be a member no more. The last who leaves a group dissolves it."""
        ...

    async def remove_member(
        self, conversation: ConversationId, user: UserKey, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Take a user out. Where a business system takes out the owner, the oldest admin (else member) follows."""
        ...

    async def expel(self, user: UserKey, *, limit: int = 200) -> Sequence[GroupChanged]:
        """Take a user out of `limit` of their groups and threads; empty when there are none left."""
        ...

    async def set_role(
        self, conversation: ConversationId, user: UserKey, role: Role, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Change a member's role; `owner` hands the group over."""
        ...

    async def transfer(
        self, conversation: ConversationId, user: UserKey, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Hand the group over; who owned it becomes an admin."""
        ...

    async def silence_member(
        self, conversation: ConversationId, user: UserKey, until: datetime | None, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Let a member not speak before a time; None lets them speak again."""
        ...

    async def silence_group(
        self, conversation: ConversationId, silenced: bool, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Let only the owner and the admins speak, or everybody again."""
        ...

    async def announce(
        self, conversation: ConversationId, text: str, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Put an announcement up in place of the last one; an empty one takes it down."""
        ...

    async def dissolve(self, conversation: ConversationId, *, by: Doer = SYSTEM_DOER) -> GroupChanged:
        """No more messages; members read on. Twice is a Conflict."""
        ...


class GroupStore(Protocol):
    """What the engine asks about groups. Each is one transaction and may raise Unavailable."""

    async def join_open(self, app: AppId, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """Make these users members where the conversation is open; who is one already stays so."""
        ...

    async def reads_open(self, conversation: ConversationId, user: UserKey) -> bool:
        """Whether this user, who is no member, may read it: an open thread of their own app."""
        ...

    async def notices(self, conversation: ConversationId, *, limit: int) -> Sequence[Notice]:
        """The oldest notices of a conversation that are still to be sent, in the order of the changes."""
        ...

    async def untold(self, *, before: datetime, limit: int) -> Sequence[ConversationId]:
        """Conversations with notices written before a time."""
        ...

    async def told(self, notices: Collection[NoticeId]) -> None:
        """These have been sent. Twice is harmless."""
        ...
