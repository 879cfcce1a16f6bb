"""`/v1/conversations/{id}/me`: what a user keeps of a conversation, on all of the user's devices and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response

from hub.api.answers import raw_json, shown, write
from hub.api.deps import Caller, Hub, by_either, person_of
from hub.api.route import HubRoute
from hub.api.schemas import ForUser, HubId
from hub.api.schemas_contacts import OwnStateAnswer, OwnStatePatch, own_state_shown
from hub.core.directory import Change
from hub.core.message import ConversationId
from hub.core.own_state import KEEP, OwnStateWrite
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=HubRoute)


@router.patch("/{conversation_id}/me", operation_id="changeOwnState", response_model=OwnStateAnswer)
async def patch_own_state(
    hub: Hub,
    caller: Annotated[Caller, by_either(Scope.CONVERSATIONS_WRITE, UserScope.WRITE)],
    conversation_id: HubId,
    body: OwnStatePatch,
    user: ForUser = None,
) -> Response:
    """Pin, mute, clear, mark unread, name a conversation or keep a draft of it, for yourself alone.

    Your live devices get the answer as a `conversation` frame; nobody else hears of it.
    """
    person = await person_of(hub, caller, user)
    told: list[OwnStateAnswer] = []

    async def work(change: Change) -> Response:
        state = await change.set_own_state(person.key, ConversationId(conversation_id), _wanted(body))
        answer = OwnStateAnswer(
            type="conversation", conversation=conversation_id, rev=state.rev, mine=own_state_shown(state)
        )
        told[:] = [answer]
        return shown(answer)

    response = await write(hub, caller, work)
    for answer in told:
        await hub.tell([person.key], answer.model_dump(mode="json"))
    return response


def _wanted(body: OwnStatePatch) -> OwnStateWrite:
    given: dict[str, Any] = {
        name: KEEP if getattr(body, name) is None else getattr(body, name)
        for name in ("pinned", "muted", "cleared_seq", "marked_unread", "nickname")
    }
    if "draft" in body.model_fields_set:
        given["draft"] = None if body.draft is None else raw_json(body.draft)
    return OwnStateWrite(**given, muted_until=body.muted_until, cleared=body.cleared)
