"""Schemas of conversations, members, messages and the queue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from hub.api.schemas import (
    MAX_SAFE,
    FreeObject,
    Line,
    Seq,
    Shown,
    Strict,
    Title,
    UserId,
    example,
)
from hub.api.schemas_groups import GROUP_EXAMPLE, AvatarUrl, GroupShown, MaxMembers, WhoInvites
from hub.core.conversation import Role
from hub.core.group_rules import Invite
from hub.core.identity import Platform

_MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_0195a1",
    "conversation": "cnv_0195a0",
    "seq": 7,
    "sender": "u_1024",
    "kind": "text",
    "body": {"text": "你好 🎉"},
    "at": "2026-03-01T01:12:00Z",
    "client_msg_id": "c-1",
}
_CONVERSATION: Final[dict[str, Any]] = {
    "id": "cnv_0195a0",
    "kind": "group",
    "title": "差旅报销 ✈️",
    "fanout": "write",
    "member_count": 3,
    "version": 1,
    "metadata": {"biz": "oa"},
    "created_at": "2026-03-01T01:00:00Z",
    "group": GROUP_EXAMPLE,
    "people": [],
    "last_message": _MESSAGE,
    "announced": False,
    "mine": {
        "role": "member",
        "read_seq": 5,
        "muted": False,
        "unread": 2,
        "mention": 7,
        "marked_unread": False,
        "pinned_at": None,
        "muted_until": None,
        "draft": None,
        "draft_at": None,
        "cleared_seq": 0,
        "nickname": "",
        "rev": 0,
    },
}
_MEMBER: Final[dict[str, Any]] = {
    "user_id": "u_1024",
    "name": "王小明",
    "role": "member",
    "joined_seq": 0,
    "read_seq": 5,
    "silenced_until": None,
    "joined_at": "2026-03-01T01:00:00Z",
}

MemberRole = Annotated[Role, Field(description="`readonly` may read but not write.")]


class ReactionShown(Shown):
    """How many users put an emoji to a message, and whether the reader is one of them."""

    model_config = example({"emoji": "👍", "count": 2, "mine": True}, title="Reaction")

    emoji: str
    count: int
    mine: bool


class MessageShown(Shown):
    """A message. `sender` is null for the business system."""

    model_config = example(_MESSAGE, title="Message")

    id: str
    conversation: str
    seq: int
    sender: str | None
    kind: str
    body: Any
    at: datetime
    client_msg_id: str | None = None
    mentions: list[str] | None = None
    notification: str | None = None
    expires_at: datetime | None = None
    control: bool = Field(False, description="It tells of a change and is nothing to be read.")
    reply_to: str | None = Field(None, description="What it answers; of a control message, what it changes.")
    forward_of: str | None = None
    edited_at: datetime | None = None
    reactions: list[ReactionShown] | None = None


class HistoryNext(Shown):
    """`next` is the seq for the next page in the same direction, null at the end."""

    next: int | None
    has_more: bool


class HistoryShown(Shown):
    """Messages in ascending seq. `low` and `high` are the seqs that the page covers."""

    model_config = example(
        {"data": [_MESSAGE], "page": {"next": 7, "has_more": False}, "low": 7, "high": 7, "gap": None},
        title="History",
    )

    data: list[MessageShown]
    page: HistoryNext
    low: int
    high: int
    gap: tuple[int, int] | None = Field(
        None, description="A stretch that is still being written: ask again shortly."
    )
    quoted: list[MessageShown] = Field(
        default_factory=list, description="What messages of the page answer and is not on it."
    )


class GroupNew(Strict):
    """A new group."""

    model_config = example(
        {
            "kind": "group",
            "title": "差旅报销 ✈️",
            "members": [{"user_id": "u_9", "role": "owner"}, {"user_id": "u_1024"}],
        }
    )

    class Member(Strict):
        """Who, and as what."""

        user_id: UserId
        role: MemberRole = Role.MEMBER

    kind: Literal["group"] = "group"
    title: Title = ""
    members: Annotated[list[Member], Field(min_length=1, max_length=1_000)]
    metadata: FreeObject = Field(default_factory=dict)
    avatar: AvatarUrl = ""
    invite: WhoInvites = Invite.MEMBERS
    open: bool = Field(False, description="Every user of the app may join.")
    max_members: MaxMembers = 0


class DirectPut(Strict):
    """The two people of a direct conversation (or one, for notes to oneself)."""

    model_config = example({"users": ["u_9", "u_1024"]})

    users: Annotated[list[UserId], Field(min_length=2, max_length=2)]


class ConversationPatch(Strict):
    """What is left out stays as it is."""

    model_config = example({"title": "差旅报销 · 三月"})

    title: Title | None = None
    metadata: FreeObject | None = Field(None, description="Replaced as a whole.")
    avatar: AvatarUrl | None = None
    invite: WhoInvites | None = None
    open: bool | None = Field(None, description="Every user of the app may join.")
    max_members: MaxMembers | None = None


class MembersAdd(Strict):
    """Users to add; with an API key, for those who are in it already, the role to give."""

    model_config = example({"members": [{"user_id": "u_7"}]})

    members: Annotated[list[GroupNew.Member], Field(min_length=1, max_length=1_000)]


class RolePatch(Strict):
    """A member's new role."""

    model_config = example({"role": "admin"})

    role: MemberRole


