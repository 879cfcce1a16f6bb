"""`/v1/messages/{id}`: what is done with a message that is there. Every change may be repeated: it happens once."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response

from hub.api.answers import raw
from hub.api.deps import Caller, Hub, Services, by_either, user_of
from hub.api.messages import body_json
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, ForUser, HubId, Limit, Listing
from hub.api.schemas_chat import MessageShown
from hub.api.schemas_messages import (
    ChangedShown,
    ForwardedShown,
    ForwardNew,
    HideNew,
    MessagePatch,
    PersonShown,
    PinsShown,
    ReceiptsShown,
)
from hub.api.views import accepted_out, message_out
from hub.core.chat_ports import Person
from hub.core.chat_rules import Doer
from hub.core.identity import EndUser
from hub.core.message import SYSTEM, Accepted, ConversationId, MessageId, Target, ToConversation, ToUser
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1", tags=["messages"], route_class=HubRoute)

Writer = Annotated[Caller, by_either(Scope.MESSAGES_WRITE, UserScope.WRITE)]
Reader = Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)]
EmojiPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=32,
        pattern=r"^[^\x00-\x20\x7f]+$",
        description="The emoji itself, percent-encoded, or one of the product's own as `:name:`.",
    ),
]
Read = Annotated[bool, Query(description="Who has read it, or (`false`) who has not.")]


@router.post(
    "/messages/forward", operation_id="forwardMessages", status_code=201, response_model=ForwardedShown
)
async def forward_messages(hub: Hub, caller: Writer, body: ForwardNew) -> Response:
    """Copy messages to another conversation, one by one or merged into one. Who forwards must be able to read them; the
    hub copies what they say, so that it cannot be forged. A repeat with the same `client_msg_id` copies nothing twice.
    """
    doer = await _doer(hub, caller, body.sender)
    target: Target
    if body.to.user is not None:
        if doer.business:
            raise Problem("sender_required", "A direct conversation has two people: name the `sender`.")
        target = ToUser(await user_of(hub, caller.app, body.to.user))
    else:
        target = ToConversation(ConversationId(body.to.conversation or ""))
    done = await hub.engine.chat.forward(
        doer,
        [MessageId(id_) for id_ in body.messages],
        target,
        client_msg_id=body.client_msg_id,
        merged=body.merged,
        title=body.title,
        most_bytes=hub.settings.body_max_bytes,
    )
    return raw({"data": [accepted_out(one) for one in done]}, 201)


@router.post("/messages/hide", operation_id="hideMessages", response_model=ChangedShown)
async def hide_messages(hub: Hub, caller: Writer, body: HideNew) -> Response:
    """Delete messages of one conversation for one user alone, on all their devices: histories leave them out."""
    doer = await _doer(hub, caller, body.user)
    return _changed(await hub.engine.chat.hide(doer, [MessageId(id_) for id_ in body.messages]))


@router.get("/messages/{message_id}", operation_id="getMessage", response_model=MessageShown)
async def get_message(hub: Hub, caller: Reader, message_id: HubId, user: ForUser = None) -> Response:
    """Show one message, such as one that another answers."""
    view = await hub.engine.chat.message(await _doer(hub, caller, user), MessageId(message_id))
    return raw(message_out(view.message, view.reactions))


@router.patch("/messages/{message_id}", operation_id="editMessage", response_model=ChangedShown)
async def edit_message(
    hub: Hub, caller: Writer, message_id: HubId, body: MessagePatch, user: ForUser = None
) -> Response:
    """Change what a message says: only its sender may, within HUB_EDIT_WINDOW. Members hear of it as an `edit`."""
    doer = await _doer(hub, caller, user)
    done = await hub.engine.chat.edit(
        doer,
        MessageId(message_id),
        body_json(hub, body.body, "/body"),
        tuple(body.mentions),
        client_msg_id=body.client_msg_id,
    )
    return _changed(done)


@router.delete("/messages/{message_id}", operation_id="recallMessage", response_model=ChangedShown)
async def recall_message(hub: Hub, caller: Writer, message_id: HubId, user: ForUser = None) -> Response:
    """Take a message back: nobody can read it any more. Its sender may within HUB_RECALL_WINDOW, owners and admins of a
    group and the business system (a key without `?user=`) at any time. Members hear of it as a `recall`."""
    return _changed(await hub.engine.chat.recall(await _doer(hub, caller, user), MessageId(message_id)))


@router.put(
    "/messages/{message_id}/reactions/{emoji}", operation_id="addReaction", response_model=ChangedShown
)
async def add_reaction(
    hub: Hub, caller: Writer, message_id: HubId, emoji: EmojiPath, user: ForUser = None
) -> Response:
    """Put an emoji to a message. Members hear of it as a `reaction`."""
    doer = await _person(hub, caller, user)
    return _changed(await hub.engine.chat.react(doer, MessageId(message_id), emoji, added=True))


@router.delete(
    "/messages/{message_id}/reactions/{emoji}", operation_id="removeReaction", response_model=ChangedShown
)
async def remove_reaction(
    hub: Hub, caller: Writer, message_id: HubId, emoji: EmojiPath, user: ForUser = None
) -> Response:
    """Take an emoji back."""
    doer = await _person(hub, caller, user)
    return _changed(await hub.engine.chat.react(doer, MessageId(message_id), emoji, added=False))


@router.get(
    "/messages/{message_id}/reactions/{emoji}",
    operation_id="listReactions",
    response_model=Listing[PersonShown],
)
async def list_reactions(
    hub: Hub,
    caller: Reader,
    message_id: HubId,
    emoji: EmojiPath,
    user: ForUser = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List who put this emoji to a message. How many did, the message itself says."""
    doer = await _doer(hub, caller, user)
    _, last = _place(after)
    people = await hub.engine.chat.reacted(doer, MessageId(message_id), emoji, after=last, limit=limit + 1)
    return _people(people, limit)


