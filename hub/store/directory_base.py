"""What the directory's parts share: tables, transactions, keyset places and inserts that may find their row."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from sqlalchemy import Insert, Row, Select, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Refused
from hub.core.ports import Clock, NewId
from hub.core.records import PageRequest, Slice
from hub.store.directory_cache import Caches
from hub.store.elsewhere import MessagesElsewhere
from hub.store.secrets import SecretBox
from hub.store.sql_engine import Database
from hub.store.tables import metadata

T = TypeVar("T")
R = TypeVar("R")

APP: Table = metadata.tables["app"]
API_KEY: Table = metadata.tables["api_key"]
SIGNING_KEY: Table = metadata.tables["signing_key"]
USER: Table = metadata.tables["user"]
DEVICE: Table = metadata.tables["device"]
CONVERSATION: Table = metadata.tables["conversation"]
MEMBER: Table = metadata.tables["member"]
MESSAGE: Table = metadata.tables["message"]
QUEUE_ENTRY: Table = metadata.tables["queue_entry"]
NOTIFICATION: Table = metadata.tables["notification"]
DELIVERY: Table = metadata.tables["delivery"]
DELIVERY_EVENT: Table = metadata.tables["delivery_event"]
ATTEMPT: Table = metadata.tables["attempt"]
IDEMPOTENCY: Table = metadata.tables["idempotency"]
POLICY: Table = metadata.tables["policy"]
AUDIT: Table = metadata.tables["audit"]

BigInt = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a place may carry as a number: what a database takes."""
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
"""The same for a column of 32 bits."""
Micros = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
"""A moment, up to the year 9999."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What every part of the directory stands on."""

    database: Database
    caches: Caches
    secrets: SecretBox
    clock: Clock
    new_id: NewId
    fanout_limit: int
    group_limit: int = 200_000
    elsewhere: MessagesElsewhere | None = None
    """Asked for messages and references where they are not in the database."""


def insert_ignore(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """An insert that leaves rows alone whose key is there already."""
    match connection.dialect.name:
        case "sqlite":
            return sqlite.insert(table).values(rows).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).values(rows).on_conflict_do_nothing()
        case _:
            first = next(iter(table.primary_key.columns))
            # Not INSERT IGNORE, which would hide a broken foreign key too.
            return mysql.insert(table).values(rows).on_duplicate_key_update({first.name: first})


def place(*values: str | int) -> str:
    """An opaque place in a list, made from the sort key of the last row shown."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode("ascii")


def values_of(text: str, shape: type[T]) -> T:
    """The sort key of a place. Raises Refused cursor_invalid for what no list has handed out."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        # A database does not take a NUL, and no place holds one.
        values = None if rb"\u0000" in raw else msgspec.json.decode(raw, type=shape)
    except (binascii.Error, ValueError):
        values = None
    if values is None:
        raise Refused("cursor_invalid", "`after` must be a `next` of an earlier page of the same list.")
    return values


async def slice_of(
    database: Database,
    query: Select[Any],
    page: PageRequest,
    *,
    read: Callable[[Row[Any]], R],
    mark: Callable[[Row[Any]], str],
    parameters: Mapping[str, object] | None = None,
) -> Slice[R]:
    """One page of `query`, which is ordered and starts after the page's place; one row more tells of a next."""
    rows = await database.rows(query.limit(page.limit + 1), parameters)
    shown = rows[: page.limit]
    following = mark(shown[-1]) if len(rows) > page.limit else None
    return Slice([read(row) for row in shown], following)


def dumps(value: object) -> str:
    """JSON text for a column."""
    return msgspec.json.encode(value).decode()
