"""Schemas of what is done with messages that are there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from hub.api.schemas import ClientMsgId, FreeObject, Line, Shown, Strict, Text, UserId, example
from hub.api.schemas_chat import MessageShown
from hub.api.schemas_sending import Destination, MessageAccepted
from hub.core.chat_rules import MAX_FORWARD, MAX_HIDDEN

MessageKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]
_ACCEPTED: Final[dict[str, Any]] = {
    "id": "msg_0195a1",
    "conversation": "cnv_0195a0",
    "seq": 8,
    "at": "2026-03-01T01:13:00Z",
    "duplicate": False,
}


class MessagePatch(Strict):
    """Another body for a message. Nobody is mentioned anew by it."""

    model_config = example({"body": {"text": "你好 🎊"}, "client_msg_id": "e-1"})

    body: FreeObject | Text = Field(description="As in a new message of the same kind.")
    mentions: Annotated[list[UserId], Field(max_length=50, default_factory=list)]
    client_msg_id: ClientMsgId | None = None


class HideNew(Strict):
    """Messages of one conversation that the user does not want to see any more."""

    model_config = example({"messages": ["msg_0195a1"]})

    messages: Annotated[list[MessageKey], Field(min_length=1, max_length=MAX_HIDDEN)]
    user: UserId | None = Field(None, description="Who; with an API key only.")


class ForwardNew(Strict):
    """Messages to copy to another conversation."""

    model_config = example(
        {"messages": ["msg_0195a1"], "to": {"user": "u_1024"}, "client_msg_id": "f-1", "sender": "u_9"}
    )

    messages: Annotated[list[MessageKey], Field(min_length=1, max_length=MAX_FORWARD)]
    to: Destination
    client_msg_id: ClientMsgId
    merged: bool = Field(False, description="As one message of the kind `forward`, instead of one by one.")
    title: Annotated[Line, StringConstraints(max_length=256)] = ""
    sender: UserId | None = Field(None, description="Who forwards; with an API key only.")


class ForwardedShown(Shown):
    """What was made, in the order asked for; one where they were merged."""

    model_config = example({"data": [_ACCEPTED]}, title="Forwarded")

    data: list[MessageAccepted]


class ChangedShown(Shown):
    """Committed: `id` is the message that was changed, `seq` that of the control message which tells of it. `duplicate`
    says that it was so before."""

    model_config = example(_ACCEPTED, title="Changed")

    id: str
    conversation: str
    seq: int
    at: datetime
    duplicate: bool


class ReceiptsShown(Shown):
    """How many members have read a message and how many have not, its sender left out. Past 1,000 a number is a lower
    bound and not `exact`."""

    model_config = example(
        {"read": 12, "unread": 3, "read_exact": True, "unread_exact": True}, title="Receipts"
    )

    read: int
    unread: int
    read_exact: bool
    unread_exact: bool


class PersonShown(Shown):
    """A member in a list of readers, or of who reacted."""

    model_config = example({"user_id": "u_1024", "name": "王小明"}, title="Person")

    user_id: str
    name: str


class PinShown(Shown):
    """A pinned message. `by` is null for the business system."""

    model_config = example(
        {
            "by": "u_9",
            "at": "2026-03-01T01:14:00Z",
            "message": {
                "id": "msg_0195a1",
                "conversation": "cnv_0195a0",
                "seq": 7,
                "sender": "u_1024",
                "kind": "text",
                "body": {"text": "你好 🎉"},
                "at": "2026-03-01T01:12:00Z",
            },
        },
        title="Pin",
    )

    by: str | None
    at: datetime
    message: MessageShown


class PinsShown(Shown):
    """All pinned messages of a conversation, last pinned first."""

    model_config = example({"data": []}, title="Pins")

    data: list[PinShown]
