"""Notices: what members hear of changes of their groups, in the order of the changes and in their queues.

A change writes its notice down in its own transaction; here it becomes a message. The id of the notice is the
message's client_msg_id: who dies in between, and two nodes that do the same, leave one message.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import datetime

from hub.core.errors import QueueUnavailable, Refused, Unavailable
from hub.core.group_rules import NOTICE
from hub.core.groups import GroupStore, Notice
from hub.core.message import SYSTEM, Accepted, ConversationId, Draft, MessageId, ToConversation, UserKey
from hub.core.ports import Clock, NewId
from hub.core.turns import Turns

log = logging.getLogger("hub.notices")

_PAGE = 50


class Notices:
    """Submits what is written down. Without a store it does nothing."""

    def __init__(
        self,
        *,
        store: GroupStore | None,
        submit: Callable[[Draft], Awaitable[Accepted]],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._submit = submit
        self._clock = clock
        self._new_id = new_id
        self._turns = Turns()
        self.on_swept: Callable[[Collection[UserKey], ConversationId], Awaitable[None]] | None = None
        """Tells live sessions that a membership has changed, in place of whoever changed it and did not live to."""

    async def tell(self, conversation: ConversationId) -> frozenset[UserKey]:
        """Submit all notices of this conversation that wait, one after the other: a later one never overtakes. What
        cannot be done now is left to the sweep. Returns whom they concern."""
        try:
            async with self._turns.of(conversation):
                return await self._tell(conversation)
        except Unavailable as error:
            log.info("notices_postponed", extra={"conversation": conversation, "code": error.code})
            return frozenset()

    async def sweep(self, *, before: datetime, limit: int = 100) -> int:
        """Submit what somebody wrote down and did not live to submit. Returns how many conversations had some."""
        if self._store is None:
            return 0
        left = await self._store.untold(before=before, limit=limit)
        for conversation in left:
            users = await self.tell(conversation)
            if users and self.on_swept is not None:
                with suppress(QueueUnavailable):
                    await self.on_swept(users, conversation)
        return len(left)

    async def _tell(self, conversation: ConversationId) -> frozenset[UserKey]:
        users: set[UserKey] = set()
        while self._store is not None and (page := await self._store.notices(conversation, limit=_PAGE)):
            for notice in page:
                await self._send(notice)
                await self._store.told([notice.id])
                users.update(notice.also)
        return frozenset(users)

    async def _send(self, notice: Notice) -> None:
        draft = Draft(
            id=MessageId(self._new_id("msg")),
            app=notice.app,
            sender=SYSTEM,
            sender_id=None,
            to=ToConversation(notice.conversation),
            kind=NOTICE,
            body=notice.body,
            created_at=self._clock(),
            client_msg_id=notice.id,
            as_member=False,
            control=True,
            also=notice.also,
        )
        try:
            await self._submit(draft)
        except Refused as error:
            # The conversation is gone, say: the notices behind it must not wait for ever.
            log.warning("notice_refused", extra={"notice": notice.id, "code": error.code})
