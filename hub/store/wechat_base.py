"""What the four books of accounts at providers share: tables, what they remember, and writes that may meet a rival."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Column, ColumnElement, Table, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import NotFound, Unavailable
from hub.core.ports import Clock, NewId
from hub.store.directory_cache import AccountCaches
from hub.store.secrets import SecretBox
from hub.store.sql_engine import Database
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata
from hub.store.tables_wechat import WeChatAccount

T = TypeVar("T")

ACCOUNT: Table = metadata.tables[WeChatAccount.__tablename__]
BINDING: Table = metadata.tables["wechat_binding"]
TICKET: Table = metadata.tables["wechat_ticket"]
TEMPLATE: Table = metadata.tables["wechat_template"]
GRANT: Table = metadata.tables["wechat_grant"]
HOLD: Table = metadata.tables["wechat_grant_hold"]
ONCE: Table = metadata.tables["wechat_grant_once"]

_TRIES = 4
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Ground:
    """What each book stands on."""

    database: Database
    secrets: SecretBox
    clock: Clock
    new_id: NewId
    caches: AccountCaches


async def settled(database: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """`work` in a transaction, and again where a rival has just written the same key: it will be found then."""
    for _ in range(_TRIES):
        try:
            return await database.write(work)
        except DBAPIError as error:
            if fault(error) is not Fault.TAKEN:
                raise
    raise Unavailable("contention", "Somebody is changing the same thing. Try again shortly.")


async def delete_slowly(
    database: Database, table: Table, key: Column[str], which: Sequence[ColumnElement[bool]]
) -> int:
    """Remove these rows some at a time, so that nobody waits long for their locks; how many there were. `key` tells
    rows apart among `which`."""
    count = 0
    while True:

        async def work(connection: AsyncConnection) -> int:
            some = (await connection.execute(select(key).where(*which).limit(_CHUNK))).scalars().all()
            if some:
                await connection.execute(delete(table).where(*which, key.in_(some)))
            return len(some)

        removed = await database.write(work)
        count += removed
        if removed < _CHUNK:
            return count


def no_account() -> NotFound:
    """There is no such account, or it is another app's."""
    return NotFound("account_not_found", "There is no such account.")
