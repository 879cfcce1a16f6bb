"""Who comes into a conversation and who goes. Each change raises the version in its own transaction, so that a batch of
messages built from an older membership is refused and built again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import case, delete, insert, select

from hub.core.conversation import ConversationKind, Fanout, Role, direct_id, fanout_of, thread_id
from hub.core.errors import Conflict
from hub.core.group_rules import Invite, Standing, Verb, may
from hub.core.groups import SYSTEM_DOER, Doer, GroupChanged, GroupWrite
from hub.core.message import ConversationId, UserKey
from hub.core.records import ConversationRecord, NewMember
from hub.store.directory_base import CONVERSATION, MEMBER
from hub.store.group_bars import GroupBars, taken_out
from hub.store.group_base import Note, demand
from hub.store.group_rows import GROUP_BAR, rules_of

_MANAGED = (ConversationKind.GROUP.value, ConversationKind.THREAD.value)


class MemberWrites(GroupBars):
    """The part of a change that is about who is in a conversation."""

    async def ensure_direct(self, one: UserKey, other: UserKey) -> tuple[ConversationRecord, bool]:
        """The direct conversation of two users; True says that it is new."""
        conversation = direct_id(self._app, one, other)
        known = select(CONVERSATION.c.id).where(CONVERSATION.c.id == conversation)
        if (await self._connection.execute(known)).first():
            return await self._read(conversation), False
        members = [NewMember(user) for user in sorted({one, other})]
        made = await self._make(conversation, ConversationKind.DIRECT, members, GroupWrite())
        return made, True

    async def create_group(
        self, wanted: GroupWrite, members: Sequence[NewMember], *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """A new group. A user who makes one owns it; a business system names at most one owner."""
        self._doer = by
        people = {member.user: member for member in members}
        if by.key is not None:
            people = {user: member for user, member in people.items() if user != by.key}
            if any(member.role is Role.OWNER for member in people.values()):
                raise _one_owner()
            await self._not_blocked(by.key, people.keys())
            people[by.key] = NewMember(by.key, Role.OWNER)
        conversation = ConversationId(self._basis.new_id("cnv"))
        all_of_them = [people[user] for user in sorted(people)]
        made = await self._make(conversation, ConversationKind.GROUP, all_of_them, wanted)
        users = tuple(member.user for member in all_of_them)
        also = users if made.fanout is Fanout.READ else ()
        await self._write(made, [Note("created", users, {"title": made.title}, also)])
        return GroupChanged(made, users)

    async def put_thread(
        self, subject: str, wanted: GroupWrite, *, by: Doer = SYSTEM_DOER
    ) -> tuple[GroupChanged, bool]:
        """The thread of a subject, which is made if new (True). One that exists stays as it is."""
        self._doer = by
        conversation = thread_id(self._app, subject)
        known = select(CONVERSATION.c.id).where(CONVERSATION.c.id == conversation)
        if (await self._connection.execute(known)).first():
            return GroupChanged(await self._read(conversation)), False
        wanted = replace(wanted, open=True if wanted.open is None else wanted.open)
        made = await self._make(conversation, ConversationKind.THREAD, [], wanted, subject=subject)
        return GroupChanged(made), True

    async def add_members(
        self, conversation: ConversationId, members: Sequence[NewMember], *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Bring users in, who see what comes from now on; those who are in it get the role named, where a business
        system says so."""
        self._doer = by
        record = await self._lock(conversation)
        wanted = {member.user: member for member in members}
        standing: Standing = None
        for role in sorted({member.role for member in wanted.values()}):
            standing = await self._demand(record, by, Verb.INVITE, role)
        present = await self._roles(conversation, wanted.keys())
        new = [member for user, member in sorted(wanted.items()) if user not in present]
        moved = {}
        if by.key is None:
            moved = {u: wanted[u].role for u, old in present.items() if wanted[u].role is not old}
        values = _ownership(record, new, moved)
        self._room_for(record, len(new))
        if not new and not moved:
            return GroupChanged(record)
        if by.key is not None:
            await self._not_blocked(by.key, [member.user for member in new])
        bars = await self._bars(conversation, [member.user for member in new])
        if standing is Role.MEMBER and any(bar.removed for bar in bars.values()):
            raise taken_out()
        await self._insert_members(record, new, await self._top(conversation))
        await self._lift_bars(conversation, bars)
        for user, role in sorted(moved.items()):
            await self._alter_member(conversation, user, role=role)
        if values:
            await self._alter_member(conversation, values["owner_id"], silenced_until=None)
        notes = [*_joined(new), *_promoted(moved)]
        users = tuple(sorted(member.user for member in new))
        return await self._finish(record, *notes, delta=len(new), values=values, users=users)

    async def join(self, conversation: ConversationId, user: UserKey) -> GroupChanged:
        """Become a member of an open one; twice is harmless."""
        record = await self._lock(conversation)
        if await self._role(conversation, user) is not None:
            return GroupChanged(record)
        demand(may(None, Verb.JOIN, None, rules_of(record)))
        self._room_for(record, 1)
        bars = await self._bars(conversation, [user])
        if user in bars and bars[user].removed:
            raise taken_out()
        self._doer = Doer(user, (await self._names([user])).get(user))
        new = [NewMember(user)]
        await self._insert_members(record, new, await self._top(conversation))
        await self._lift_bars(conversation, bars)
        return await self._finish(record, *_joined(new), delta=1, users=(user,))

    async def leave(self, conversation: ConversationId, user: UserKey) -> GroupChanged:
        """Be a member no more. The last who leaves a group dissolves it."""
        record = await self._lock(conversation)
        role = await self._role(conversation, user)
        others = Role.MEMBER if record.member_count > 1 else None
        demand(may(role, Verb.LEAVE, others, rules_of(record)))
        self._doer = Doer(user, (await self._names([user])).get(user))
        await self._keep_bar(conversation, user, removed=False)
        return await self._go(record, user, role, "left")

    async def remove_member(
        self, conversation: ConversationId, user: UserKey, *, by: Doer = SYSTEM_DOER
    ) -> GroupChanged:
        """Take a user out. Where a business system takes out the owner, the oldest admin (else member) follows."""
        if by.key == user:
            return await self.leave(conversation, user)
        self._doer = by
        record = await self._lock(conversation)
        role = await self._role(conversation, user)
        await self._demand(record, by, Verb.KICK, role)
        await self._keep_bar(conversation, user, removed=True)
        return await self._go(record, user, role, "removed")

    async def expel(self, user: UserKey, *, limit: int = 200) -> Sequence[GroupChanged]:
        """Take a user out of `limit` of their groups and threads, dissolved ones among them."""
        mine = (
            select(MEMBER.c.conversation_id)
            .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
            .where(MEMBER.c.user_id == user, CONVERSATION.c.app_id == self._app)
            .where(CONVERSATION.c.kind.in_(_MANAGED))
            .order_by(MEMBER.c.conversation_id)
            .limit(limit)
        )
        self._doer = SYSTEM_DOER
        done: list[GroupChanged] = []
        for conversation in list(await self._connection.scalars(mine)):
            record = await self._lock(ConversationId(conversation))
            role = await self._role(record.id, user)
            if role is not None:
                done.append(await self._go(record, user, role, "removed"))
        await self._connection.execute(delete(GROUP_BAR).where(GROUP_BAR.c.user_id == user))
        return done

    async def _go(
        self, record: ConversationRecord, user: UserKey, role: Role | None, event: str
    ) -> GroupChanged:
        """Somebody is a member no more, and hears of it."""
        await self._take_out(record.id, user)
        notes = [Note(event, (user,), also=(user,))]
        values: dict[str, Any] = {}
        if role is Role.OWNER:
            heir = await self._heir(record.id)
            values["owner_id"] = heir
            if heir is not None:
                await self._alter_member(record.id, heir, role=Role.OWNER, silenced_until=None)
                names = await self._names([user])
                notes.append(Note("owner", (heir,), {"from": names.get(user)}))
        last = record.member_count <= 1 and record.kind is ConversationKind.GROUP
        if last and record.group.dissolved_at is None:
            values["dissolved_at"] = self._now
            notes.append(Note("dissolved", also=(user,)))
        return await self._finish(record, *notes, delta=-1, values=values, users=(user,))

    async def _heir(self, conversation: ConversationId) -> UserKey | None:
        """The admin, else the member, who is in it for longest."""
        order = case({Role.ADMIN.value: 0, Role.MEMBER.value: 1}, value=MEMBER.c.role, else_=2)
        query = (
            select(MEMBER.c.user_id)
            .where(MEMBER.c.conversation_id == conversation)
            .order_by(order, MEMBER.c.joined_at, MEMBER.c.user_id)
            .limit(1)
        )
        found = (await self._connection.execute(query)).scalar()
        return None if found is None else UserKey(found)

    async def _make(
        self,
        conversation: ConversationId,
        kind: ConversationKind,
        members: Sequence[NewMember],
        wanted: GroupWrite,
        *,
        subject: str | None = None,
    ) -> ConversationRecord:
        owners = [member.user for member in members if member.role is Role.OWNER]
        if len(owners) > 1:
            raise _one_owner()
        fanout = fanout_of(Fanout.WRITE, len(members), self._basis.fanout_limit)
        row = {
            "id": conversation,
            "app_id": self._app,
            "kind": kind,
            "title": wanted.title or "",
            "fanout": fanout,
            "version": 1,
            "member_count": 0,
            "metadata": wanted.metadata or "{}",
            "created_at": self._now,
            "avatar": wanted.avatar or "",
            "subject": subject,
            "invite": wanted.invite or Invite.MEMBERS,
            "is_open": bool(wanted.open),
            "max_members": wanted.max_members or 0,
            "owner_id": owners[0] if owners else None,
        }
        await self._connection.execute(insert(CONVERSATION).values(row))
        made = await self._read(conversation)
        self._room_for(made, len(members))
        await self._insert_members(made, members, 0)
        count = CONVERSATION.update().where(CONVERSATION.c.id == conversation)
        await self._connection.execute(count.values(member_count=len(members)))
        return replace(made, member_count=len(members))


