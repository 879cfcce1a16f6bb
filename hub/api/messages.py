"""`/v1/messages` and `/v1/conversations/{id}/messages`: chat without a socket."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import REPLAYED, IdempotencyKey, claim_of, empty, location, raw, raw_json
from hub.api.deps import Caller, Hub, Services, by_either, person_of, user_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import MAX_SAFE, ForUser, HubId, Limit
from hub.api.schemas_chat import HistoryShown, ReadUpTo
from hub.api.schemas_sending import Content, ConversationMessageNew, MessageAccepted, MessageNew
from hub.api.views import accepted_out, message_out
from hub.core.bodies import body_fault
from hub.core.identity import EndUser
from hub.core.message import (
    SYSTEM,
    Accepted,
    ConversationId,
    Draft,
    IdempotencyClaim,
    MessageId,
    ToConversation,
    ToUser,
    UserKey,
)
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1", tags=["messages"], route_class=HubRoute)

Writer = Annotated[Caller, by_either(Scope.MESSAGES_WRITE, UserScope.WRITE)]
Reader = Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)]
Marker = Annotated[Caller, by_either(Scope.MESSAGES_WRITE, UserScope.READ)]
SeqQuery = Annotated[int | None, Query(ge=0, le=MAX_SAFE)]


@router.post("/messages", operation_id="sendMessage", status_code=201, response_model=MessageAccepted)
async def send_message(
    request: Request, hub: Hub, caller: Writer, body: MessageNew, key: IdempotencyKey = None
) -> Response:
    """Send a message to a conversation or to a user; the answer comes after the commit.

    With an API key, `sender` is the member who speaks; without one the business system itself speaks, in any
    conversation of its app. Chat needs users who exist: `user_not_found` otherwise.
    """
    claim = await claim_of(request, caller, key)
    sender, sender_id = await _sender(hub, caller, body)
    target: ToConversation | ToUser
    if body.to.user is not None:
        if sender == SYSTEM:
            raise Problem("sender_required", "A direct conversation has two people: name the `sender`.")
        target = ToUser(await user_of(hub, caller.app, body.to.user))
    else:
        target = ToConversation(ConversationId(body.to.conversation or ""))
    draft = _draft(hub, caller, body, sender, sender_id, target, claim)
    return _accepted(await hub.engine.chat.send(draft), claim)


@router.post(
    "/conversations/{conversation_id}/messages",
    operation_id="sendConversationMessage",
    status_code=201,
    response_model=MessageAccepted,
)
async def send_conversation_message(
    request: Request,
    hub: Hub,
    caller: Writer,
    conversation_id: HubId,
    body: ConversationMessageNew,
    key: IdempotencyKey = None,
) -> Response:
    """Send a message to this conversation; the answer comes after the commit."""
    claim = await claim_of(request, caller, key)
    sender, sender_id = await _sender(hub, caller, body)
    target = ToConversation(ConversationId(conversation_id))
    return _accepted(
        await hub.engine.chat.send(_draft(hub, caller, body, sender, sender_id, target, claim)), claim
    )


@router.get(
    "/conversations/{conversation_id}/messages", operation_id="listMessages", response_model=HistoryShown
)
async def list_messages(
    hub: Hub,
    caller: Reader,
    conversation_id: HubId,
    user: ForUser = None,
    after: SeqQuery = None,
    before: SeqQuery = None,
    limit: Limit = 50,
) -> Response:
    """Read a conversation in ascending seq: past `after`, or before `before`, or (with neither) the newest.

    With an API key, `?user=` reads as that member would. `page.next` is the seq to pass on in the same direction.
    """
    if after is not None and before is not None:
        raise Problem(
            "request_invalid",
            "Give either `after` or `before`.",
            errors=[Fault("query:before", "one_direction", "Not together with `after`.")],
        )
    conversation = ConversationId(conversation_id)
    await hub.directory.conversation(caller.app, conversation)
    reader = None
    if isinstance(caller, EndUser) or user is not None:
        reader = (await person_of(hub, caller, user)).key
    page = await hub.engine.history(conversation, reader=reader, after=after, before=before, limit=limit)
    following = page.high if after is not None else page.low
    return raw(
        {
            "data": [message_out(message, page.reactions.get(message.id, ())) for message in page.messages],
            "page": {"next": following if page.more else None, "has_more": page.more},
            "low": page.low,
            "high": page.high,
            "gap": page.gap,
            "quoted": [message_out(message) for message in page.quoted],
        }
    )


@router.post(
    "/conversations/{conversation_id}/read",
    operation_id="markRead",
    status_code=204,
    response_class=Response,
)
async def mark_read(hub: Hub, caller: Marker, conversation_id: HubId, body: ReadUpTo) -> Response:
    """Say how far the user has read; the cursor only moves forward. Other devices and the senders hear of it."""
    reader = await person_of(hub, caller, body.user)
    conversation = ConversationId(conversation_id)
    await hub.directory.conversation_view(caller.app, conversation, viewer=reader.key)
    await hub.engine.read(reader, conversation, body.seq)
    return empty()


async def _sender(hub: Services, caller: Caller, body: Content) -> tuple[UserKey, str | None]:
    if isinstance(caller, EndUser):
        if body.sender not in (None, caller.id):
            raise Problem("not_yourself", "A user's token speaks for its own user only.")
        return caller.key, caller.id
    if body.sender is None:
        return SYSTEM, None
    return await user_of(hub, caller.app, body.sender), body.sender


def body_json(hub: Services, body: object, pointer: str) -> str:
    """A message's body as it is kept. Raises Problem content_too_large."""
    text = raw_json(body)
    most = hub.settings.body_max_bytes
    if len(text.encode()) > most:
        detail = f"At most {most:,} bytes as JSON, got {len(text.encode()):,}."
        raise Problem("content_too_large", detail, errors=[Fault(pointer, "content_too_large", detail)])
    return text


def _draft(
    hub: Services,
    caller: Caller,
    body: Content,
    sender: UserKey,
    sender_id: str | None,
    target: ToConversation | ToUser,
    claim: IdempotencyClaim | None,
) -> Draft:
    encoded = body_json(hub, body.body, "/body")
    fault = body_fault(body.kind, body.body)
    if fault is not None:
        pointer = f"/body{fault.pointer}"
        raise Problem("body_invalid", fault.detail, errors=[Fault(pointer, "body_invalid", fault.detail)])
    return Draft(
        id=MessageId(hub.engine.new_id("msg")),
        app=caller.app,
        sender=sender,
        sender_id=sender_id,
        to=target,
        kind=body.kind,
        body=encoded,
        created_at=hub.engine.clock(),
        client_msg_id=body.client_msg_id,
        mentions=tuple(body.mentions),
        idempotency=claim,
        as_member=sender != SYSTEM,
        reply_to=None if body.reply_to is None else MessageId(body.reply_to),
    )


def _accepted(accepted: Accepted, claim: IdempotencyClaim | None) -> Response:
    headers = location("conversations", accepted.conversation, "messages")
    if accepted.duplicate and claim is not None:
        headers[REPLAYED] = "true"
    return Response(msgspec.json.encode(accepted_out(accepted)), 201, headers, "application/json")
