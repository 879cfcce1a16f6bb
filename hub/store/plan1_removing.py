"""Plan 1, when a user is removed: what they wrote is erased where it stands, what they were sent is let go."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import RECALLED, SYSTEM, TOMBSTONE, AppId, ConversationId, Message, UserKey
from hub.core.removal import DELETED
from hub.redis_wire import Argument
from hub.store import plan1_wire as wire
from hub.store.hanging import drop_hanging
from hub.store.plan1_redis import Plan1Redis
from hub.store.sql_engine import Database
from hub.store.tables import metadata

CONVERSATION = metadata.tables["conversation"]
_ROOMS = 200


class Plan1Written:
    """`WrittenStore`. Redis has no index by sender: each call looks through the app's conversations for some more."""

    def __init__(self, redis: Plan1Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self._written, self._replace, self._drop, self._bodies, self._restate = map(
            wire.script, ("written", "replace", "drop", "bodies", "restate")
        )

    async def erase_written(self, app: AppId, user: UserKey, *, limit: int) -> int:
        """Erase some of what a user wrote, as a recall would, and who wrote it; how much."""
        erased, last = 0, ""
        while erased < limit:
            query = select(CONVERSATION.c.id).where(CONVERSATION.c.app_id == app, CONVERSATION.c.id > last)
            rows = await self._database.rows(query.order_by(CONVERSATION.c.id).limit(_ROOMS))
            for row in rows:
                erased += await self._erase_in(ConversationId(row.id), user, limit - erased)
                if erased >= limit:
                    break
            if len(rows) < _ROOMS:
                break
            last = rows[-1].id
        return erased or await self._erase_strays(user, limit)

    async def _erase_in(self, conversation: ConversationId, user: UserKey, limit: int) -> int:
        room = wire.room(conversation)
        flat = await self._redis.ask(self._written, [room], user, limit)
        if not flat:
            return 0
        words: list[Argument] = []
        messages: list[Message] = []
        for number, member, id_, body in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True):
            message = wire.message_of(id_, body)
            nothing = _erased(message)
            messages.append(message)
            words += [number, member, wire.member(nothing), id_, body, wire.record(nothing)]

        async def work(connection: AsyncConnection) -> None:
            await drop_hanging(connection, [(m.id, m.conversation, m.seq) for m in messages])

        await self._database.write(work)
        # What has changed meanwhile is found again by the next call: it must not look like the end.
        return max(1, int(await self._redis.ask(self._replace, [room], *words)))

    async def _erase_strays(self, user: UserKey, limit: int) -> int:
        """What has fallen out of its conversation, and is still in the queue of somebody who left it, say."""
        (ids,) = await self._redis.run([("SRANDMEMBER", wire.strays(user), limit)])
        if not ids:
            return 0
        bodies = await self._redis.ask(self._bodies, [], *ids)
        words: list[Argument] = [wire.strays(user)]
        messages: list[Message] = []
        for id_, body in zip(ids, bodies, strict=True):
            if body:
                messages.append(wire.message_of(id_, body))
                words += [id_, body, wire.record(_erased(messages[-1]))]

        async def work(connection: AsyncConnection) -> None:
            await drop_hanging(connection, [(m.id, m.conversation, m.seq) for m in messages])

        await self._database.write(work)
        await self._redis.ask(self._restate, [], *words)
        gone = [id_ for id_, body in zip(ids, bodies, strict=True) if not body]
        if gone:
            await self._redis.run([("SREM", wire.strays(user), *gone)])
        return len(ids)

    async def drop_queue(self, user: UserKey, *, limit: int) -> int:
        """Remove some of a user's references; how many."""
        return int(await self._redis.ask(self._drop, [wire.queue(user)], limit))


def _erased(message: Message) -> Message:
    """A control message still says which message it changed; nothing of what was said stays."""
    kept = message.control or message.kind == TOMBSTONE
    told = msgspec.json.encode({"message": message.reply_to or ""}).decode() if message.control else "{}"
    return replace(
        message,
        kind=message.kind if kept else RECALLED,
        body=told,
        sender=SYSTEM,
        sender_id=DELETED,
        client_msg_id=None,
        mentions=(),
        forward_of=None,
    )
