"""What stays of those who are in a conversation no more: who was taken out does not come back by themselves, and
silence outlasts leaving.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from hub.core.errors import Forbidden
from hub.core.message import ConversationId, UserKey
from hub.store.directory_base import MEMBER
from hub.store.group_base import GroupBase
from hub.store.group_rows import GROUP_BAR
from hub.store.schema import metadata

CONTACT = metadata.tables["contact"]
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Bar:
    """Whether somebody was taken out, and until when they are silenced."""

    removed: bool
    silenced_until: datetime | None


class GroupBars(GroupBase):
    """The part of a change that is about who must not simply come back."""

    async def _bars(self, conversation: ConversationId, users: Collection[UserKey]) -> Mapping[UserKey, Bar]:
        """Of those of these users for whom something stays."""
        if not users:
            return {}
        query = select(GROUP_BAR).where(
            GROUP_BAR.c.conversation_id == conversation, GROUP_BAR.c.user_id.in_(sorted(users))
        )
        found = await self._connection.execute(query)
        return {UserKey(row.user_id): Bar(row.removed, row.silenced_until) for row in found}

    async def _keep_bar(self, conversation: ConversationId, user: UserKey, *, removed: bool) -> None:
        """Somebody goes: note what outlasts that. Before the member's row goes."""
        mine = (MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
        until = (await self._connection.execute(select(MEMBER.c.silenced_until).where(*mine))).scalar()
        lasting = until if until is not None and until > self._now else None
        await self._forget_bars(conversation, [user])
        if removed or lasting is not None:
            row = {"removed": removed, "silenced_until": lasting}
            values = insert(GROUP_BAR).values(conversation_id=conversation, user_id=user, **row)
            await self._connection.execute(values)

    async def _lift_bars(self, conversation: ConversationId, bars: Mapping[UserKey, Bar]) -> None:
        """They are in it again, as silenced as before. After the members' rows are there."""
        for user, bar in bars.items():
            if bar.silenced_until is not None:
                await self._alter_member(conversation, user, silenced_until=bar.silenced_until)
        await self._forget_bars(conversation, bars.keys())

    async def _not_blocked(self, doer: UserKey, users: Collection[UserKey]) -> None:
        """Whoever is blocked by somebody does not reach them by way of a group either. Raises Forbidden."""
        wanted = sorted(users)
        for start in range(0, len(wanted), _CHUNK):
            query = select(CONTACT.c.owner_id).where(
                CONTACT.c.owner_id.in_(wanted[start : start + _CHUNK]),
                CONTACT.c.user_id == doer,
                CONTACT.c.blocked.is_(True),
            )
            found = (await self._connection.execute(query.limit(1))).scalar()
            if found is not None:
                names = await self._names([UserKey(found)])
                # Nothing here says why.
                raise Forbidden("blocked", f"The user {names.get(UserKey(found), '')!r} cannot be reached.")

    async def _forget_bars(self, conversation: ConversationId, users: Collection[UserKey]) -> None:
        if users:
            mine = GROUP_BAR.c.user_id.in_(sorted(users))
            await self._connection.execute(
                delete(GROUP_BAR).where(GROUP_BAR.c.conversation_id == conversation, mine)
            )


def taken_out() -> Forbidden:
    """Why somebody does not come back by themselves."""
    return Forbidden("removed_before", "This user was taken out: an admin can bring them back.")
