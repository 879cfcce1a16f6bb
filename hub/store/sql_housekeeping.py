"""What keeps the store small: old messages, batches and keys removed, a little at a time; parked receipts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.message import SYSTEM, TOMBSTONE, AppId, ConversationId, SeqKind
from hub.core.ports import CLOCKS_APART, Parked
from hub.store.columns import to_micros
from hub.store.hanging import drop_hanging, drop_marks
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database
from hub.store.sql_messages import by_number, conversation_heads, user_heads
from hub.store.tables import metadata

ATTEMPT = metadata.tables["attempt"]
DELIVERY = metadata.tables["delivery"]
DELIVERY_EVENT = metadata.tables["delivery_event"]
IDEMPOTENCY = metadata.tables["idempotency"]
MESSAGE = metadata.tables["message"]
NOTIFICATION = metadata.tables["notification"]
PUBLISH_BATCH = metadata.tables["publish_batch"]
QUEUE_ENTRY = metadata.tables["queue_entry"]
RECEIPT_PARKED = metadata.tables["receipt_parked"]
RETENTION_FLOOR = metadata.tables["retention_floor"]
USER = metadata.tables["user"]

# Small enough that a live commit, which may have to wait for it, hardly notices.
_CHUNK = 200
_USERS = 100
_ENTRIES = 200

_parked = Insertion(
    RECEIPT_PARKED,
    ("channel", "provider_id", "outcome", "about", "created_at"),
    Clash.UPDATE,
    ("outcome",),
)
_matched = select(
    RECEIPT_PARKED.c.channel,
    RECEIPT_PARKED.c.provider_id,
    RECEIPT_PARKED.c.outcome,
    DELIVERY.c.id.label("delivery_id"),
).join(
    DELIVERY,
    and_(
        DELIVERY.c.channel == RECEIPT_PARKED.c.channel, DELIVERY.c.provider_id == RECEIPT_PARKED.c.provider_id
    ),
)
_floor_rows = Insertion(RETENTION_FLOOR, ("kind", "id", "seq"), Clash.UPDATE, ("seq",))


def _parked_of(row: Row[Any]) -> Parked:
    return Parked(row.channel, row.provider_id, row.outcome, DeliveryId(row.delivery_id))


class SqlHousekeeping:
    """`Housekeeping`. Every verb works in short transactions and may be stopped and repeated at any time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._ids = Listing(self._dialect, id=str)
        self._numbers = Listing(self._dialect, id=int)
        self._heads = conversation_heads(self._ids)
        self._user_heads = user_heads(self._numbers)
        self._live = _first_live(self._numbers)
        ids = self._ids.select
        self._oldest = (
            select(
                MESSAGE.c.id, MESSAGE.c.conversation_id, MESSAGE.c.seq, MESSAGE.c.kind, MESSAGE.c.created_at
            )
            .where(MESSAGE.c.app_id == bindparam("app"), MESSAGE.c.id > bindparam("place"))
            .order_by(MESSAGE.c.id)
            .limit(_CHUNK)
        )
        self._drop_notifications = delete(NOTIFICATION).where(NOTIFICATION.c.message_id.in_(ids))
        self._drop_messages = delete(MESSAGE).where(MESSAGE.c.id.in_(ids))

    async def park_receipt(
        self, channel: str, provider_id: str, outcome: str, now: datetime, *, about: str = ""
    ) -> None:
        """See the port. A repeat keeps the first one's time: that is when it was true."""
        row = (channel, provider_id, outcome, about, to_micros(now))
        await self._database.write(lambda c: _parked.run(c, self._dialect, [row]))

    async def parked(self, channel: str, provider_ids: Collection[str]) -> Sequence[Parked]:
        """See the port."""
        if not provider_ids:
            return []
        mine = _matched.where(
            RECEIPT_PARKED.c.channel == channel, RECEIPT_PARKED.c.provider_id.in_(self._ids.select)
        )
        return [_parked_of(row) for row in await self._database.rows(mine, self._ids.of(list(provider_ids)))]

    async def overtaken(self, *, since: datetime, limit: int) -> Sequence[Parked]:
        """See the port."""
        left = _matched.where(RECEIPT_PARKED.c.created_at > since).limit(limit)
        return [_parked_of(row) for row in await self._database.rows(left)]

    async def unpark(self, receipts: Collection[Parked]) -> None:
        """See the port. A later receipt of the same id that came meanwhile stays."""

        async def work(connection: AsyncConnection) -> None:
            for receipt in sorted(receipts, key=lambda one: (one.channel, one.provider_id)):
                await connection.execute(
                    delete(RECEIPT_PARKED).where(
                        RECEIPT_PARKED.c.channel == receipt.channel,
                        RECEIPT_PARKED.c.provider_id == receipt.provider_id,
                        RECEIPT_PARKED.c.outcome == receipt.receipt,
                    )
                )

        if receipts:
            await self._database.write(work)

    async def claim_stray(self, delivery: Delivery, about: str) -> str | None:
        """See the port."""
        if delivery.doubt_since is None:
            return None
        others = select(func.min(DELIVERY.c.tried_at)).where(
            DELIVERY.c.user_id == delivery.user,
            DELIVERY.c.channel == delivery.channel,
            DELIVERY.c.state == DeliveryState.ATTEMPTING.value,
            DELIVERY.c.id != delivery.id,
        )
        owned = select(DELIVERY.c.id).where(
            DELIVERY.c.channel == RECEIPT_PARKED.c.channel,
            DELIVERY.c.provider_id == RECEIPT_PARKED.c.provider_id,
        )
        query = (
            select(RECEIPT_PARKED.c.provider_id)
            .where(
                RECEIPT_PARKED.c.about.in_([about, delivery.id]),
                RECEIPT_PARKED.c.channel == delivery.channel,
                RECEIPT_PARKED.c.created_at >= delivery.doubt_since - CLOCKS_APART,
                ~owned.exists(),
            )
            .order_by(RECEIPT_PARKED.c.created_at)
            .limit(1)
            .with_for_update()
        )

        async def work(connection: AsyncConnection) -> str | None:
            before = await connection.scalar(others)
            mine = query if before is None else query.where(RECEIPT_PARKED.c.created_at < before)
            found: str | None = await connection.scalar(mine)
            if found is not None:
                claimed = (
                    RECEIPT_PARKED.c.channel == delivery.channel,
                    RECEIPT_PARKED.c.provider_id == found,
                )
                # By its name: who dies before the number is saved finds it again.
                await connection.execute(update(RECEIPT_PARKED).where(*claimed).values(about=delivery.id))
            return found

        return await self._database.write(work)

    async def forget_parked(self, before: datetime) -> int:
        """See the port."""
        return await self._forget(RECEIPT_PARKED, RECEIPT_PARKED.c.created_at < before)

    async def forget_batches(self, before: datetime) -> int:
        """See the port."""
        done = PUBLISH_BATCH.c.published.is_(True) & PUBLISH_BATCH.c.indexed.is_(True)
        old = done & (PUBLISH_BATCH.c.created_at < before)
        return await self._forget(PUBLISH_BATCH, old)

    async def forget_idempotency(self, before: datetime) -> int:
        """See the port."""
        return await self._forget(IDEMPOTENCY, IDEMPOTENCY.c.created_at < before)

    async def expire_messages(self, before: datetime, *, app: AppId) -> int:
        """See the port. Ids sort by time: the old ones come first, and the first page with a newer one is the last."""
        removed, place = 0, ""
        while True:
            page = await self._database.rows(self._oldest, {"app": app, "place": place})
            old = [row for row in page if row.created_at < before]
            if old:
                removed += await self._expire(old)
            if len(page) < _CHUNK or len(old) < len(page):
                break
            place = page[-1].id
        if removed:
            await self._trim_queues(app)
        return removed

    async def _forget(self, table: Table, old: ColumnElement[bool]) -> int:
        """Remove the rows that match, some at a time."""
        keys = [table.c[part.name] for part in table.primary_key.columns]
        gone = 0
        while True:
            found = await self._database.rows(select(*keys).where(old).limit(_CHUNK))
            if not found:
                return gone
            some = delete(table).where(_is_one_of(keys, found), old)
            gone += await self._database.write(partial(_count, statement=some))

    async def _expire(self, page: Sequence[Any]) -> int:
        """Remove these messages with what refers to them. The newest of a conversation keeps its number, without its
        body: numbers must not begin again."""
        await self._drop_deliveries([row.id for row in page])

        async def work(connection: AsyncConnection) -> int:
            asked = sorted({row.conversation_id for row in page})
            heads = await connection.execute(self._heads, self._ids.of(asked))
            newest = {(row[0], row[1]) for row in heads}
            kept = [row for row in page if (row.conversation_id, row.seq) in newest]
            await self._empty(connection, [row.id for row in kept if row.kind != TOMBSTONE])
            gone = [row.id for row in page if (row.conversation_id, row.seq) not in newest]
            all_of_them = self._ids.of([row.id for row in page])
            await connection.execute(self._drop_notifications, all_of_them)
            await drop_hanging(connection, [(row.id, row.conversation_id, row.seq) for row in page])
            floors = _highest(page, set(gone))
            await self._raise_floors(connection, SeqKind.CONVERSATION, floors)
            for conversation, seq in floors.items():
                await drop_marks(connection, ConversationId(conversation), seq)
            removed = await _count(connection, self._drop_messages, self._ids.of(gone))
            return removed + len([row for row in kept if row.kind != TOMBSTONE])

        return await self._database.write(work)

    async def _raise_floors(
        self, connection: AsyncConnection, kind: SeqKind, floors: Mapping[str, int]
    ) -> None:
        """Note that numbers up to these are removed; a floor never sinks."""
        query = select(RETENTION_FLOOR.c.id, RETENTION_FLOOR.c.seq).where(
            RETENTION_FLOOR.c.kind == kind.value, RETENTION_FLOOR.c.id.in_(self._ids.select)
        )
        known = {row.id: row.seq for row in await connection.execute(query, self._ids.of(sorted(floors)))}
        rows = [(kind.value, id_, seq) for id_, seq in sorted(floors.items()) if seq > known.get(id_, 0)]
        await _floor_rows.run(connection, self._dialect, rows)

    async def _empty(self, connection: AsyncConnection, ids: Sequence[str]) -> None:
        nothing = {
            "kind": TOMBSTONE,
            "body": "null",
            "sender_id": SYSTEM,
            "sender": None,
            "client_msg_id": None,
            "mentions": None,
            "notification_id": None,
        }
        if ids:
            emptied = update(MESSAGE).where(MESSAGE.c.id.in_(self._ids.select)).values(nothing)
            await connection.execute(emptied, self._ids.of(ids))

    async def _drop_deliveries(self, messages: Sequence[str]) -> None:
        query = select(DELIVERY.c.id).where(DELIVERY.c.message_id.in_(self._ids.select)).limit(_CHUNK)
        while found := await self._database.rows(query, self._ids.of(messages)):
            some = self._ids.of([row.id for row in found])

            async def work(connection: AsyncConnection, some: Mapping[str, Any] = some) -> None:
                for column in (ATTEMPT.c.delivery_id, DELIVERY_EVENT.c.delivery_id, DELIVERY.c.id):
                    await connection.execute(delete(column.table).where(column.in_(self._ids.select)), some)

            await self._database.write(work)

    async def _trim_queues(self, app: AppId) -> None:
        """Remove the references before each queue's first living one; the newest stays, for its number."""
        last = -1
        mine = (USER.c.app_id == app, USER.c.id > bindparam("last"))
        query = select(USER.c.id).where(*mine).order_by(USER.c.id).limit(_USERS)
        while users := await self._database.rows(query, {"last": last}):
            last = users[-1].id
            floors = await self._floors([row.id for row in users])
            while floors:
                floors = await self._database.write(partial(self._trim, floors=floors))

    async def _floors(self, users: Sequence[int]) -> dict[int, int]:
        """The lowest number to keep of each queue that has something below it."""

        async def work(connection: AsyncConnection) -> dict[int, int]:
            listed = self._numbers.of(users)
            heads = {row[0]: row[1] for row in await connection.execute(self._user_heads, listed)}
            found = (await connection.execute(self._live, listed)).all()
            keep = {user: heads[user] if live is None else live for user, first, live in found}
            return {user: keep[user] for user, first, _ in found if first is not None and first < keep[user]}

        return await self._database.read(work)

    async def _trim(self, connection: AsyncConnection, floors: Mapping[int, int]) -> dict[int, int]:
        """Remove some below each floor; what is left to do."""
        left: dict[int, int] = {}
        removed = {str(user): floor - 1 for user, floor in floors.items()}
        await self._raise_floors(connection, SeqKind.USER, removed)
        for user, floor in floors.items():
            old = (QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.user_seq < floor)
            query = (
                select(QUEUE_ENTRY.c.user_seq).where(*old).order_by(QUEUE_ENTRY.c.user_seq).limit(_ENTRIES)
            )
            numbers = list(await connection.scalars(query))
            if numbers:
                await connection.execute(
                    delete(QUEUE_ENTRY).where(*old, QUEUE_ENTRY.c.user_seq <= numbers[-1])
                )
            if len(numbers) == _ENTRIES:
                left[user] = floor
        return left


