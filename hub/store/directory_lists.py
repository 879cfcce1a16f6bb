"""A user's conversations as the user sees them: last message, unread, mention, and what is kept of each.

Everything is computed, so that nothing can drift; a page costs the same number of statements whatever it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from sqlalchemy import BigInteger, Row, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Role, inbox_id
from hub.core.errors import NotFound
from hub.core.list_ports import Glance, ListedMessages, ListPlace, Standing
from hub.core.message import RECALLED, AppId, ConversationId, Message, UserKey
from hub.core.own_state import NOTHING_KEPT, OwnState
from hub.core.records import (
    UNREAD_WINDOW,
    ConversationRecord,
    ConversationView,
    OwnPart,
    PageRequest,
    Slice,
)
from hub.store.columns import from_micros, to_micros
from hub.store.directory_base import (
    CONVERSATION,
    MEMBER,
    MESSAGE,
    QUEUE_ENTRY,
    Basis,
    Micros,
    place,
    values_of,
)
from hub.store.own_state_rows import OWN_COLUMNS, own_state_of
from hub.store.schema import metadata

ANNOUNCEMENT = metadata.tables["announcement"]
_VIEWER = bindparam("viewer", type_=BigInteger)
_COLUMNS = tuple(column.label(f"c_{column.name}") for column in CONVERSATION.c)
_WIDTH = len(_COLUMNS)
_NOT_FOUND = "There is no such conversation, or you are not in it."


class People(Protocol):
    """Answers who is in direct conversations."""

    async def __call__(self, conversations: Sequence[ConversationId]) -> Any:
        """Their product ids, by conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """How rows become values: the directory's own way."""

    conversation: Callable[[Sequence[Any]], ConversationRecord]
    message: Callable[[Sequence[Any]], Message | None]
    people: People


@cache
def _details() -> Select[Any]:
    announced = (
        select(ANNOUNCEMENT.c.conversation_id)
        .where(ANNOUNCEMENT.c.conversation_id == CONVERSATION.c.id)
        .correlate(CONVERSATION)
        .exists()
    )
    return (
        select(
            *_COLUMNS,
            MEMBER.c.role,
            MEMBER.c.joined_seq,
            MEMBER.c.read_seq,
            *OWN_COLUMNS,
            announced.label("announced"),
        )
        .join_from(MEMBER, CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id)
        .where(
            MEMBER.c.user_id == _VIEWER,
            MEMBER.c.conversation_id.in_(bindparam("conversations", expanding=True)),
        )
    )


