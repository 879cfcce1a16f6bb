"""`/v1/conversations/{id}/members`: who is in a conversation. Each change raises its version."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, listed, page_of, write
from hub.api.conversations import conversation_answer, new_members
from hub.api.deps import Caller, Hub, Services, by_either, by_key, user_of
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing, PathUser
from hub.api.schemas_chat import ConversationShown, MembersAdd, MemberShown, RolePatch
from hub.core.conversation import inbox_id
from hub.core.directory import Change
from hub.core.identity import ApiCaller, EndUser
from hub.core.message import ConversationId, UserKey
from hub.core.records import MemberRecord
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/conversations", tags=["members"], route_class=HubRoute)

Writer = Annotated[ApiCaller, by_key(Scope.CONVERSATIONS_WRITE)]
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
    """Add users, who see what comes from now on; those who are in it get the role named.

    Past HUB_FANOUT_LIMIT members the conversation becomes read-diffused, and stays so.
    """
    members = await new_members(hub, caller.app, body.members)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> Response:
        return conversation_answer(await change.add_members(conversation, members))

    answer = await write(hub, caller, work, claim=await claim_of(request, caller, key))
    return await _told(hub, answer, conversation, [member.user for member in members])


@router.delete(
    "/{conversation_id}/members/{user_id}",
    operation_id="removeMember",
    response_model=ConversationShown,
)
async def remove_member(hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser) -> Response:
    """Take a user out of a group."""
    user = await user_of(hub, caller.app, user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> Response:
        return conversation_answer(await change.remove_member(conversation, user))

    return await _told(hub, await write(hub, caller, work), conversation, [user])


@router.patch(
    "/{conversation_id}/members/{user_id}",
    operation_id="changeMember",
    response_model=ConversationShown,
)
async def patch_member(
    hub: Hub, caller: Writer, conversation_id: HubId, user_id: PathUser, body: RolePatch
) -> Response:
    """Change a member's role."""
    user = await user_of(hub, caller.app, user_id)
    conversation = ConversationId(conversation_id)

    async def work(change: Change) -> Response:
        return conversation_answer(await change.set_role(conversation, user, body.role))

    return await _told(hub, await write(hub, caller, work), conversation, [user])


async def _told(
    hub: Services, answer: Response, conversation: ConversationId, users: Collection[UserKey]
) -> Response:
    await hub.membership_changed(conversation, users)
    return answer


def _member(record: MemberRecord) -> MemberShown:
    return MemberShown(
        user_id=record.user_id,
        name=record.name,
        role=record.role,
        joined_seq=record.joined_seq,
        read_seq=record.read_seq,
        muted=record.muted,
        joined_at=record.joined_at,
    )
