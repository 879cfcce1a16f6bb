"""Changes of conversations and of who is in them. Each raises the version in its own transaction, so that a batch of
messages built from an older membership is refused and built again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout, Role, direct_id
from hub.core.errors import Conflict, NotFound
from hub.core.message import AppId, ConversationId, UserKey
from hub.core.records import ConversationRecord, NewMember
from hub.store.directory_base import (
    AUDIT,
    CONVERSATION,
    MEMBER,
    MESSAGE,
    Basis,
    dumps,
    insert_ignore,
)
from hub.store.directory_conversations import conversation_of

_CHUNK = 1_000


class MemberWrites:
    """The part of a change that is about conversations."""

    _basis: Basis
    _connection: AsyncConnection
    _app: AppId
    _actor: str
    _now: datetime

    async def create_group(
        self, title: str, members: Sequence[NewMember], metadata: str
    ) -> ConversationRecord:
        """A new group with these members."""
        conversation = ConversationId(self._basis.new_id("cnv"))
        await self._insert(conversation, ConversationKind.GROUP, title, members, metadata)
        return await self._read(conversation)

    async def ensure_direct(self, one: UserKey, other: UserKey) -> tuple[ConversationRecord, bool]:
        """The direct conversation of two users; True says that it is new."""
        conversation = direct_id(self._app, one, other)
        known = select(CONVERSATION.c.id).where(CONVERSATION.c.id == conversation)
        if (await self._connection.execute(known)).first():
            return await self._read(conversation), False
        members = [NewMember(user) for user in sorted({one, other})]
        await self._insert(conversation, ConversationKind.DIRECT, "", members, "{}")
        return await self._read(conversation), True

    async def patch_conversation(
        self, conversation: ConversationId, title: str | None, metadata: str | None
    ) -> ConversationRecord:
        """Change what is not None. Raises NotFound."""
        given = {"title": title, "metadata": metadata}
        given = {name: value for name, value in given.items() if value is not None}
        await self._group(conversation)
        if given:
            await self._connection.execute(
                update(CONVERSATION).where(CONVERSATION.c.id == conversation).values(given)
            )
        return await self._read(conversation)

    async def add_members(
        self, conversation: ConversationId, members: Sequence[NewMember]
    ) -> ConversationRecord:
        """Add users, or give those who are in it the role named. New ones see what comes from now on."""
        await self._lock(conversation)
        wanted = {member.user: member for member in members}
        query = select(MEMBER.c.user_id).where(
            MEMBER.c.conversation_id == conversation, MEMBER.c.user_id.in_(sorted(wanted))
        )
        present = {UserKey(row.user_id) for row in await self._connection.execute(query)}
        for user in sorted(present):
            await self._give_role(conversation, user, wanted[user].role)
        new = [member for user, member in sorted(wanted.items()) if user not in present]
        await self._insert_members(conversation, new, await self._top(conversation))
        await self._recount(conversation)
        return await self._read(conversation)

    async def remove_member(self, conversation: ConversationId, user: UserKey) -> ConversationRecord:
        """Take a user out; the version rises. Raises NotFound."""
        await self._lock(conversation)
        gone = await self._connection.execute(
            delete(MEMBER).where(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
        )
        if gone.rowcount == 0:
            raise NotFound("member_not_found", "This user is not in the conversation.")
        await self._recount(conversation)
        return await self._read(conversation)

    async def set_role(self, conversation: ConversationId, user: UserKey, role: Role) -> ConversationRecord:
        """Change a member's role; the version rises. Raises NotFound."""
        await self._lock(conversation)
        member = select(MEMBER.c.user_id).where(
            MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user
        )
        if not (await self._connection.execute(member)).first():
            raise NotFound("member_not_found", "This user is not in the conversation.")
        await self._give_role(conversation, user, role)
        return await self._read(conversation)

    async def _insert(
        self,
        conversation: ConversationId,
        kind: ConversationKind,
        title: str,
        members: Sequence[NewMember],
        metadata: str,
    ) -> None:
        fanout = Fanout.READ if len(members) > self._basis.fanout_limit else Fanout.WRITE
        row = {
            "id": conversation,
            "app_id": self._app,
            "kind": kind,
            "title": title,
            "fanout": fanout,
            "version": 1,
            "member_count": len(members),
            "metadata": metadata,
            "created_at": self._now,
        }
        await self._connection.execute(insert(CONVERSATION).values(row))
        await self._insert_members(conversation, members, 0)

    async def _insert_members(
        self, conversation: ConversationId, members: Sequence[NewMember], joined_seq: int
    ) -> None:
        rows: list[dict[str, Any]] = [
            {
                "conversation_id": conversation,
                "user_id": member.user,
                "role": member.role,
                "joined_seq": joined_seq,
                "read_seq": joined_seq,
                "muted": False,
                "joined_at": self._now,
            }
            for member in members
        ]
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            await self._connection.execute(insert_ignore(self._connection, MEMBER, some))

    async def _lock(self, conversation: ConversationId) -> None:
        """Raise the version, which locks the row until the commit: no batch and no rival gets between."""
        raised = await self._connection.execute(
            update(CONVERSATION)
            .where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == self._app)
            .values(version=CONVERSATION.c.version + 1)
        )
        if raised.rowcount == 0:
            raise NotFound("conversation_not_found", "There is no such conversation.")
        await self._group(conversation)

    async def _group(self, conversation: ConversationId) -> None:
        found = await self._read(conversation)
        if found.kind is not ConversationKind.GROUP:
            raise Conflict("not_a_group", f"This is a {found.kind} conversation; only groups can be changed.")

    async def _give_role(self, conversation: ConversationId, user: UserKey, role: Role) -> None:
        await self._connection.execute(
            update(MEMBER)
            .where(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
            .values(role=role)
        )

    async def _top(self, conversation: ConversationId) -> int:
        query = select(func.max(MESSAGE.c.seq)).where(MESSAGE.c.conversation_id == conversation)
        return (await self._connection.execute(query)).scalar() or 0

    async def _recount(self, conversation: ConversationId) -> None:
        """Past the limit the conversation is read-diffused for good: going back would leave those members who
        were away without a reference to what was said meanwhile.
        """
        query = select(func.count()).select_from(MEMBER).where(MEMBER.c.conversation_id == conversation)
        count = (await self._connection.execute(query)).scalar_one()
        given: dict[str, Any] = {"member_count": count}
        if count > self._basis.fanout_limit:
            given["fanout"] = Fanout.READ
        await self._connection.execute(
            update(CONVERSATION).where(CONVERSATION.c.id == conversation).values(given)
        )

    async def _read(self, conversation: ConversationId) -> ConversationRecord:
        query = select(CONVERSATION).where(
            CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == self._app
        )
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("conversation_not_found", "There is no such conversation.")
        return conversation_of(row)

    async def _audit(
        self, action: str, target: str, detail: dict[str, Any] | None = None, *, app: AppId | None = None
    ) -> None:
        row = {
            "id": self._basis.new_id("aud"),
            "app_id": app or self._app,
            "at": self._now,
            "actor": self._actor,
            "action": action,
            "target": target,
            "detail": dumps(detail or {}),
        }
        await self._connection.execute(insert(AUDIT).values(row))