def _first_live(numbers: Listing) -> Any:
    """(user, lowest number, lowest number whose message is still there) of these users."""
    listed = numbers.select.subquery("listed")
    own = by_number(select(QUEUE_ENTRY.c.user_seq)).where(QUEUE_ENTRY.c.user_id == listed.c.id)
    lowest = own.order_by(QUEUE_ENTRY.c.user_seq).limit(1)
    living = lowest.join(MESSAGE, MESSAGE.c.id == QUEUE_ENTRY.c.message_id)
    return select(listed.c.id, lowest.scalar_subquery(), living.scalar_subquery())


def _highest(page: Sequence[Any], gone: Collection[str]) -> dict[str, int]:
    """The highest number of each conversation among the rows that go."""
    found: dict[str, int] = {}
    for row in page:
        if row.id in gone:
            found[row.conversation_id] = max(row.seq, found.get(row.conversation_id, 0))
    return found


def _is_one_of(keys: Sequence[Column[Any]], found: Sequence[Any]) -> ColumnElement[bool]:
    if len(keys) == 1:
        return keys[0].in_([row[0] for row in found])
    return tuple_(*keys).in_([tuple(row) for row in found])


async def _count(connection: AsyncConnection, statement: Any, parameters: Any = None) -> int:
    return int((await connection.execute(statement, parameters)).rowcount)