class OwnPartShown(Shown):
    """How the user stands to the conversation, and what the user keeps of it. `unread` is counted among the newest 200
    messages: 200 stands for that many or more.
    """

    role: str
    read_seq: int
    muted: bool
    unread: int
    mention: int = Field(
        description="The highest unread seq that mentions the user or everybody, 0 for none."
    )
    marked_unread: bool
    pinned_at: datetime | None
    muted_until: datetime | None
    draft: Any
    draft_at: datetime | None
    cleared_seq: int = Field(description="Messages up to it are not shown to the user any more.")
    nickname: str
    rev: int = Field(description="Of the state: a `conversation` frame with a lower one is older.")


class ConversationShown(Shown):
    """A conversation. `mine` is there for a member's view; `people` are the two of a direct one."""

    model_config = example(_CONVERSATION, title="Conversation")

    id: str
    kind: Literal["direct", "group", "thread", "inbox"]
    title: str
    fanout: Literal["write", "read"] = Field(
        description="`read`: past the fan-out limit; its messages are pulled from the history, not from the queue."
    )
    member_count: int
    version: int
    metadata: dict[str, Any]
    created_at: datetime
    group: GroupShown | None = Field(None, description="Of groups and threads.")
    people: list[str]
    last_message: MessageShown | None
    mine: OwnPartShown | None
    announced: bool = Field(description="An announcement stands at its top.")


class MemberShown(Shown):
    """A member. Messages up to `joined_seq` were before their time; nothing is said before `silenced_until`."""

    model_config = example(_MEMBER, title="Member")

    user_id: str
    name: str
    role: str
    joined_seq: int
    read_seq: int
    silenced_until: datetime | None
    joined_at: datetime


class ReadUpTo(Strict):
    """How far the user has read."""

    model_config = example({"seq": 7})

    seq: Seq
    user: UserId | None = Field(None, description="Who; with an API key only.")


class QueueEntryShown(Shown):
    """One number of the queue; `message` is null where the number was closed unused or the body is gone."""

    q: int
    message: MessageShown | None


class QueueNext(Shown):
    """`next` is the cursor to go on from, and to acknowledge."""

    next: int
    has_more: bool


class QueuePageShown(Shown):
    """A contiguous stretch of the queue, oldest first. `rebase`: start again from the conversation list."""

    model_config = example(
        {
            "data": [{"q": 42, "message": _MESSAGE}],
            "page": {"next": 42, "has_more": False},
            "head": 42,
            "rebase": False,
        },
        title="QueuePage",
    )

    data: list[QueueEntryShown]
    page: QueueNext
    head: int
    rebase: bool


class DeviceNamed(Strict):
    """The device that acknowledges; made if it is new."""

    id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
    platform: Platform = Platform.MINIPROGRAM
    name: Annotated[Line, Field(max_length=128)] = ""


class QueueAck(Strict):
    """This device has everything up to `seq`."""

    model_config = example({"seq": 42, "device": {"id": "mp-1", "platform": "miniprogram"}})

    seq: Annotated[int, Field(ge=0, le=MAX_SAFE, strict=True)]
    device: DeviceNamed
    user: UserId | None = Field(None, description="Whose queue; with an API key only.")
