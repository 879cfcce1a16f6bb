"""`/v1/conversations/{id}/members`: who is in a conversation. Each change raises its version."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, listed, page_of
from hub.api.conversations import changed, doer_of, new_members
from hub.api.deps import Caller, Hub, Services, by_either, user_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing, PathUser
from hub.api.schemas_chat import ConversationShown, MembersAdd, MemberShown, RolePatch
from hub.api.schemas_groups import SilencePut
from hub.core.conversation import inbox_id
from hub.core.directory import Change
from hub.core.groups import GroupChanged
from hub.core.identity import EndUser
from hub.core.message import ConversationId
from hub.core.records import MemberRecord
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/conversations", tags=["members"], route_class=HubRoute)

Writer = Annotated[Caller, by_either(Scope.CONVERSATIONS_WRITE, UserScope.WRITE)]
Reader = Annotated[Caller, by_either(Scope.CONVERSATIONS_READ, UserScope.READ)]


@router.get(
    "/{conversation_id}/members",
    operation_id="listMembers",
    response_model=Listing[MemberShown],
)
async def list_members(
    request: Request,
    hub: Hub,
    caller: Reader,
    conversation_id: HubId,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List who is in a conversation, with roles and how far each has read."""
    conversation = ConversationId(conversation_id)
    # Readers of the inbox have rows too, and know nothing of each other.
    if isinstance(caller, EndUser) and (
        conversation == inbox_id(caller.app) or not await hub.directory.is_member(conversation, caller.key)
    ):
        raise Problem("conversation_not_found", "There is no such conversation, or you are not in it.")
    found = await hub.directory.members(caller.app, conversation, page_of(limit, after))
    return listed(request, found, _member)


@router.post(
    "/{conversation_id}/members",
    operation_id="addMembers",
    response_model=ConversationShown,
)
async def add_members(
    request: Request,
    hub: Hub,
    caller: Writer,
    conversation_id: HubId,
    body: MembersAdd,
    key: IdempotencyKey = None,
) -> Response:
    """Add users, who see what comes from now on. A user needs what the group's `invite` says, and nobody gives a role
    that is not below their own. With an API key, those who are in it already get the role named.

    Above HUB_FANOUT_LIMIT members a conversation is read-diffused, below half of it write-diffused again.
    """
    members = await new_members(hub, caller.app, body.members)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.add_members(conversation, members, by=doer_of(caller))

    return await changed(hub, caller, work, claim=await claim_of(request, caller, key))


@router.delete(
    "/{conversation_id}/members/{user_id}",
    operation_id="removeMember",
    response_model=ConversationShown,
)
async def remove_member(hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser) -> Response:
    """Take a user out of a group: one whose role is below the caller's, or oneself."""
    user = await user_of(hub, caller.app, user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.remove_member(conversation, user, by=doer_of(caller))

    return await changed(hub, caller, work)


@router.patch(
    "/{conversation_id}/members/{user_id}",
    operation_id="changeMember",
    response_model=ConversationShown,
)
async def patch_member(
    hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser, body: RolePatch
) -> Response:
    """Change a member's role; old and new role must be below the caller's. `owner` hands the group over."""
    user = await user_of(hub, caller.app, user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        return await change.set_role(conversation, user, body.role, by=doer_of(caller))

    return await changed(hub, caller, work)


@router.put(
    "/{conversation_id}/members/{user_id}/silence",
    operation_id="silenceMember",
    response_model=ConversationShown,
)
async def silence_member(
    hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser, body: SilencePut
) -> Response:
    """Let a member, whose role is below the caller's, not speak before a time."""
    return await _silence(hub, caller, conversation_id, user_id, body.until)


@router.delete(
    "/{conversation_id}/members/{user_id}/silence",
    operation_id="unsilenceMember",
    response_model=ConversationShown,
)
async def unsilence_member(hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser) -> Response:
    """Let a member speak again."""
    return await _silence(hub, caller, conversation_id, user_id, None)


async def _silence(
    hub: Services, caller: Caller, conversation_id: str, user_id: str, until: datetime | None
) -> Response:
    user = await user_of(hub, caller.app, user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> GroupChanged:
        done = await change.silence_member(conversation, user, until, by=doer_of(caller))
        # Last, so that who may not do it hears nothing else.
        if until is not None and until <= hub.engine.clock():
            detail = "`until` lies in the past. DELETE this to let the member speak again."
            raise Problem("expired_already", detail, errors=[Fault("/until", "expired_already", detail)])
        return done

    return await changed(hub, caller, work)


def _member(record: MemberRecord) -> MemberShown:
    return MemberShown(
        user_id=record.user_id,
        name=record.name,
        role=record.role,
        joined_seq=record.joined_seq,
        read_seq=record.read_seq,
        silenced_until=record.silenced_until,
        joined_at=record.joined_at,
    )
