"""What a client may ask to be done with messages that are there: one struct a frame."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

from hub.core.chat_rules import MAX_FORWARD, MAX_HIDDEN

MAX_MENTIONS: Final = 50

RequestId: TypeAlias = (
    Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=0, le=2**53 - 1)]
)
# No control characters: PostgreSQL takes no NUL in text, and the others have no business in an id.
UserId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
ConversationKey: TypeAlias = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]*\Z")]
MessageKey: TypeAlias = ConversationKey
ClientMsgId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]*\Z")]
Emoji: TypeAlias = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[^\x00-\x20\x7f]*\Z")]


class Destination(Struct, frozen=True, gc=False):
    """A conversation, or the direct conversation with one user."""

    conversation: ConversationKey | None = None
    user: UserId | None = None

    def __post_init__(self) -> None:
        """Exactly one of the two."""
        if (self.conversation is None) == (self.user is None):
            message = "`to` names either `conversation` or `user`"
            raise ValueError(message)


class ChatRequest(Struct, frozen=True, tag_field="type"):
    """What is done with messages that are there."""

    id: RequestId


class Recall(ChatRequest, frozen=True, gc=False, tag="recall"):
    """Take a message back: nobody can read it any more."""

    message: MessageKey


class Edit(ChatRequest, frozen=True, tag="edit"):
    """Another body for a message of one's own. Nobody is mentioned anew by it."""

    message: MessageKey
    body: Raw
    mentions: Annotated[tuple[UserId, ...], Meta(max_length=MAX_MENTIONS)] = ()
    client_msg_id: ClientMsgId | None = None

    def __post_init__(self) -> None:
        """What types cannot say."""
        check_body(self.body)


class React(ChatRequest, frozen=True, gc=False, tag="react"):
    """Put an emoji to a message, or (not `added`) take it back."""

    message: MessageKey
    emoji: Emoji
    added: bool = True


class PinFrame(ChatRequest, frozen=True, gc=False, tag="pin"):
    """Pin a message in its conversation for everybody, or (not `added`) unpin it."""

    message: MessageKey
    added: bool = True


class Hide(ChatRequest, frozen=True, tag="hide"):
    """Delete messages of one conversation for oneself, on all one's devices."""

    messages: Annotated[tuple[MessageKey, ...], Meta(min_length=1, max_length=MAX_HIDDEN)]


class Forward(ChatRequest, frozen=True, tag="forward"):
    """Copy messages to another conversation, one by one or (`merged`) as one message of the kind `forward`."""

    messages: Annotated[tuple[MessageKey, ...], Meta(min_length=1, max_length=MAX_FORWARD)]
    to: Destination
    client_msg_id: ClientMsgId
    merged: bool = False
    title: Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*\Z")] = ""


ChatFrame: TypeAlias = Recall | Edit | React | PinFrame | Hide | Forward


def check_body(body: Raw) -> None:
    """A body begins like an object or a string. Raises ValueError."""
    if bytes(memoryview(body)[:1]) not in (b"{", b'"'):
        message = "`body` must be an object or a string"
        raise ValueError(message)
