"""`/v1/conversations/{id}/…`: joining and leaving, silence, announcement, ownership and the end of a group."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from hub.api.answers import empty, raw
from hub.api.conversations import changed, doer_of
from hub.api.deps import Caller, Hub, Services, by_either, person_of, user_of
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import HubId
from hub.api.schemas_chat import ConversationShown
from hub.api.schemas_groups import AnnouncementPut, AnnouncementShown, LeaveNew, OwnerPut
from hub.core.conversation import inbox_id
from hub.core.directory import Change
from hub.core.groups import GroupChanged
from hub.core.identity import EndUser
from hub.core.message import ConversationId
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/conversations", tags=["groups"], route_class=HubRoute)

Writer = Annotated[Caller, by_either(Scope.CONVERSATIONS_WRITE, UserScope.WRITE)]
Reader = Annotated[Caller, by_either(Scope.CONVERSATIONS_READ, UserScope.READ)]
_ONESELF: Final = LeaveNew(user=None)


@router.post("/{conversation_id}/join", operation_id="joinConversation", response_model=ConversationShown)
async def join(hub: Hub, caller: Writer, conversation_id: HubId, body: LeaveNew = _ONESELF) -> Response:
    """Become a member of an open group, or follow an open thread. Twice is harmless."""
    user = (await person_of(hub, caller, body.user)).key
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.join(conversation, user)

    return await changed(hub, caller, work)


@router.post(
    "/{conversation_id}/leave", operation_id="leaveConversation", status_code=204, response_class=Response
)
async def leave(hub: Hub, caller: Writer, conversation_id: HubId, body: LeaveNew = _ONESELF) -> Response:
    """Leave a group, or follow a thread no more. The owner of a group with other members hands it over first; the last
    who leaves a group dissolves it."""
    user = (await person_of(hub, caller, body.user)).key
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.leave(conversation, user)

    await changed(hub, caller, work)
    return empty()


@router.put(
    "/{conversation_id}/silence", operation_id="silenceConversation", response_model=ConversationShown
)
async def silence(hub: Hub, caller: Writer, conversation_id: HubId) -> Response:
    """Let only the owner and the admins speak."""
    return await _silence(hub, caller, conversation_id, silenced=True)


@router.delete(
    "/{conversation_id}/silence", operation_id="unsilenceConversation", response_model=ConversationShown
)
async def unsilence(hub: Hub, caller: Writer, conversation_id: HubId) -> Response:
    """Let everybody speak again."""
    return await _silence(hub, caller, conversation_id, silenced=False)


@router.put("/{conversation_id}/owner", operation_id="transferConversation", response_model=ConversationShown)
async def transfer(hub: Hub, caller: Writer, conversation_id: HubId, body: OwnerPut) -> Response:
    """Hand a group over to one of its members. Who owned it becomes an admin."""
    user = await user_of(hub, caller.app, body.user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.transfer(conversation, user, by=doer_of(caller))

    return await changed(hub, caller, work)


@router.get(
    "/{conversation_id}/announcement", operation_id="getAnnouncement", response_model=AnnouncementShown
)
async def get_announcement(hub: Hub, caller: Reader, conversation_id: HubId) -> Response:
    """Read what stands at the top of a group."""
    conversation = ConversationId(conversation_id)
    record = await hub.directory.conversation(caller.app, conversation)
    if isinstance(caller, EndUser):
        inside = await hub.directory.is_member(conversation, caller.key)
        public = record.group.open and record.group.subject is not None
        if conversation == inbox_id(caller.app) or not (inside or public):
            raise Problem("conversation_not_found", "There is no such conversation, or you are not in it.")
    found = await hub.directory.announcement(caller.app, conversation)
    if found is None:
        return raw({"text": None, "by": None, "at": None})
    return raw({"text": found.text, "by": found.by, "at": found.at})


@router.put(
    "/{conversation_id}/announcement", operation_id="putAnnouncement", response_model=ConversationShown
)
async def put_announcement(
    hub: Hub, caller: Writer, conversation_id: HubId, body: AnnouncementPut
) -> Response:
    """Put an announcement up in place of the last one; an empty text takes it down."""
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.announce(conversation, body.text, by=doer_of(caller))

    return await changed(hub, caller, work)


@router.post(
    "/{conversation_id}/dissolve", operation_id="dissolveConversation", response_model=ConversationShown
)
async def dissolve(hub: Hub, caller: Writer, conversation_id: HubId) -> Response:
    """End a group: nothing more is said or changed in it, and its members read on."""
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.dissolve(conversation, by=doer_of(caller))

    return await changed(hub, caller, work)


async def _silence(hub: Services, caller: Caller, conversation_id: str, *, silenced: bool) -> Response:
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.silence_group(conversation, silenced, by=doer_of(caller))

    return await changed(hub, caller, work)
