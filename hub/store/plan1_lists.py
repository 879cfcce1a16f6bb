"""Plan 1, the list of conversations: `core.list_ports.ListedMessages` over Redis and what SQL keeps of a user.

The order is computed over all conversations of the user: one statement and a call to Redis for every 500 of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind
from hub.core.list_ports import Glance, ListPlace, Standing
from hub.core.message import SYSTEM, ConversationId, Message, UserKey
from hub.core.records import UNREAD_WINDOW
from hub.redis_wire import Argument
from hub.store import plan1_wire as wire
from hub.store.columns import from_micros
from hub.store.plan1_redis import Plan1Redis
from hub.store.schema import metadata
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database

CONVERSATION = metadata.tables["conversation"]
HIDDEN = metadata.tables["hidden"]
MEMBER = metadata.tables["member"]
MENTION = metadata.tables["mention"]

_ROOMS = 500
_NUMBERS = 5_000
"""Hidden messages and mentions that are looked at."""
_Numbers = Mapping[str, Sequence[int]]
_VIEWER = bindparam("viewer", type_=BigInteger)


class Plan1Lists:
    """See the port."""

    def __init__(self, redis: Plan1Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self._newest, self._unread = map(wire.script, ("newest", "unread"))
        listing = Listing(database.dialect, id=str, seen=int)
        listed = listing.select.subquery("listed")
        self._listing = listing
        self._own = (
            select(
                MEMBER.c.conversation_id,
                MEMBER.c.pinned_at,
                MEMBER.c.joined_seq,
                MEMBER.c.cleared_seq,
                CONVERSATION.c.created_at,
                CONVERSATION.c.kind,
                CONVERSATION.c.version,
            )
            .join_from(MEMBER, CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id)
            .where(MEMBER.c.user_id == _VIEWER, CONVERSATION.c.kind != ConversationKind.INBOX.value)
        )
        self._hidden = select(HIDDEN.c.conversation_id, HIDDEN.c.seq).where(HIDDEN.c.user_id == _VIEWER)
        self._hidden = self._hidden.order_by(HIDDEN.c.seq.desc()).limit(_NUMBERS)
        self._mentions = (
            select(MENTION.c.conversation_id, MENTION.c.seq)
            .join_from(listed, MENTION, MENTION.c.conversation_id == listed.c.id)
            .where(MENTION.c.user_id.in_([_VIEWER, SYSTEM]), MENTION.c.seq > listed.c.seen)
            .order_by(MENTION.c.seq.desc())
            .limit(_NUMBERS)
        )

    async def page(self, user: UserKey, *, after: ListPlace | None, limit: int) -> Sequence[ListPlace]:
        """See the port."""

        async def work(connection: AsyncConnection) -> tuple[Sequence[Row[Any]], _Numbers]:
            own: Any = (await connection.execute(self._own, {"viewer": user})).all()
            return own, _by_room(await connection.execute(self._hidden, {"viewer": user}))

        rows, hidden = await self._database.read(work)
        past = {row.conversation_id: max(row.joined_seq, row.cleared_seq) for row in rows}
        flat = await self._ask_newest("at", past, hidden)
        active = {id_: from_micros(int(at)) for id_, at in zip(past, flat[::2], strict=True) if at}
        places = [
            ListPlace(
                ConversationId(row.conversation_id),
                row.pinned_at,
                active.get(row.conversation_id, row.created_at),
            )
            for row in rows
            if row.conversation_id in active or not _unborn(row)
        ]
        ordered = sorted(places, key=_place, reverse=True)
        return [one for one in ordered if after is None or _place(one) < _place(after)][:limit]

    async def glances(self, user: UserKey, standings: Sequence[Standing]) -> Mapping[ConversationId, Glance]:
        """See the port."""
        if not standings:
            return {}
        floors = {s.conversation: s.floor for s in standings}
        seen = {s.conversation: max(s.floor, s.read_seq) for s in standings}

        async def work(connection: AsyncConnection) -> tuple[_Numbers, _Numbers]:
            asked = {"viewer": user, **self._listing.of(list(seen.items()))}
            hidden = _by_room(await connection.execute(self._hidden, {"viewer": user}))
            return hidden, _by_room(await connection.execute(self._mentions, asked))

        hidden, mentions = await self._database.read(work)
        last = wire.messages_of(await self._ask_newest("body", floors, hidden))
        newest = {message.conversation: message for message in last}
        counts: dict[ConversationId, tuple[int, int]] = {}
        for start in range(0, len(standings), _ROOMS):
            some = list(seen.items())[start : start + _ROOMS]
            words: list[Argument] = [user, UNREAD_WINDOW]
            for id_, number in some:
                # What was said since the last one was looked for is told of later, and counted then.
                top = newest[id_].seq if id_ in newest else 0
                words += [number, top, _listed(hidden.get(id_, ())), _listed(mentions.get(id_, ()))]
            flat = await self._redis.ask(self._unread, [wire.room(id_) for id_, _ in some], *words)
            counts.update(
                (id_, pair)
                for (id_, _), pair in zip(some, zip(flat[::2], flat[1::2], strict=True), strict=True)
            )
        return {id_: Glance(newest.get(id_), *counts[id_]) for id_ in floors}

    async def newest(self, past: Mapping[ConversationId, int]) -> Mapping[ConversationId, Message]:
        """The last message of each past a number, whoever looks."""
        found = wire.messages_of(await self._ask_newest("body", past, {}))
        return {message.conversation: message for message in found}

    async def _ask_newest(
        self, what: str, past: Mapping[ConversationId, int], hidden: _Numbers
    ) -> Sequence[bytes]:
        asked = list(past.items())
        found: list[bytes] = []
        for start in range(0, len(asked), _ROOMS):
            some = asked[start : start + _ROOMS]
            words = [word for id_, number in some for word in (number, _listed(hidden.get(id_, ())))]
            found += await self._redis.ask(self._newest, [wire.room(id_) for id_, _ in some], what, *words)
        return found


def _by_room(rows: Any) -> _Numbers:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row.conversation_id, []).append(row.seq)
    return found


def _listed(numbers: Sequence[int]) -> str:
    return f",{','.join(map(str, numbers))}," if numbers else ""


def _unborn(row: Row[Any]) -> bool:
    """Only (un)blocking moves the version of a direct conversation, and makes one before there is a message."""
    direct: bool = row.kind == ConversationKind.DIRECT.value
    return direct and row.version > 1 and row.cleared_seq == 0


def _place(one: ListPlace) -> tuple[bool, datetime, datetime, str]:
    return (one.pinned_at is not None, one.pinned_at or one.at, one.at, one.conversation)
