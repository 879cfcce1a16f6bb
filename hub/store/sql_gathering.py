"""What is counted and gathered for a person: frequency caps and digests, each decided under the lock of its row."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Executable, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.outcome import Reason
from hub.core.routing_ports import CapWant, DigestAnswer, DigestPart
from hub.store.columns import to_micros
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata
from hub.store.tables_routing import DigestMember, DigestWindow, FrequencyTaken, FrequencyUse

DELIVERY = metadata.tables["delivery"]
MEMBER = metadata.tables[str(DigestMember.__tablename__)]
TAKEN = metadata.tables[str(FrequencyTaken.__tablename__)]
USE = metadata.tables[str(FrequencyUse.__tablename__)]
WINDOW = metadata.tables[str(DigestWindow.__tablename__)]

_OPEN: Final = "open"
_AGAIN = timedelta(seconds=5)
"""When a member looks again whose sender is on its way."""
_UNDECIDED: Final = (DeliveryState.QUEUED, DeliveryState.ATTEMPTING)
_CHUNK = 200
_taken = Insertion(TAKEN, ("delivery_id", "token", "at"), Clash.IGNORE)
_uses = Insertion(USE, ("user_id", "rule", "window_start", "used", "ends_at"), Clash.IGNORE)
_windows = Insertion(
    WINDOW,
    ("id", "user_id", "channel", "key", "slot", "closes_at", "sender_id", "size"),
    Clash.IGNORE,
)
_members = Insertion(MEMBER, ("delivery_id", "window_id"), Clash.IGNORE)


class SqlGathering:
    """`RoutingStore`: caps and digests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._ids = Listing(database.dialect, id=str)

    async def take_caps(self, wants: Sequence[CapWant], now: datetime) -> Mapping[DeliveryId, str]:
        """See the port. In one order, so that two workers do not wait for each other."""
        ordered = sorted(wants, key=lambda want: (want.user, want.delivery))
        if not ordered:
            return {}
        # In a transaction of their own: on MySQL, inserts of one key and then updates of it wait for each other.
        rows = sorted(
            {
                (want.user, rule, to_micros(start), 0, to_micros(end))
                for want in ordered
                for rule, start, end, _ in want.uses
            }
        )
        for row in rows:
            await self._database.write(partial(_uses.run, dialect=self._dialect, rows=[row]))
        return await self._database.write(lambda connection: self._take(connection, ordered, now))

    async def _take(
        self, connection: AsyncConnection, wants: Sequence[CapWant], now: datetime
    ) -> Mapping[DeliveryId, str]:
        token = uuid.uuid4().hex
        at = to_micros(now)
        await _taken.run(connection, self._dialect, [(want.delivery, token, at) for want in wants])
        mine = select(TAKEN.c.delivery_id).where(
            TAKEN.c.delivery_id.in_(self._ids.select), TAKEN.c.token == token
        )
        asked = self._ids.of([want.delivery for want in wants])
        fresh = set((await connection.scalars(mine, asked)).all())
        denied: dict[DeliveryId, str] = {}
        for want in wants:
            full = await self._use(connection, want) if want.delivery in fresh else None
            if full is not None:
                denied[want.delivery] = full
        if denied:
            # By value: MySQL deletes by a subquery through all rows, and waits for those of others.
            await connection.execute(delete(TAKEN).where(TAKEN.c.delivery_id.in_(sorted(denied))))
        return denied

    async def _use(self, connection: AsyncConnection, want: CapWant) -> str | None:
        """One of each rule, or none at all: then the rule that is used up."""
        used: list[Any] = []
        for rule, start, _, limit in sorted(want.uses):
            place = and_(USE.c.user_id == want.user, USE.c.rule == rule, USE.c.window_start == start)
            more = update(USE).where(place, USE.c.used < limit).values(used=USE.c.used + 1)
            if (await connection.execute(more)).rowcount == 0:
                for taken in used:
                    await connection.execute(update(USE).where(taken).values(used=USE.c.used - 1))
                return rule
            used.append(place)
        return None

    async def join_digest(
        self, delivery: Delivery, *, key: str, closes_at: datetime, now: datetime
    ) -> DigestAnswer:
        """See the port."""

        async def work(connection: AsyncConnection) -> DigestAnswer:
            window = await self._window(connection, delivery, key, closes_at)
            return await self._part(connection, delivery, window, now)

        return await self._database.write(work)

    async def _window(
        self, connection: AsyncConnection, delivery: Delivery, key: str, closes_at: datetime
    ) -> Any:
        """The window that this delivery belongs to, locked."""
        known = select(MEMBER.c.window_id).where(MEMBER.c.delivery_id == delivery.id)
        window_id = (await connection.scalars(known)).one_or_none()
        if window_id is not None:
            own = select(WINDOW).where(WINDOW.c.id == window_id).with_for_update()
            return (await connection.execute(own)).one()
        still_open = (
            select(WINDOW)
            .where(
                WINDOW.c.user_id == delivery.user,
                WINDOW.c.channel == delivery.channel,
                WINDOW.c.key == key,
                WINDOW.c.slot == _OPEN,
            )
            .with_for_update()
        )
        window = (await connection.execute(still_open)).one_or_none()
        if window is None:
            row = (
                f"dig_{uuid.uuid4().hex}",
                delivery.user,
                delivery.channel,
                key,
                _OPEN,
                to_micros(closes_at),
                None,
                0,
            )
            await _windows.run(connection, self._dialect, [row])
            window = (await connection.execute(still_open)).one()
        await _members.run(connection, self._dialect, [(delivery.id, window.id)])
        return window

    async def _part(
        self, connection: AsyncConnection, delivery: Delivery, window: Any, now: datetime
    ) -> DigestAnswer:
        if window.sender_id == delivery.id:
            return DigestAnswer(DigestPart.SENDS, size=max(window.size, 1))
        if window.sender_id is None and window.closes_at > now:
            return DigestAnswer(DigestPart.WAITS, window.closes_at)
        if window.sender_id is not None:
            answer = await self._after(connection, window.sender_id, now)
            if answer is not None:
                return answer
        size = max(int((await connection.scalars(_living(window.id))).one()), 1)
        change = update(WINDOW).where(WINDOW.c.id == window.id)
        await connection.execute(change.values(slot=window.id, sender_id=delivery.id, size=size))
        return DigestAnswer(DigestPart.SENDS, size=size)

    async def _after(self, connection: AsyncConnection, sender: str, now: datetime) -> DigestAnswer | None:
        """What a member is beside the chosen sender; None where that one will never be sent."""
        query = select(DELIVERY.c.state, DELIVERY.c.reason, DELIVERY.c.due_at).where(DELIVERY.c.id == sender)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return DigestAnswer(DigestPart.JOINED)
        state = DeliveryState(row.state)
        if state in _UNDECIDED:
            return DigestAnswer(DigestPart.WAITS, now + _AGAIN)
        if row.due_at is not None and (state.cancelable or state is DeliveryState.UNKNOWN):
            return DigestAnswer(DigestPart.WAITS, max(row.due_at, now) + _AGAIN)
        reason = Reason(row.reason) if row.reason else Reason.UNKNOWN
        if state is DeliveryState.FAILED and reason is not Reason.EXPIRED:
            return DigestAnswer(DigestPart.FAILED, reason=reason)
        unsent = (DeliveryState.SKIPPED, DeliveryState.CANCELED, DeliveryState.FAILED)
        return None if state in unsent else DigestAnswer(DigestPart.JOINED)

    async def digest_sizes(self, ids: Collection[DeliveryId]) -> Mapping[DeliveryId, int]:
        """See the port."""
        if not ids:
            return {}
        query = (
            select(MEMBER.c.delivery_id, WINDOW.c.size)
            .join_from(MEMBER, WINDOW, MEMBER.c.window_id == WINDOW.c.id)
            .where(MEMBER.c.delivery_id.in_(self._ids.select), WINDOW.c.sender_id == MEMBER.c.delivery_id)
        )
        found = await self._database.rows(query, self._ids.of(sorted(ids)))
        return {DeliveryId(row.delivery_id): row.size for row in found}

    async def forget_gathered(self, before: datetime) -> int:
        """Remove what was counted and gathered before a time, a little at a time."""
        gone = 0
        old = select(WINDOW.c.id).where(WINDOW.c.closes_at < before, WINDOW.c.slot != _OPEN).limit(_CHUNK)
        while found := [row.id for row in await self._database.rows(old)]:
            gone += await self._database.write(partial(self._forget_windows, ids=found))
        taken = select(TAKEN.c.delivery_id).where(TAKEN.c.at < before).limit(_CHUNK)
        while found := [row.delivery_id for row in await self._database.rows(taken)]:
            drop = delete(TAKEN).where(TAKEN.c.delivery_id.in_(found))
            await self._database.write(partial(_run, statement=drop))
            gone += len(found)
        uses = delete(USE).where(USE.c.ends_at < before)
        await self._database.write(partial(_run, statement=uses))
        return gone

    async def _forget_windows(self, connection: AsyncConnection, ids: Sequence[str]) -> int:
        await connection.execute(delete(MEMBER).where(MEMBER.c.window_id.in_(ids)))
        return int((await connection.execute(delete(WINDOW).where(WINDOW.c.id.in_(ids)))).rowcount)


async def _run(connection: AsyncConnection, statement: Executable) -> None:
    await connection.execute(statement)


def _living(window: str) -> Any:
    """How many members of a window are still to be told: those read or taken back meanwhile are not."""
    told_of = or_(
        DELIVERY.c.state.not_in([DeliveryState.CANCELED.value, DeliveryState.SKIPPED.value]),
        DELIVERY.c.reason == Reason.DIGESTED.value,
    )
    return (
        select(func.count())
        .select_from(MEMBER)
        .join(DELIVERY, DELIVERY.c.id == MEMBER.c.delivery_id)
        .where(MEMBER.c.window_id == window, told_of)
    )
