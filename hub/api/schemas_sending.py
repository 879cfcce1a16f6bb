"""Schemas of messages on their way in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from hub.api.schemas import ClientMsgId, FreeObject, KindName, Shown, Strict, Text, UserId, example
from hub.core.bodies import OWN_KINDS


def _kind(kind: str) -> str:
    if kind in OWN_KINDS:
        message = f"the kind {kind!r} is the hub's own"
        raise ValueError(message)
    return kind


OwnKind = Annotated[KindName, AfterValidator(_kind)]


class Content(Strict):
    """What a message says, whoever it goes to."""

    kind: OwnKind = "text"
    body: FreeObject | Text = Field(
        description="An object or a string; passed on as it is, at most HUB_BODY_MAX_BYTES. The kinds `text`, `image`, "
        "`file`, `voice`, `video`, `card` and `location` say what the protocol's documentation lists."
    )
    client_msg_id: ClientMsgId | None = None
    mentions: Annotated[
        list[UserId],
        Field(
            max_length=50,
            default_factory=list,
            description="Members; who is none is left out. `@all` is everybody: for owners and admins of a group.",
        ),
    ]
    reply_to: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]+$")] | None = Field(
        None, description="The message of the same conversation that this one answers."
    )
    sender: UserId | None = Field(
        None,
        description="With an API key: the member who speaks. Without it the business system speaks itself.",
    )


class Destination(Strict):
    """A conversation, or the direct conversation with one user."""

    conversation: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] | None = (
        None
    )
    user: UserId | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.conversation is None) == (self.user is None):
            message = "name either `conversation` or `user`"
            raise ValueError(message)
        return self


class MessageNew(Content):
    """A message to a conversation or to a user."""

    model_config = example(
        {
            "to": {"user": "u_1024"},
            "sender": "u_9",
            "client_msg_id": "c-1",
            "kind": "text",
            "body": {"text": "你好 🎉"},
        }
    )

    to: Destination


class ConversationMessageNew(Content):
    """A message to the conversation in the path."""

    model_config = example(
        {"sender": "u_9", "client_msg_id": "c-1", "kind": "text", "body": {"text": "大家好 👋"}}
    )


class MessageAccepted(Shown):
    """Committed. `duplicate` says that it was earlier: the same client_msg_id or Idempotency-Key."""

    model_config = example(
        {
            "id": "msg_0195a1",
            "conversation": "cnv_0195a0",
            "seq": 7,
            "at": "2026-03-01T01:12:00Z",
            "duplicate": False,
        }
    )

    id: str
    conversation: str
    seq: int
    at: datetime
    duplicate: bool
