"""What the engine asks about groups, on SQL: implements core.groups.GroupStore."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, thread_id
from hub.core.errors import Refused, Unavailable
from hub.core.groups import Announcement, Notice, NoticeId
from hub.core.message import AppId, ConversationId, UserKey
from hub.core.records import ConversationRecord
from hub.store.directory_base import CONVERSATION, USER, Basis
from hub.store.directory_change import ChangeContext
from hub.store.directory_conversations import conversation_of
from hub.store.group_rows import ANNOUNCEMENT, NOTICE, notice_of

_TRIES = 4


class SqlGroups:
    """GroupStore, over the same database as the directory."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis

    async def join_open(self, app: AppId, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """See the port. Who may not join is left out: their message is refused then."""
        for tried in range(_TRIES):
            try:
                async with ChangeContext(self._basis, app, "hub", None) as change:
                    for user in sorted(users):
                        # It is refused before it writes anything: who may not join keeps nobody else out.
                        with suppress(Refused):
                            await change.join(conversation, user)
            except Unavailable as error:
                if error.code != "contention" or tried == _TRIES - 1:
                    raise
                await asyncio.sleep(0.01 * (tried + 1))
            else:
                return

    async def reads_open(self, conversation: ConversationId, user: UserKey) -> bool:
        """See the port."""
        query = (
            select(USER.c.id)
            .join(CONVERSATION, CONVERSATION.c.app_id == USER.c.app_id)
            .where(
                USER.c.id == user,
                CONVERSATION.c.id == conversation,
                CONVERSATION.c.kind == ConversationKind.THREAD.value,
                CONVERSATION.c.is_open.is_(True),
            )
        )
        return bool(await self._basis.database.rows(query))

    async def notices(self, conversation: ConversationId, *, limit: int) -> Sequence[Notice]:
        """See the port."""
        query = (
            select(NOTICE)
            .where(NOTICE.c.conversation_id == conversation)
            .order_by(NOTICE.c.version, NOTICE.c.place)
            .limit(limit)
        )
        return [notice_of(row) for row in await self._basis.database.rows(query)]

    async def untold(self, *, before: datetime, limit: int) -> Sequence[ConversationId]:
        """See the port; the longest waiting first."""
        since = func.min(NOTICE.c.created_at)
        query = (
            select(NOTICE.c.conversation_id)
            .where(NOTICE.c.created_at < before)
            .group_by(NOTICE.c.conversation_id)
            .order_by(since)
            .limit(limit)
        )
        return [ConversationId(row.conversation_id) for row in await self._basis.database.rows(query)]

    async def told(self, notices: Collection[NoticeId]) -> None:
        """See the port."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(NOTICE).where(NOTICE.c.id.in_(list(notices))))

        await self._basis.database.write(work)


class GroupReads:
    """The directory's questions about groups."""

    _basis: Basis

    async def announcement(self, app: AppId, conversation: ConversationId) -> Announcement | None:
        """What stands at the top of a group."""
        query = (
            select(ANNOUNCEMENT)
            .join(CONVERSATION, CONVERSATION.c.id == ANNOUNCEMENT.c.conversation_id)
            .where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
        )
        found = await self._basis.database.rows(query)
        return next((Announcement(row.text, row.by_user, row.at) for row in found), None)

    async def thread_of(self, app: AppId, subject: str) -> ConversationRecord | None:
        """The thread of a subject."""
        query = select(CONVERSATION).where(
            CONVERSATION.c.app_id == app, CONVERSATION.c.id == thread_id(app, subject)
        )
        found = await self._basis.database.rows(query)
        return conversation_of(found[0]) if found else None