def _one_owner() -> Conflict:
    return Conflict("one_owner", "A group has one owner at a time; hand it over with `PUT …/owner`.")


def _ownership(
    record: ConversationRecord, new: Sequence[NewMember], moved: Mapping[UserKey, Role]
) -> dict[str, Any]:
    """What becomes of the owner where a business system gives roles. Raises Conflict for a second one, and where the
    only one would be one no more."""
    owner = record.group.owner
    if owner in moved:
        raise Conflict("owner_must_transfer", "Hand the group over before its owner becomes something else.")
    crowned = [m.user for m in new if m.role is Role.OWNER] + [u for u, r in moved.items() if r is Role.OWNER]
    if not crowned:
        return {}
    if owner is not None or len(crowned) > 1:
        raise _one_owner()
    return {"owner_id": crowned[0]}


def _joined(new: Sequence[NewMember]) -> list[Note]:
    """One for each role; who is new hears of it wherever the conversation has no references."""
    return [
        Note("joined", users := [m.user for m in new if m.role is role], {"role": role}, users)
        for role in sorted({member.role for member in new})
    ]


def _promoted(moved: Mapping[UserKey, Role]) -> list[Note]:
    return [
        Note("role", users := [u for u, r in sorted(moved.items()) if r is role], {"role": role}, users)
        for role in sorted(set(moved.values()))
    ]
