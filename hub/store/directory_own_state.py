"""What a member keeps of a conversation for herself: pinned, muted, draft, cleared, marked unread, a nickname."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, select, update

from hub.core.conversation import ConversationKind
from hub.core.errors import NotFound
from hub.core.message import ConversationId, UserKey
from hub.core.own_state import KEEP, Keep, OwnState, OwnStateWrite
from hub.store.columns import to_micros
from hub.store.directory_base import CONVERSATION, MEMBER
from hub.store.directory_members import MemberWrites
from hub.store.own_state_rows import OWN_COLUMNS, own_state_of
from hub.store.sql_bulk import Clash, Insertion

_readers = Insertion(
    MEMBER,
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)


class OwnStateWrites(MemberWrites):
    """The part of a change that is about a user's own state of a conversation."""

    async def set_own_state(
        self, user: UserKey, conversation: ConversationId, wanted: OwnStateWrite
    ) -> OwnState:
        """See the port. Nothing that a send depends on moves: the conversation's version stays."""
        mine = and_(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
        await self._sure_of_a_row(user, conversation)
        locked = select(MEMBER.c.conversation_id, *OWN_COLUMNS).where(mine).with_for_update()
        row = (await self._connection.execute(locked)).one_or_none()
        if row is None:
            raise NotFound("conversation_not_found", "There is no such conversation, or you are not in it.")
        given = await self._given(conversation, wanted, own_state_of(row))
        if given:
            given["state_rev"] = row.state_rev + 1
            await self._connection.execute(update(MEMBER).where(mine).values(given))
        return own_state_of((await self._connection.execute(select(*OWN_COLUMNS).where(mine))).one())

    async def _given(
        self, conversation: ConversationId, wanted: OwnStateWrite, now: OwnState
    ) -> dict[str, Any]:
        """The columns that change."""
        given: dict[str, Any] = {}
        if not isinstance(wanted.pinned, Keep):
            given["pinned_at"] = (now.pinned_at or self._now) if wanted.pinned else None
        if not isinstance(wanted.muted, Keep):
            given |= {"muted": wanted.muted, "muted_until": wanted.muted_until if wanted.muted else None}
        if not isinstance(wanted.draft, Keep):
            given |= {"draft": wanted.draft, "draft_at": self._now if wanted.draft is not None else None}
        for name in ("marked_unread", "nickname"):
            if getattr(wanted, name) is not KEEP:
                given[name] = getattr(wanted, name)
        if wanted.cleared or not isinstance(wanted.cleared_seq, Keep):
            top = await self._top(conversation)
            asked = top if isinstance(wanted.cleared_seq, Keep) else min(wanted.cleared_seq, top)
            given["cleared_seq"] = max(now.cleared_seq, asked)
        return {name: value for name, value in given.items() if value != getattr(now, name)}

    async def _sure_of_a_row(self, user: UserKey, conversation: ConversationId) -> None:
        """Everybody has the inbox, and a row in it from the first time that there is something to keep."""
        query = select(CONVERSATION.c.kind, CONVERSATION.c.created_at).where(
            CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == self._app
        )
        found = (await self._connection.execute(query)).one_or_none()
        if found is None:
            raise NotFound("conversation_not_found", "There is no such conversation, or you are not in it.")
        if found.kind == ConversationKind.INBOX.value:
            row = (conversation, user, "member", 0, 0, False, to_micros(found.created_at))
            await _readers.run(self._connection, self._basis.database.dialect, [row])
