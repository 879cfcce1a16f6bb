"""`/v1/search`: messages by what they say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct
from pydantic import Field, StringConstraints

from hub.api.answers import listed, page_of
from hub.api.deps import Caller, Hub, by_either, person_of
from hub.api.route import HubRoute
from hub.api.schemas import After, ForUser, KindName, Limit, Listing, Moment, Shown, Text, UserId, example
from hub.api.schemas_chat import MessageShown
from hub.api.views import MessageOut, message_out
from hub.core.identity import EndUser
from hub.core.message import ConversationId
from hub.core.records import Slice
from hub.core.scopes import Scope, UserScope
from hub.core.search import Hit, Search
from hub.core.search_terms import MOST_QUERY

router = APIRouter(prefix="/v1/search", tags=["search"], route_class=HubRoute)


class SnippetShown(Shown):
    """A piece of what the message says. `places` are [first, one past the last], in Unicode characters of `text`."""

    text: str
    places: list[tuple[int, int]]
    before: bool = Field(description="Something was left out before it.")
    after: bool


class HitShown(Shown):
    """A message that has all that was looked for."""

    model_config = example(
        {
            "message": {
                "id": "msg_0195a1",
                "conversation": "cnv_0195a0",
                "seq": 7,
                "sender": "u_1024",
                "kind": "text",
                "body": {"text": "差旅报销批了 🎉"},
                "at": "2026-03-01T01:12:00Z",
            },
            "snippet": {"text": "差旅报销批了 🎉", "places": [[2, 4]], "before": False, "after": False},
        },
        title="Hit",
    )

    message: MessageShown
    snippet: SnippetShown


class SnippetOut(Struct, frozen=True):
    """SnippetShown."""

    text: str
    places: tuple[tuple[int, int], ...]
    before: bool
    after: bool


class HitOut(Struct, frozen=True):
    """HitShown."""

    message: MessageOut
    snippet: SnippetOut


@router.get("/messages", operation_id="searchMessages", response_model=Listing[HitShown])
async def search_messages(
    request: Request,
    hub: Hub,
    caller: Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)],
    q: Annotated[
        Annotated[Text, StringConstraints(min_length=1, max_length=MOST_QUERY)],
        Query(
            description="Words and characters that a message must all have, in any script.", examples=["报销"]
        ),
    ],
    user: ForUser = None,
    conversation: Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] = None,
    sender: Annotated[UserId | None, Query(description="Only what this user said.")] = None,
    kind: Annotated[KindName | None, Query(description="Only messages of this kind.")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="Not before this time.")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Before this time.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Find messages by what they say: texts, captions, names of files, titles of cards and places. Newest first.

    A user finds what the user may see: neither what was said before joining nor what was cleared, deleted or recalled.
    An API key finds everything in its app, or with `?user=` what that user finds. A message can be found a moment after
    it was accepted. A page may be short although there is a next one.
    """
    viewer = None
    if isinstance(caller, EndUser) or user is not None:
        viewer = (await person_of(hub, caller, user)).key
    speaker = None
    if sender is not None:
        speaker = (await hub.directory.user_keys(caller.app, [sender])).get(sender)
        if speaker is None:
            nothing: Slice[Hit] = Slice([])
            return listed(request, nothing, _hit)
    place = None if conversation is None else ConversationId(conversation)
    wanted = Search(q, viewer, place, speaker, kind, since, until)
    return listed(request, await hub.search.search(caller.app, wanted, page_of(limit, after)), _hit)


def _hit(hit: Hit) -> HitOut:
    piece = hit.snippet
    return HitOut(message_out(hit.message), SnippetOut(piece.text, piece.places, piece.before, piece.after))
