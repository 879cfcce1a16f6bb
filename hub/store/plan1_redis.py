"""The way of plan 1 to Redis, where being away is being without a store; and the life of a server, under which numbers
are believed not to have gone back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.message import SeqKey, SeqKind
from hub.redis_link import RedisLink
from hub.redis_wire import Argument, Script
from hub.store import plan1_wire as wire
from hub.store.columns import from_micros
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database
from hub.store.sql_messages import SqlMessages
from hub.store.tables import metadata

CONVERSATION = metadata.tables["conversation"]
DEVICE = metadata.tables["device"]
MEMBER = metadata.tables["member"]
MESSAGE = metadata.tables["message"]
RETENTION_FLOOR = metadata.tables["retention_floor"]
USER = metadata.tables["user"]

JUMP = 1_000
"""Numbers left out where some may have been shown to devices and forgotten by Redis: more than one device has been sent
and has not acknowledged, and than a conversation grows in the second that Redis may lose."""
PLAN_KIND, PLAN_NAME = "p", "plan1"
"""The row of retention_floor that says that this database has been used with plan 1."""
_CLOCKS_APART = timedelta(seconds=30)
_KEYS = 500
_marked = select(RETENTION_FLOOR.c.seq).where(
    RETENTION_FLOOR.c.kind == PLAN_KIND, RETENTION_FLOOR.c.id == PLAN_NAME
)
_marker = Insertion(RETENTION_FLOOR, ("kind", "id", "seq"), Clash.IGNORE)


class Plan1Redis:
    """Scripts, and the clock of the server as far as answers have told of it."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self._ahead: float | None = None

    async def ask(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """One script. Raises Unavailable; then it may have been run or not."""
        try:
            return await self.link.ask(script, len(keys), *keys, *arguments)
        except QueueUnavailable as error:
            raise away() from error

    async def run(self, commands: Sequence[Sequence[Script | Argument]]) -> list[Any]:
        """Several in one round trip. Raises Unavailable."""
        try:
            return await self.link.run(commands)
        except QueueUnavailable as error:
            raise away() from error

    def told(self, milliseconds: int) -> None:
        """What the server's clock said a moment ago."""
        self._ahead = milliseconds - time.monotonic() * 1_000

    def until(self, patience: timedelta) -> int:
        """A moment by the server's clock, never later than meant; 0 where nothing is known of the clock yet."""
        if self._ahead is None:
            return 0
        return int(time.monotonic() * 1_000 + self._ahead + patience.total_seconds() * 1_000)


async def used_with_plan1(database: Database) -> bool:
    """Whether messages of this database are in Redis. Raises Unavailable."""
    return bool(await database.rows(_marked))


def away() -> Unavailable:
    """Redis is the store, and does not answer."""
    return Unavailable(
        "store_unavailable", "Redis, where messages are kept, did not do it. Try again shortly."
    )


class Life:
    """Numbers of queues and conversations: the highest in use, healed where Redis may have gone back."""

    def __init__(self, redis: Plan1Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self._sql = SqlMessages(database)
        self._users = Listing(database.dialect, id=int)
        self._rooms = Listing(database.dialect, id=str)
        self._life, self._heads, self._heal = map(wire.script, ("life", "heads", "heal"))

    async def begin(self) -> str:
        """The life of the server that is there now: its epoch, since when, whether nothing was ever kept."""
        virgin = await self._database.write(self._first_use)
        life = await self._redis.ask(self._life, [wire.LIFE], int(virgin))
        return str(life.decode())

    async def _first_use(self, connection: AsyncConnection) -> bool:
        """Whether this database was never used, with either plan; from now on it is."""
        if (await connection.execute(_marked)).first() is not None:
            return False
        await _marker.run(connection, self._database.dialect, [(PLAN_KIND, PLAN_NAME, 1)])
        kept = select(MESSAGE.c.id).limit(1)
        shown = select(DEVICE.c.id).where(DEVICE.c.cursor > 0).limit(1)
        return (await connection.execute(kept)).first() is None and (
            await connection.execute(shown)
        ).first() is None

    async def heads(self, keys: Sequence[SeqKey]) -> Mapping[SeqKey, int]:
        """The highest number of each. Numbers that may have been forgotten are jumped over first."""
        found: dict[SeqKey, int] = {}
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            names = [wire.LIFE, *map(wire.sequence, some)]
            heads = await self._redis.ask(self._heads, names)
            if not heads:
                await self.begin()
                heads = await self._redis.ask(self._heads, names)
            if not heads:
                raise away()
            found.update(zip(some, heads, strict=True))
        doubtful = [key for key, head in found.items() if head < 0]
        if doubtful:
            found.update(await self._healed(doubtful))
        return found

    async def _healed(self, keys: Sequence[SeqKey]) -> Mapping[SeqKey, int]:
        life = await self.begin()
        since = from_micros(int(life.split(":")[1]) * 1_000)
        least = await self._seen(keys, since)
        found: dict[SeqKey, int] = {}
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            arguments = [word for key in some for word in (least[key], key.kind.value)]
            heads = await self._redis.ask(self._heal, list(map(wire.sequence, some)), JUMP, *arguments)
            found.update(zip(some, heads, strict=True))
        return found

    async def _seen(self, keys: Sequence[SeqKey], since: datetime) -> Mapping[SeqKey, int]:
        """The least that each must be, by what SQL knows: cursors, read marks, what plan 2 has left. -1 for what was
        made after this life began, or is not there yet."""
        old = await self._sql.heads(keys)
        found = {key: old[key] or -1 for key in keys}

        async def work(connection: AsyncConnection) -> None:
            for kind, query, listing in (
                (SeqKind.USER, _of_users(self._users, since + _CLOCKS_APART), self._users),
                (SeqKind.CONVERSATION, _of_rooms(self._rooms, since + _CLOCKS_APART), self._rooms),
            ):
                ids = [int(k.id) if kind is SeqKind.USER else k.id for k in keys if k.kind is kind]
                for row in await connection.execute(query, listing.of(ids)) if ids else ():
                    key = SeqKey(kind, str(row[0]))
                    found[key] = max(*(number or 0 for number in row[1:]), old[key])

        await self._database.read(work)
        return found


def _of_users(listing: Listing, before: datetime) -> Any:
    return (
        select(USER.c.id, func.max(DEVICE.c.cursor))
        .join_from(USER, DEVICE, DEVICE.c.user_id == USER.c.id, isouter=True)
        .where(USER.c.id.in_(listing.select), USER.c.created_at < before)
        .group_by(USER.c.id)
    )


def _of_rooms(listing: Listing, before: datetime) -> Any:
    return (
        select(CONVERSATION.c.id, func.max(MEMBER.c.read_seq), func.max(MEMBER.c.joined_seq))
        .join_from(CONVERSATION, MEMBER, MEMBER.c.conversation_id == CONVERSATION.c.id, isouter=True)
        .where(CONVERSATION.c.id.in_(listing.select), CONVERSATION.c.created_at < before)
        .group_by(CONVERSATION.c.id)
    )
