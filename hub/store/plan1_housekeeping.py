"""Plan 1, kept small: old messages out of histories and queues, published batches forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import SYSTEM, TOMBSTONE, AppId, ConversationId, Message, MessageId, UserKey
from hub.store import plan1_wire as wire
from hub.store.columns import to_micros
from hub.store.hanging import drop_hanging, drop_marks
from hub.store.plan1_reading import Plan1Reading
from hub.store.plan1_redis import Plan1Redis
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata

ATTEMPT = metadata.tables["attempt"]
CONVERSATION = metadata.tables["conversation"]
DELIVERY = metadata.tables["delivery"]
DELIVERY_EVENT = metadata.tables["delivery_event"]
NOTIFICATION = metadata.tables["notification"]
USER = metadata.tables["user"]

_CHUNK = 200
_PAGE = 200


class Plan1Housekeeping:
    """`Housekeeping`, as far as messages are concerned. May be stopped and repeated at any time."""

    def __init__(self, redis: Plan1Redis, database: Database, reading: Plan1Reading) -> None:
        self._redis = redis
        self._reading = reading
        self._database = database
        self._ids = Listing(database.dialect, id=str)
        self._forget, self._old, self._expire, self._trim = map(
            wire.script, ("forget", "old", "expire", "trim")
        )

    async def forget_batches(self, before: datetime) -> int:
        """See the port."""
        gone = at = 0
        while True:
            looked, went = await self._redis.ask(self._forget, [wire.BATCHES], to_micros(before), _CHUNK, at)
            gone += went
            at += looked - went
            if looked < _CHUNK:
                return int(gone)

    async def forget_gone(self) -> int:
        """Remove from SQL what hung on bodies that went because nobody referred to them any more. Returns how many."""
        removed = 0
        while True:
            (told,) = await self._redis.run([("SRANDMEMBER", wire.gone(), _CHUNK)])
            if not told:
                return removed
            found = [word.decode().split(" ", 2) for word in told]
            messages = [(MessageId(id_), ConversationId(room), int(seq)) for id_, seq, room in found]

            async def work(
                connection: AsyncConnection,
                messages: Sequence[tuple[MessageId, ConversationId, int]] = messages,
            ) -> None:
                await drop_hanging(connection, messages)

            await self._database.write(work)
            await self._redis.run([("SREM", wire.gone(), *told)])
            removed += len(told)

    async def expire_messages(self, before: datetime, *, app: AppId) -> int:
        """See the port. One conversation after the other, and then the references that have nothing to refer to."""
        removed = 0
        async for conversation in self._each(CONVERSATION, app):
            removed += await self._expire_room(ConversationId(conversation), before)
        async for user in self._each(USER, app):
            removed += await self._trim_queue(UserKey(user), before)
        await self._drop_notifications(before, app)
        return removed

    async def _drop_notifications(self, before: datetime, app: AppId) -> None:
        """Those whose messages went before their time, because queues are bounded: they stayed for the audit."""
        last = ""
        old = (NOTIFICATION.c.app_id == app, NOTIFICATION.c.created_at < before)
        while True:
            query = select(NOTIFICATION.c.id, NOTIFICATION.c.message_id).where(*old, NOTIFICATION.c.id > last)
            rows = await self._database.rows(query.order_by(NOTIFICATION.c.id).limit(_CHUNK))
            if not rows:
                return
            last = rows[-1].id
            alive = await self._reading.messages({MessageId(row.message_id) for row in rows})
            await self._drop_followers([r.message_id for r in rows if r.message_id not in alive])

    async def _each(self, table: Any, app: AppId) -> Any:
        last = None
        while True:
            query = select(table.c.id).where(table.c.app_id == app).order_by(table.c.id).limit(_PAGE)
            page = await self._database.rows(query if last is None else query.where(table.c.id > last))
            for row in page:
                yield row.id
            if len(page) < _PAGE:
                return
            last = page[-1].id

    async def _expire_room(self, conversation: ConversationId, before: datetime) -> int:
        room = wire.room(conversation)
        removed = 0
        while True:
            flat = await self._redis.ask(self._old, [room], to_micros(before), _CHUNK)
            ids = [id_.decode() for id_ in flat[::2]]
            bodies = {message.id: message for message in wire.messages_of(flat)}
            newest = bodies.get(MessageId(ids[-1])) if ids and len(ids) < _CHUNK else None
            stays = newest if newest is not None and await self._is_newest(room, newest) else None
            going = ids if stays is None else ids[:-1]
            fresh = stays is not None and stays.kind != TOMBSTONE
            if not going and not fresh:
                return removed
            await self._drop_rows([bodies[MessageId(id_)] for id_ in ids if MessageId(id_) in bodies])
            closed = _emptied(stays) if stays is not None and fresh else None
            words = ("", "", "") if closed is None else (closed.id, wire.member(closed), wire.record(closed))
            removed += int(await self._redis.ask(self._expire, [room], *words, *going))
            removed += int(fresh)
            if len(ids) < _CHUNK:
                return removed

    async def _is_newest(self, room: str, message: Message) -> bool:
        (top,) = await self._redis.run([("ZRANGE", room, -1, -1)])
        return bool(top) and top[0].startswith(f"{message.id}:".encode())

    async def _trim_queue(self, user: UserKey, before: datetime) -> int:
        removed = 0
        while True:
            gone, dropped = await self._redis.ask(self._trim, [wire.queue(user)], to_micros(before), _CHUNK)
            if dropped:
                removed += len(dropped) // 2
                await self._drop_rows(wire.messages_of(dropped))
            if gone < _CHUNK:
                return removed

    async def _drop_rows(self, messages: Sequence[Message]) -> None:
        """All that hangs on these in SQL, before they go themselves: who is stopped between begins again."""
        if not messages:
            return
        await self._drop_followers([message.id for message in messages])

        async def hanging(connection: AsyncConnection) -> None:
            await drop_hanging(connection, [(m.id, m.conversation, m.seq) for m in messages])
            highest: dict[ConversationId, int] = {}
            for message in messages:
                highest[message.conversation] = max(message.seq, highest.get(message.conversation, 0))
            for conversation, seq in highest.items():
                await drop_marks(connection, conversation, seq)

        await self._database.write(hanging)

    async def _drop_followers(self, messages: Sequence[MessageId]) -> None:
        """The notifications of these, and their deliveries."""
        if not messages:
            return
        about = self._ids.of(list(messages))
        query = select(DELIVERY.c.id).where(DELIVERY.c.message_id.in_(self._ids.select)).limit(_CHUNK)
        while found := await self._database.rows(query, about):
            some = self._ids.of([row.id for row in found])

            async def work(connection: AsyncConnection, some: Mapping[str, Any] = some) -> None:
                for column in (ATTEMPT.c.delivery_id, DELIVERY_EVENT.c.delivery_id, DELIVERY.c.id):
                    await connection.execute(delete(column.table).where(column.in_(self._ids.select)), some)

            await self._database.write(work)
        gone = delete(NOTIFICATION).where(NOTIFICATION.c.message_id.in_(self._ids.select))

        async def told(connection: AsyncConnection) -> None:
            await connection.execute(gone, about)

        await self._database.write(told)


def _emptied(message: Message) -> Message:
    """What keeps the number of a message that is gone."""
    return replace(
        message,
        sender=SYSTEM,
        sender_id=None,
        kind=TOMBSTONE,
        body="null",
        client_msg_id=None,
        mentions=(),
        notification=None,
        reply_to=None,
        forward_of=None,
        edited_at=None,
    )
