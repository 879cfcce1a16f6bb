"""A user's conversation list for who asks over a socket: the same as over REST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from hub.api.views import conversation_out
from hub.core.directory import Directory
from hub.core.identity import EndUser
from hub.core.message import ConversationId
from hub.core.ports import People
from hub.core.records import PageRequest


@dataclass(frozen=True, slots=True)
class OwnLists:
    """channels.ws.neighbours.ListApi."""

    directory: Directory
    people: People

    async def page(
        self, user: EndUser, *, after: str | None, limit: int
    ) -> tuple[Sequence[bytes], str | None]:
        """A page, and the place after which the next one begins. Raises Refused cursor_invalid."""
        found = await self.directory.conversations_of(user.app, user.key, PageRequest(limit, after))
        return [msgspec.json.encode(conversation_out(view)) for view in found.items], found.next

    async def one(self, user: EndUser, conversation: ConversationId) -> bytes:
        """One conversation. Raises NotFound where the user is not in it."""
        found = await self.directory.conversation_view(user.app, conversation, viewer=user.key)
        owner = found.record.group.owner
        names = {} if owner is None else await self.people.user_ids([owner])
        shown = conversation_out(found, owner=None if owner is None else names.get(owner))
        return msgspec.json.encode(shown)
