"""`/v1/conversations`: groups and direct conversations, and who is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import (
    IdempotencyKey,
    claim_of,
    listed,
    location,
    page_of,
    raw,
    raw_json,
    write,
)
from hub.api.deps import Caller, Hub, Services, by_either, by_key, person_of, user_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, ForUser, HubId, Limit, Listing
from hub.api.schemas_chat import (
    ConversationPatch,
    ConversationShown,
    DirectPut,
    GroupNew,
)
from hub.api.views import conversation_out
from hub.core.conversation import ConversationKind, Role
from hub.core.directory import Change
from hub.core.groups import SYSTEM_DOER, Doer, GroupChanged, GroupWrite
from hub.core.identity import ApiCaller, EndUser
from hub.core.message import AppId, ConversationId, IdempotencyClaim
from hub.core.records import ConversationRecord, ConversationView, NewMember
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=HubRoute)

KeyWriter = Annotated[ApiCaller, by_key(Scope.CONVERSATIONS_WRITE)]
Writer = Annotated[Caller, by_either(Scope.CONVERSATIONS_WRITE, UserScope.WRITE)]
Reader = Annotated[Caller, by_either(Scope.CONVERSATIONS_READ, UserScope.READ)]


@router.post("", operation_id="createConversation", status_code=201, response_model=ConversationShown)
async def create_conversation(
    request: Request, hub: Hub, caller: Writer, body: GroupNew, key: IdempotencyKey = None
) -> Response:
    """Make a group with its first members, who must exist. A user who makes one owns it.

    Larger groups are filled with `POST …/members`, up to 1,000 at a time.
    """
    if isinstance(caller, EndUser) and any(
        m.role is Role.OWNER and m.user_id != caller.id for m in body.members
    ):
        raise Problem("role_too_low", "A user who makes a group owns it; hand it over afterwards.")
    members = await new_members(hub, caller.app, body.members)
    wanted = GroupWrite(
        title=body.title,
        avatar=body.avatar,
        metadata=raw_json(body.metadata),
        invite=body.invite,
        open=body.open,
        max_members=body.max_members,
    )

    async def work(change: Change) -> GroupChanged:
        return await change.create_group(wanted, members, by=doer_of(caller))

    return await changed(hub, caller, work, claim=await claim_of(request, caller, key), status=201)


@router.put(
    "/direct",
    operation_id="putDirectConversation",
    response_model=ConversationShown,
    responses={201: {"model": ConversationShown}},
)
async def put_direct(hub: Hub, caller: KeyWriter, body: DirectPut) -> Response:
    """Get the direct conversation of two users, which is made if new (201). The first message makes it too."""
    one, other = [await user_of(hub, caller.app, user_id) for user_id in body.users]

    async def work(change: Change) -> Response:
        record, new = await change.ensure_direct(one, other)
        return conversation_answer(record, 201 if new else 200, people=tuple(sorted(set(body.users))))

    return await write(hub, caller, work)


@router.get("", operation_id="listConversations", response_model=Listing[ConversationShown])
async def list_conversations(
    request: Request,
    hub: Hub,
    caller: Reader,
    user: ForUser = None,
    kind: Annotated[ConversationKind | None, Query(description="Without `user` only.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List a user's conversations with last message and unread: pinned ones, the inbox, then by last activity.

    With an API key and no `?user=` it lists all conversations of the app, newest first. Pages are by last activity
    at the time of asking: a conversation that becomes active meanwhile moves to the front.
    """
    page = page_of(limit, after)
    if isinstance(caller, EndUser) or user is not None:
        person = await person_of(hub, caller, user)
        found = await hub.directory.conversations_of(caller.app, person.key, page)
    else:
        found = await hub.directory.conversations(caller.app, kind=kind, page=page)
    return listed(request, found, conversation_out)


@router.get("/{conversation_id}", operation_id="getConversation", response_model=ConversationShown)
async def get_conversation(
    hub: Hub, caller: Reader, conversation_id: HubId, user: ForUser = None
) -> Response:
    """Get one conversation; with a user's token (or `?user=`), as that member sees it."""
    viewer = None
    if isinstance(caller, EndUser) or user is not None:
        viewer = (await person_of(hub, caller, user)).key
    found = await hub.directory.conversation_view(caller.app, ConversationId(conversation_id), viewer=viewer)
    owner = found.record.group.owner
    names = {} if owner is None else await hub.people.user_ids([owner])
    return raw(conversation_out(found, owner=None if owner is None else names.get(owner)))


@router.patch("/{conversation_id}", operation_id="changeConversation", response_model=ConversationShown)
async def patch_conversation(
    hub: Hub, caller: Writer, conversation_id: HubId, body: ConversationPatch
) -> Response:
    """Change what a group is like: admins its title, avatar and metadata, the owner its settings too."""
    wanted = GroupWrite(
        title=body.title,
        avatar=body.avatar,
        metadata=None if body.metadata is None else raw_json(body.metadata),
        invite=body.invite,
        open=body.open,
        max_members=body.max_members,
    )

    async def work(change: Change) -> GroupChanged:
        return await change.patch_group(ConversationId(conversation_id), wanted, by=doer_of(caller))

    return await changed(hub, caller, work)


async def new_members(hub: Services, app: AppId, wanted: Sequence[GroupNew.Member]) -> list[NewMember]:
    """The members as the directory takes them. Raises Problem user_not_found for all who do not exist, at once."""
    known = await hub.directory.user_keys(app, [member.user_id for member in wanted])
    faults = [
        Fault(f"/members/{index}/user_id", "user_not_found", f"There is no user {member.user_id!r}.")
        for index, member in enumerate(wanted)
        if member.user_id not in known
    ]
    if faults:
        raise Problem("user_not_found", faults[0].detail, errors=faults)
    return list({m.user_id: NewMember(known[m.user_id], m.role) for m in wanted}.values())


def doer_of(caller: Caller) -> Doer:
    """Who changes a group."""
    return Doer(caller.key, caller.id) if isinstance(caller, EndUser) else SYSTEM_DOER


async def changed(
    hub: Services,
    caller: Caller,
    work: Callable[[Change], Awaitable[GroupChanged]],
    *,
    claim: IdempotencyClaim | None = None,
    status: int = 200,
) -> Response:
    """Change a group in one transaction, tell its members, and answer with what it has become."""
    done: list[GroupChanged] = []

    async def working(change: Change) -> Response:
        done[:] = [await work(change)]
        return conversation_answer(done[0].record, status)

    answer = await write(hub, caller, working, claim=claim)
    for one in done:
        await hub.membership_changed(one.record.id, one.users)
    return answer


def conversation_answer(
    record: ConversationRecord, status: int = 200, *, people: tuple[str, ...] = ()
) -> Response:
    headers = location("conversations", record.id) if status == 201 else None
    return raw(conversation_out(ConversationView(record, people=people)), status, headers)
