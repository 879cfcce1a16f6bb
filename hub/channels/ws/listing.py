"""The conversation list as an answer on a socket."""

from __future__ import annotations

from msgspec import Raw

from hub.channels.ws.frames_own import ListBatch
from hub.channels.ws.neighbours import ListApi
from hub.channels.ws.requests import Conversations
from hub.core.identity import EndUser
from hub.core.message import ConversationId


async def list_batch(lists: ListApi, user: EndUser, request: Conversations, *, most_bytes: int) -> ListBatch:
    """The page that was asked for, or a shorter one where that would be too many bytes. Raises Refused."""
    if request.conversation is not None:
        one = await lists.one(user, ConversationId(request.conversation))
        return ListBatch(request.id, [Raw(one)], None)
    limit = request.limit
    while True:
        shown, following = await lists.page(user, after=request.after, limit=limit)
        if limit == 1 or sum(map(len, shown)) <= most_bytes:
            return ListBatch(request.id, [Raw(one) for one in shown], following)
        limit = max(1, limit // 4)
