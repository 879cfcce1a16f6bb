"""`/v1/threads`: the discussion of a subject, such as the comments under a post."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from hub.api.answers import raw, raw_json, write
from hub.api.conversations import conversation_answer
from hub.api.deps import Caller, Hub, by_either, by_key
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas_chat import ConversationShown
from hub.api.schemas_groups import Subject, ThreadPut
from hub.api.views import conversation_out
from hub.core.directory import Change
from hub.core.groups import GroupWrite
from hub.core.identity import ApiCaller, EndUser
from hub.core.records import ConversationView
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/threads", tags=["groups"], route_class=HubRoute)

Writer = Annotated[ApiCaller, by_key(Scope.CONVERSATIONS_WRITE)]
Reader = Annotated[Caller, by_either(Scope.CONVERSATIONS_READ, UserScope.READ)]


@router.put(
    "",
    operation_id="putThread",
    response_model=ConversationShown,
    responses={201: {"model": ConversationShown}},
)
async def put_thread(hub: Hub, caller: Writer, body: ThreadPut) -> Response:
    """Get the thread of a subject, which is made if new (201). One that exists stays as it is.

    In an `open` one every user of the app may read, and whoever speaks becomes a member; `join` follows it without
    speaking, `leave` ends that. Otherwise it is like a group.
    """
    wanted = GroupWrite(
        title=body.title,
        avatar=body.avatar,
        metadata=raw_json(body.metadata),
        open=body.open,
        max_members=body.max_members,
    )

    async def work(change: Change) -> Response:
        made, new = await change.put_thread(body.subject, wanted)
        return conversation_answer(made.record, 201 if new else 200)

    return await write(hub, caller, work)


@router.get("", operation_id="getThread", response_model=ConversationShown)
async def get_thread(hub: Hub, caller: Reader, subject: Annotated[Subject, Query()]) -> Response:
    """Find the thread of a subject. A user is shown open ones, and those they are in."""
    record = await hub.directory.thread_of(caller.app, subject)
    hidden = record is None
    if record is not None and isinstance(caller, EndUser) and not record.group.open:
        hidden = not await hub.directory.is_member(record.id, caller.key)
    if record is None or hidden:
        raise Problem("thread_not_found", "There is no thread of this subject.")
    return raw(conversation_out(ConversationView(record)))