class Lists:
    """The list, over what is in SQL and `ListedMessages`."""

    def __init__(self, basis: Basis, messages: ListedMessages, rows: Rows) -> None:
        self._basis = basis
        self._messages = messages
        self._rows = rows

    async def view(self, app: AppId, conversation: ConversationId, viewer: UserKey) -> ConversationView:
        """One conversation as a member sees it. Raises NotFound."""
        if conversation == inbox_id(app):
            inbox = await self._inbox(app, viewer)
            found = [] if inbox is None else [inbox]
        else:
            found = await self._shown(app, viewer, [conversation])
        if not found:
            raise NotFound("conversation_not_found", _NOT_FOUND)
        return found[0]

    async def views(self, app: AppId, user: UserKey, page: PageRequest) -> Slice[ConversationView]:
        """A page of the list: pinned ones first, then the inbox (if it is not pinned itself), then by last activity."""
        after = _place_of(page.after)
        places = await self._messages.page(user, after=after, limit=page.limit + 1)
        some = places[: page.limit]
        views = await self._shown(app, user, [one.conversation for one in some])
        following = _mark(some[-1]) if len(places) > page.limit else None
        passed = after is not None and after.pinned_at is None
        inbox = None if passed else await self._inbox(app, user)
        if inbox is not None:
            views = _with_inbox(views, inbox, after, more=following is not None)
        return Slice(views, following)

    async def _shown(
        self, app: AppId, user: UserKey, wanted: Sequence[ConversationId]
    ) -> list[ConversationView]:
        """These, in this order; those that the user is not in, or that are another app's, are left out."""
        if not wanted:
            return []
        asked = {"viewer": user, "conversations": list(wanted)}
        query = _details().where(CONVERSATION.c.app_id == app)
        rows = {row.c_id: row for row in await self._basis.database.rows(query, asked)}
        standings = [
            Standing(row.c_id, max(row.joined_seq, row.cleared_seq), row.read_seq) for row in rows.values()
        ]
        glances = await self._messages.glances(user, standings)
        direct = [id_ for id_, row in rows.items() if row.c_kind == ConversationKind.DIRECT.value]
        people = await self._rows.people(direct)
        return [
            self._view(rows[id_], glances.get(id_, Glance()), people.get(id_, ()))
            for id_ in wanted
            if id_ in rows
        ]

    def _view(self, row: Row[Any], glance: Glance, people: tuple[str, ...]) -> ConversationView:
        state = own_state_of(row)
        own = OwnPart(
            Role(row.role),
            row.read_seq,
            self._quiet(state),
            glance.unread,
            mention=glance.mention,
            state=state,
        )
        record = self._rows.conversation(row[:_WIDTH])
        return ConversationView(record, glance.last, own, people, announced=bool(row.announced))

    def _quiet(self, state: OwnState) -> bool:
        return state.muted and (state.muted_until is None or state.muted_until > self._basis.clock())

    async def _inbox(self, app: AppId, user: UserKey) -> ConversationView | None:
        """The inbox as this user sees it: only what was sent to them, found by the references in their queue."""
        conversation = inbox_id(app)

        async def work(connection: AsyncConnection) -> tuple[Row[Any] | None, Row[Any] | None]:
            query = select(*_COLUMNS).where(CONVERSATION.c.id == conversation, CONVERSATION.c.app_id == app)
            row = (await connection.execute(query)).one_or_none()
            own = select(MEMBER.c.read_seq, *OWN_COLUMNS).where(
                MEMBER.c.conversation_id == conversation, MEMBER.c.user_id == user
            )
            return row, (await connection.execute(own)).one_or_none()

        row, mine = await self._basis.database.read(work)
        if row is None:
            return None
        state = own_state_of(mine) if mine is not None else NOTHING_KEPT
        read = mine.read_seq if mine is not None else 0
        last, unread = await self._inbox_glance(user, conversation, state.cleared_seq, read)
        if last is None and not state.cleared_seq:
            return None
        own = OwnPart(Role.READONLY, read, self._quiet(state), unread, state=state)
        return ConversationView(self._rows.conversation(row), last, own)

    async def _inbox_glance(
        self, user: UserKey, conversation: ConversationId, cleared: int, read: int
    ) -> tuple[Message | None, int]:
        if self._basis.elsewhere is not None:
            last, unread = await self._basis.elsewhere.inbox(user, max(read, cleared))
            return (None if last is None or last.seq <= cleared else last), unread

        async def work(connection: AsyncConnection) -> tuple[Message | None, int]:
            newest = select(func.max(QUEUE_ENTRY.c.inbox_seq)).where(
                QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.inbox_seq > cleared
            )
            top = (await connection.execute(newest)).scalar()
            if top is None:
                return None, 0
            last = select(MESSAGE).where(MESSAGE.c.conversation_id == conversation, MESSAGE.c.seq == top)
            found = (await connection.execute(last)).one_or_none()
            counted = _unread_in_inbox(user, max(read, cleared), top)
            unread = (await connection.execute(counted)).scalar_one()
            return (self._rows.message(found) if found is not None else None), unread

        return await self._basis.database.read(work)


def _unread_in_inbox(user: UserKey, floor: int, top: int) -> Select[Any]:
    """Past `floor`, and up to the newest that is shown: what came after it was looked for is told of later."""
    newer = (
        select(QUEUE_ENTRY.c.message_id)
        .where(QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.inbox_seq > floor, QUEUE_ENTRY.c.inbox_seq <= top)
        .order_by(QUEUE_ENTRY.c.inbox_seq.desc())
        .limit(UNREAD_WINDOW)
        .subquery("newer")
    )
    gone = MESSAGE.c.kind == RECALLED
    return (
        select(func.count())
        .select_from(newer.outerjoin(MESSAGE, MESSAGE.c.id == newer.c.message_id))
        .where(MESSAGE.c.id.is_(None) | ~gone)
    )


def _with_inbox(
    views: list[ConversationView], inbox: ConversationView, after: ListPlace | None, *, more: bool
) -> list[ConversationView]:
    """The inbox stands where it is pinned, else before the first that is not: on this page, an earlier or a later."""

    def pinned(view: ConversationView) -> datetime | None:
        return view.mine.state.pinned_at if view.mine is not None else None

    own = pinned(inbox)
    if own is not None and after is not None and after.pinned_at is not None and after.pinned_at <= own:
        return views
    before = [view for view in views if (at := pinned(view)) is not None and (own is None or at > own)]
    if more and len(before) == len(views):
        return views
    return [*before, inbox, *views[len(before) :]]


def _mark(one: ListPlace) -> str:
    pinned = to_micros(one.pinned_at) if one.pinned_at is not None else 0
    return place(pinned, to_micros(one.at), one.conversation)


def _place_of(after: str | None) -> ListPlace | None:
    if after is None:
        return None
    pinned, at, conversation = values_of(after, tuple[Micros, Micros, str])
    return ListPlace(ConversationId(conversation), from_micros(pinned) if pinned else None, from_micros(at))
