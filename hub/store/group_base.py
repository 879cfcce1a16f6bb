"""What every change of a conversation does: lock it, ask who may, count, cross the fan-out limit, write notices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout, Role, fanout_of
from hub.core.errors import Conflict, Refused
from hub.core.group_rules import BUSINESS, Standing, Verb, may, not_there
from hub.core.groups import Doer, GroupChanged
from hub.core.message import AppId, ConversationId, SeqKey, UserKey
from hub.core.records import ConversationRecord, NewMember
from hub.store.columns import to_micros
from hub.store.directory_base import AUDIT, CONVERSATION, MEMBER, MESSAGE, USER, Basis, dumps
from hub.store.directory_conversations import conversation_of
from hub.store.group_rows import NOTICE, rules_of
from hub.store.sql_bulk import Clash, Insertion, numbers

NAMED = 100
"""Users whom a notice names; it counts the others."""
_CHUNK = 1_000
_members = Insertion(
    MEMBER,
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)


@dataclass(frozen=True, slots=True)
class Note:
    """A notice to be written: what happened to whom, what else belongs to it, and who must hear of it although the
    conversation does not reach them."""

    event: str
    users: Sequence[UserKey] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[UserKey] = ()


class GroupBase:
    """The ground of a change: its transaction, its app and its time."""

    _basis: Basis
    _connection: AsyncConnection
    _app: AppId
    _actor: str
    _now: datetime

    async def _lock(self, conversation: ConversationId) -> ConversationRecord:
        """The conversation, locked until the commit: no batch of messages and no rival gets between."""
        query = select(CONVERSATION).where(
            CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == self._app
        )
        row = (await self._connection.execute(query.with_for_update())).one_or_none()
        if row is None:
            raise not_there()
        return conversation_of(row)

    async def _demand(
        self, record: ConversationRecord, by: Doer, verb: Verb, target: Role | None = None
    ) -> Standing:
        """What the doer is in the conversation. Raises why they may not."""
        standing = BUSINESS if by.key is None else await self._role(record.id, by.key)
        demand(may(standing, verb, target, rules_of(record)))
        return standing

    async def _role(self, conversation: ConversationId, user: UserKey) -> Role | None:
        return (await self._roles(conversation, [user])).get(user)

    async def _roles(self, conversation: ConversationId, users: Collection[UserKey]) -> dict[UserKey, Role]:
        """The roles of those of the users who are in it."""
        found: dict[UserKey, Role] = {}
        wanted = sorted(users)
        for start in range(0, len(wanted), _CHUNK):
            # One parameter: of a thousand, PostgreSQL may look at each for each member of a large group.
            listed = numbers(self._basis.database.dialect)
            query = select(MEMBER.c.user_id, MEMBER.c.role).where(
                MEMBER.c.conversation_id == conversation, MEMBER.c.user_id.in_(listed.select)
            )
            rows = await self._connection.execute(query, listed.of(wanted[start : start + _CHUNK]))
            found.update({UserKey(row.user_id): Role(row.role) for row in rows})
        return found

    async def _finish(
        self,
        record: ConversationRecord,
        *notes: Note,
        delta: int = 0,
        values: Mapping[str, Any] | None = None,
        users: Sequence[UserKey] = (),
    ) -> GroupChanged:
        """Raise the version, count who came or went, cross the limit where that is due, and write the notices."""
        count = record.member_count + delta
        fanout = fanout_of(record.fanout, count, self._basis.fanout_limit)
        given = {**(values or {}), "version": record.version + 1, "member_count": count}
        if fanout is not record.fanout:
            top = await self._top(record.id)
            given["fanout"] = fanout
            users = await self._everybody(record.id, users)
            if fanout is Fanout.WRITE:
                given["read_until"] = top
                crossing = Note("fanout", more={"fanout": fanout, "read_until": top})
            else:
                crossing = Note("fanout", more={"fanout": fanout, "from_seq": top + 1}, also=users)
            notes = (crossing, *notes)
        mine = CONVERSATION.c.id == record.id
        await self._connection.execute(update(CONVERSATION).where(mine).values(given))
        changed = await self._read(record.id)
        await self._write(changed, notes)
        return GroupChanged(changed, tuple(users))

    async def _everybody(self, conversation: ConversationId, more: Sequence[UserKey]) -> tuple[UserKey, ...]:
        """Who is in it, and these: not many, where a conversation crosses the limit."""
        query = select(MEMBER.c.user_id).where(MEMBER.c.conversation_id == conversation)
        found = {UserKey(user) for user in await self._connection.scalars(query)}
        return tuple(sorted(found | set(more)))

    async def _write(
        self, record: ConversationRecord, notes: Sequence[Note], *, by: Doer | None = None
    ) -> None:
        doer = by or self._doer
        names = await self._names({user for note in notes for user in note.users[:NAMED]})
        rows = [
            {
                "id": self._basis.new_id("ntc"),
                "app_id": self._app,
                "conversation_id": record.id,
                "version": record.version,
                "place": place,
                "body": dumps(_body(note, doer, names)),
                "also": dumps([int(user) for user in note.also]),
                "created_at": self._now,
            }
            for place, note in enumerate(notes)
        ]
        if rows:
            await self._connection.execute(insert(NOTICE), rows)

    _doer: Doer = Doer()
    """Whose change this is, for the notices; each verb says."""

    async def _names(self, users: Collection[UserKey]) -> dict[UserKey, str]:
        if not users:
            return {}
        query = select(USER.c.id, USER.c.user_id).where(USER.c.id.in_(sorted(users)))
        return {UserKey(row.id): row.user_id for row in await self._connection.execute(query)}

    async def _insert_members(
        self, record: ConversationRecord, members: Sequence[NewMember], top: int
    ) -> None:
        """Comments of an open discussion are there for who comes later, too; what was said in a group is not."""
        joined = 0 if record.kind is ConversationKind.THREAD else top
        at = to_micros(self._now)
        rows = [
            (record.id, int(member.user), member.role.value, joined, top, False, at) for member in members
        ]
        for start in range(0, len(rows), _CHUNK):
            dialect = self._basis.database.dialect
            await _members.run(self._connection, dialect, rows[start : start + _CHUNK])

    async def _take_out(self, conversation: ConversationId, user: UserKey) -> None:
        await self._connection.execute(
            delete(MEMBER).where(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
        )

    async def _alter_member(self, conversation: ConversationId, user: UserKey, **values: Any) -> None:
        await self._connection.execute(
            update(MEMBER)
            .where(MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user)
            .values(values)
        )

    def _room_for(self, record: ConversationRecord, more: int) -> None:
        """Raises Conflict where there is none."""
        most = self._basis.group_limit
        if record.group.max_members:
            most = min(most, record.group.max_members)
        if more and record.member_count + more > most:
            raise Conflict("conversation_full", f"This conversation takes at most {most:,} members.")

    async def _top(self, conversation: ConversationId) -> int:
        if self._basis.elsewhere is not None:
            key = SeqKey.of_conversation(conversation)
            return (await self._basis.elsewhere.heads([key]))[key]
        query = select(func.max(MESSAGE.c.seq)).where(MESSAGE.c.conversation_id == conversation)
        return (await self._connection.execute(query)).scalar() or 0

    async def _read(self, conversation: ConversationId) -> ConversationRecord:
        query = select(CONVERSATION).where(
            CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == self._app
        )
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            raise not_there()
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


def demand(refusal: Refused | None) -> None:
    """Raises it, if there is one."""
    if refusal is not None:
        raise refusal


def _body(note: Note, doer: Doer, names: Mapping[UserKey, str]) -> dict[str, Any]:
    """What clients read."""
    named = [names[user] for user in note.users[:NAMED] if user in names]
    counted = {"count": len(note.users)} if note.users else {}
    return {"event": note.event, "by": doer.id, "users": named, **counted, **note.more}