@router.put("/messages/{message_id}/pin", operation_id="pinMessage", response_model=ChangedShown)
async def pin_message(hub: Hub, caller: Writer, message_id: HubId, user: ForUser = None) -> Response:
    """Pin a message in its conversation, for everybody: owners and admins in a group, both in a direct conversation."""
    return _changed(
        await hub.engine.chat.pin(await _doer(hub, caller, user), MessageId(message_id), added=True)
    )


@router.delete("/messages/{message_id}/pin", operation_id="unpinMessage", response_model=ChangedShown)
async def unpin_message(hub: Hub, caller: Writer, message_id: HubId, user: ForUser = None) -> Response:
    """Unpin a message."""
    return _changed(
        await hub.engine.chat.pin(await _doer(hub, caller, user), MessageId(message_id), added=False)
    )


@router.get("/conversations/{conversation_id}/pins", operation_id="listPins", response_model=PinsShown)
async def list_pins(hub: Hub, caller: Reader, conversation_id: HubId, user: ForUser = None) -> Response:
    """List the pinned messages of a conversation."""
    doer = await _doer(hub, caller, user)
    pins = await hub.engine.chat.pins(doer, ConversationId(conversation_id))
    return raw({"data": [{"by": pin.by_id, "at": pin.at, "message": message_out(m)} for pin, m in pins]})


@router.get("/messages/{message_id}/receipts", operation_id="countReaders", response_model=ReceiptsShown)
async def count_readers(hub: Hub, caller: Reader, message_id: HubId, user: ForUser = None) -> Response:
    """Count who has read a message: from their read cursors, at a bounded cost in a group of any size."""
    return raw(await hub.engine.chat.reader_counts(await _doer(hub, caller, user), MessageId(message_id)))


@router.get("/messages/{message_id}/readers", operation_id="listReaders", response_model=Listing[PersonShown])
async def list_readers(
    hub: Hub,
    caller: Reader,
    message_id: HubId,
    read: Read = True,
    user: ForUser = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List who has read a message, or who has not: its sender and who came later are left out. Who reads on meanwhile
    may be listed twice. In a large group a page may be short, or empty, and have a `next`."""
    doer = await _doer(hub, caller, user)
    found = await hub.engine.chat.readers(
        doer, MessageId(message_id), read=read, after=_place(after), limit=limit
    )
    return _page(found.people, None if found.next is None else _mark(*found.next))


async def _doer(hub: Services, caller: Caller, user: str | None) -> Doer:
    """The user who calls, whom a key names, or (a key that names nobody) the business system itself."""
    if isinstance(caller, EndUser):
        if user not in (None, caller.id):
            raise Problem("not_yourself", "A user's token speaks for its own user only.")
        return Doer(caller.app, caller.key, caller.id)
    if user is None:
        return Doer(caller.app, SYSTEM, None)
    return Doer(caller.app, await user_of(hub, caller.app, user), user)


async def _person(hub: Services, caller: Caller, user: str | None) -> Doer:
    doer = await _doer(hub, caller, user)
    if doer.business:
        raise Problem("user_required", "Reactions are people's: say whose, with `?user=`.")
    return doer


def _changed(done: Accepted) -> Response:
    return Response(msgspec.json.encode(accepted_out(done)), 200, media_type="application/json")


def _people(people: Sequence[Person], limit: int) -> Response:
    shown, more = people[:limit], len(people) > limit
    return _page(shown, _mark(shown[-1].place, shown[-1].user) if more else None)


def _page(shown: Sequence[Person], following: str | None) -> Response:
    rows = [{"user_id": person.user_id, "name": person.name} for person in shown]
    return raw({"data": rows, "page": {"next": following, "has_more": following is not None}})


def _mark(place: int, user: int) -> str:
    return base64.urlsafe_b64encode(b"%d:%d" % (place, user)).decode().rstrip("=")


def _place(after: str | None) -> tuple[int, int]:
    if after is None:
        return 0, 0
    try:
        first, second = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)).split(b":")
        place = int(first), int(second)
    except (binascii.Error, ValueError) as error:
        raise Problem("cursor_invalid", "`after` must be the `next` of an earlier page.") from error
    if not all(0 <= number < 2**63 for number in place):
        raise Problem("cursor_invalid", "`after` must be the `next` of an earlier page.")
    return place
