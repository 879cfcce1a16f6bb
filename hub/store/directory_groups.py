"""Changes of a group itself: its name and settings, roles, silence, announcement, ownership, its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert

from hub.core.conversation import Role
from hub.core.errors import Conflict
from hub.core.group_rules import Verb, higher
from hub.core.groups import SYSTEM_DOER, Doer, GroupChanged, GroupWrite
from hub.core.message import ConversationId, UserKey
from hub.store.directory_members import MemberWrites
from hub.store.group_base import Note
from hub.store.group_rows import ANNOUNCEMENT

_EDITED = ("title", "avatar", "metadata")
_SETTINGS = ("invite", "open", "max_members")


class GroupWrites(MemberWrites):
    """The part of a change that is about what a group is like."""

    async def patch_group(
        self, conversation: ConversationId, wanted: GroupWrite, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Change what is not None."""
        self._doer = by
        record = await self._lock(conversation)
        edited, settled = _given(wanted, _EDITED), _given(wanted, _SETTINGS)
        notes: list[Note] = []
        if edited or not settled:
            await self._demand(record, by, Verb.EDIT)
        if edited:
            # What a product keeps there may be large: clients that want it ask.
            told = {name: value if name != "metadata" else True for name, value in edited.items()}
            notes.append(Note("changed", more=told))
        if settled:
            await self._demand(record, by, Verb.SETTINGS)
            notes.append(Note("settings", more=settled))
        if not notes:
            return GroupChanged(record)
        values = {("is_open" if name == "open" else name): v for name, v in (edited | settled).items()}
        return await self._finish(record, *notes, values=values)

    async def set_role(
        self, conversation: ConversationId, user: UserKey, role: Role, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Change a member's role; `owner` hands the group over."""
        if role is Role.OWNER:
            return await self.transfer(conversation, user, by=by)
        self._doer = by
        record = await self._lock(conversation)
        old = await self._role(conversation, user)
        await self._demand(record, by, Verb.ROLE, old and higher(old, role))
        if old is role:
            return GroupChanged(record)
        if old is Role.OWNER:
            raise Conflict("owner_must_transfer", "Hand the group over (`PUT …/owner`): it has one owner.")
        await self._alter_member(conversation, user, role=role)
        return await self._finish(record, Note("role", (user,), {"role": role}, (user,)))

    async def transfer(
        self, conversation: ConversationId, user: UserKey, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Hand the group over; who owned it becomes an admin."""
        self._doer = by
        record = await self._lock(conversation)
        await self._demand(record, by, Verb.TRANSFER, await self._role(conversation, user))
        former = record.group.owner
        concerned = (user,) if former is None else (user, former)
        names = await self._names(concerned)
        if former is not None:
            await self._alter_member(conversation, former, role=Role.ADMIN)
        await self._alter_member(conversation, user, role=Role.OWNER, silenced_until=None)
        note = Note("owner", (user,), {"from": None if former is None else names.get(former)}, concerned)
        return await self._finish(record, note, values={"owner_id": user})

    async def silence_member(
        self, conversation: ConversationId, user: UserKey, until: datetime | None, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Let a member not speak before a time; None lets them speak again."""
        self._doer = by
        record = await self._lock(conversation)
        await self._demand(record, by, Verb.SILENCE, await self._role(conversation, user))
        await self._alter_member(conversation, user, silenced_until=until)
        return await self._finish(record, Note("silenced", (user,), {"until": until}, (user,)))

    async def silence_group(
        self, conversation: ConversationId, silenced: bool, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Let only the owner and the admins speak, or everybody again."""
        self._doer = by
        record = await self._lock(conversation)
        await self._demand(record, by, Verb.SILENCE_ALL)
        if record.group.silenced is silenced:
            return GroupChanged(record)
        note = Note("group_silenced", more={"silenced": silenced})
        return await self._finish(record, note, values={"silenced": silenced})

    async def announce(
        self, conversation: ConversationId, text: str, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Put an announcement up in place of the last one; an empty one takes it down."""
        self._doer = by
        record = await self._lock(conversation)
        await self._demand(record, by, Verb.ANNOUNCE)
        mine = ANNOUNCEMENT.c.conversation_id == conversation
        await self._connection.execute(delete(ANNOUNCEMENT).where(mine))
        if text:
            row: dict[str, Any] = {"text": text, "by_user": by.id, "at": self._now}
            await self._connection.execute(insert(ANNOUNCEMENT).values(conversation_id=conversation, **row))
        return await self._finish(record, Note("announcement", more={"text": text}))

    async def dissolve(self, conversation: ConversationId, *, by: Doer = SYSTEM_DOER) -> GroupChanged:
        """No more messages; members read on. Twice is a Conflict."""
        self._doer = by
        record = await self._lock(conversation)
        await self._demand(record, by, Verb.DISSOLVE)
        return await self._finish(record, Note("dissolved"), values={"dissolved_at": self._now})


def _given(wanted: GroupWrite, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(wanted, name)) is not None}
