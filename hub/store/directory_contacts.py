"""Contacts of users, and what a member keeps of a conversation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, func, insert, or_, select, update

from hub.core.contacts import (
    CONTACT,
    MOST_CONTACTS,
    ContactChanges,
    ContactFilter,
    ContactRecord,
    ContactWrite,
    folded,
)
from hub.core.errors import Conflict, NotFound, Refused
from hub.core.message import AppId, ConversationId, UserKey
from hub.core.records import PageRequest, Slice
from hub.store.directory_base import CONVERSATION, MEMBER, USER, Basis, dumps, place, slice_of, values_of
from hub.store.directory_own_state import OwnStateWrites
from hub.store.schema import metadata

CONTACT_TABLE = metadata.tables["contact"]
_C = CONTACT_TABLE.c
_NONE = "There is no such contact."


def _contacts() -> Select[Any]:
    return select(CONTACT_TABLE, USER.c.user_id.label("product_id"), USER.c.name).join(
        USER, USER.c.id == _C.user_id
    )


def _contact_of(row: Row[Any]) -> ContactRecord:
    return ContactRecord(
        user=UserKey(row.user_id),
        user_id=row.product_id,
        name=row.name,
        kind=row.kind,
        alias=row.alias,
        note=row.note,
        tags=tuple(msgspec.json.decode(row.tags)),
        starred=row.starred,
        blocked=row.blocked,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def blocked_by(asker: UserKey) -> Any:
    """Whether the user of the row has blocked the asker."""
    return (
        select(_C.owner_id)
        .where(_C.owner_id == USER.c.id, _C.user_id == asker, _C.blocked.is_(True))
        .correlate(USER)
        .exists()
    )


class ContactReads:
    """The directory's questions about contacts."""

    _basis: Basis

    async def contacts(
        self, app: AppId, owner: UserKey, only: ContactFilter, page: PageRequest
    ) -> Slice[ContactRecord]:
        """A user's contacts that match, by their product ids."""
        query = _contacts().where(_C.owner_id == owner, _C.app_id == app)
        for column, wanted in ((_C.kind, only.kind), (_C.starred, only.starred), (_C.blocked, only.blocked)):
            if wanted is not None:
                query = query.where(column == wanted)
        if only.tag is not None:
            # A tag has no quotes of its own: what stands between quotes is a whole one.
            query = query.where(_C.tags.contains(dumps(only.tag), autoescape=True))
        if only.text is not None:
            text = folded(only.text)
            named = func.lower(USER.c.name).contains(text, autoescape=True)
            query = query.where(or_(_C.folded.contains(text, autoescape=True), named))
        if page.after is not None:
            query = query.where(USER.c.user_id > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database,
            query.order_by(USER.c.user_id),
            page,
            read=_contact_of,
            mark=lambda row: place(row.product_id),
        )

    async def contact(self, app: AppId, owner: UserKey, user: UserKey) -> ContactRecord:
        """One of them. Raises NotFound contact_not_found."""
        query = _contacts().where(_C.owner_id == owner, _C.user_id == user, _C.app_id == app)
        rows = await self._basis.database.rows(query)
        if not rows:
            raise NotFound("contact_not_found", _NONE)
        return _contact_of(rows[0])


class ContactWrites(OwnStateWrites):
    """The part of a change that is about contacts."""

    async def put_contacts(self, owner: UserKey, contacts: Sequence[ContactWrite]) -> ContactChanges:
        """See the port."""
        wanted = {contact.user: contact for contact in contacts}
        if owner in wanted:
            raise Refused("contact_self", "Nobody is among their own contacts.")
        # Who changes somebody's contacts waits for whoever else does: the count holds, and nobody is made twice.
        await self._connection.execute(select(USER.c.id).where(USER.c.id == owner).with_for_update())
        before = await self._found(owner, wanted)
        await self._room(owner, len(wanted.keys() - before.keys()))
        for user in sorted(wanted):
            await self._put(owner, wanted[user], before.get(user))
        after = await self._found(owner, wanted)
        moved = [
            user
            for user in sorted(wanted)
            if after[user].blocked != (before[user].blocked if user in before else False)
        ]
        conversations = [(await self._block(owner, user, after[user].blocked), user) for user in moved]
        written = [(after[contact.user], contact.user not in before) for contact in contacts]
        return ContactChanges(written, conversations)

    async def delete_contact(self, owner: UserKey, user: UserKey) -> ContactChanges:
        """See the port."""
        before = await self._found(owner, [user])
        if user not in before:
            raise NotFound("contact_not_found", _NONE)
        mine = (_C.owner_id == owner, _C.user_id == user)
        await self._connection.execute(delete(CONTACT_TABLE).where(*mine))
        conversations = [(await self._block(owner, user, False), user)] if before[user].blocked else []
        return ContactChanges([(before[user], False)], conversations)

    async def _found(self, owner: UserKey, users: Collection[UserKey]) -> Mapping[UserKey, ContactRecord]:
        query = _contacts().where(_C.owner_id == owner, _C.user_id.in_(sorted(users)), _C.app_id == self._app)
        return {UserKey(row.user_id): _contact_of(row) for row in await self._connection.execute(query)}

    async def _room(self, owner: UserKey, more: int) -> None:
        if not more:
            return
        query = select(func.count()).select_from(CONTACT_TABLE).where(_C.owner_id == owner)
        if (await self._connection.execute(query)).scalar_one() + more > MOST_CONTACTS:
            raise Conflict("contacts_full", f"A user has at most {MOST_CONTACTS:,} contacts.")

    async def _put(self, owner: UserKey, wanted: ContactWrite, known: ContactRecord | None) -> None:
        fields = ("kind", "alias", "note", "starred", "blocked")
        given = {name: getattr(wanted, name) for name in fields if getattr(wanted, name) is not None}
        if wanted.tags is not None:
            given["tags"] = dumps(sorted(set(wanted.tags)))
        if wanted.alias is not None:
            given["folded"] = folded(wanted.alias)[:512]
        mine = (_C.owner_id == owner, _C.user_id == wanted.user)
        if known is not None:
            statement = update(CONTACT_TABLE).where(*mine)
            await self._connection.execute(statement.values(**given, updated_at=self._now))
            return
        row: dict[str, Any] = {"kind": CONTACT, "alias": "", "folded": "", "note": "", "tags": "[]"}
        row |= {"starred": False, "blocked": False, **given}
        await self._connection.execute(
            insert(CONTACT_TABLE).values(
                owner_id=owner,
                user_id=wanted.user,
                app_id=self._app,
                created_at=self._now,
                updated_at=self._now,
                **row,
            )
        )

    async def _block(self, owner: UserKey, user: UserKey, blocked: bool) -> ConversationId:
        """Say in the direct conversation whether its other member may speak. It is made where there is none, so that
        the first message meets the version too."""
        record, _ = await self.ensure_direct(owner, user)
        # Raised first: this locks the row, and no batch gets between.
        await self._connection.execute(
            update(CONVERSATION)
            .where(CONVERSATION.c.id == record.id)
            .values(version=CONVERSATION.c.version + 1)
        )
        await self._connection.execute(
            update(MEMBER)
            .where(MEMBER.c.conversation_id == record.id, MEMBER.c.user_id == user)
            .values(blocked=blocked)
        )
        return record.id
