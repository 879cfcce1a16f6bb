"""Doing what a live session asks to be done with messages that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, assert_never

from msgspec import Struct

from hub.channels.ws.chat_requests import ChatFrame, Edit, Forward, Hide, PinFrame, React, Recall
from hub.channels.ws.codes import ErrorCode
from hub.channels.ws.frames import Copied, Forwarded, Ok
from hub.core.chat_rules import Doer
from hub.core.errors import NotFound
from hub.core.identity import EndUser
from hub.core.message import Accepted, ConversationId, Draft, MessageId, Target, ToConversation, ToUser
from hub.core.ports import People


class ChatApi(Protocol):
    """The verbs (core.chat.Chat). They raise errors.Refused and errors.Unavailable."""

    async def prepare(self, draft: Draft) -> Draft:
        """Check what a message answers and whom it mentions."""
        ...

    async def edit(
        self,
        doer: Doer,
        id_: MessageId,
        body: str,
        mentions: tuple[str, ...] = (),
        *,
        client_msg_id: str | None = None,
    ) -> Accepted:
        """Another body."""
        ...

    async def recall(self, doer: Doer, id_: MessageId) -> Accepted:
        """Take a message back."""
        ...

    async def react(self, doer: Doer, id_: MessageId, emoji: str, *, added: bool) -> Accepted:
        """Put an emoji to a message, or take it back."""
        ...

    async def pin(self, doer: Doer, id_: MessageId, *, added: bool) -> Accepted:
        """Pin or unpin."""
        ...

    async def hide(self, doer: Doer, ids: Sequence[MessageId]) -> Accepted:
        """Delete for the doer alone."""
        ...

    async def forward(
        self,
        doer: Doer,
        ids: Sequence[MessageId],
        to: Target,
        *,
        client_msg_id: str,
        merged: bool = False,
        title: str = "",
        most_bytes: int,
    ) -> list[Accepted]:
        """Copy messages to another conversation."""
        ...


class Chatting:
    """One for all connections of a node."""

    def __init__(self, *, chat: ChatApi, people: People, body_bytes: int) -> None:
        self._chat = chat
        self.prepare = chat.prepare
        self._people = people
        self._body_bytes = body_bytes

    async def answer(self, user: EndUser, request: ChatFrame) -> Struct:
        """Do it; what to answer. Raises Refused and Unavailable."""
        doer = Doer(user.app, user.key, user.id)
        match request:
            case Recall():
                done = await self._chat.recall(doer, MessageId(request.message))
            case Edit():
                done = await self._chat.edit(
                    doer,
                    MessageId(request.message),
                    bytes(request.body).decode(),
                    request.mentions,
                    client_msg_id=request.client_msg_id,
                )
            case React():
                message = MessageId(request.message)
                done = await self._chat.react(doer, message, request.emoji, added=request.added)
            case PinFrame():
                done = await self._chat.pin(doer, MessageId(request.message), added=request.added)
            case Hide():
                done = await self._chat.hide(doer, [MessageId(message) for message in request.messages])
            case Forward():
                return await self._forward(user, doer, request)
            case _:
                assert_never(request)
        return ok_of(request.id, done)

    async def _forward(self, user: EndUser, doer: Doer, request: Forward) -> Forwarded:
        target: Target
        if request.to.conversation is not None:
            target = ToConversation(ConversationId(request.to.conversation))
        else:
            name = request.to.user or ""
            key = await self._people.user_key(user.app, name)
            if key is None:
                raise NotFound(ErrorCode.USER_NOT_FOUND, f"no user {name!r} in this app")
            target = ToUser(key)
        done = await self._chat.forward(
            doer,
            [MessageId(message) for message in request.messages],
            target,
            client_msg_id=request.client_msg_id,
            merged=request.merged,
            title=request.title,
            most_bytes=self._body_bytes,
        )
        return Forwarded(
            request.id,
            [Copied(one.message, one.conversation, one.seq, one.at, one.duplicate) for one in done],
        )


def ok_of(request: str | int, done: Accepted) -> Ok:
    """The answer to what was committed."""
    return Ok(request, done.message, done.conversation, done.seq, done.at, done.duplicate)
