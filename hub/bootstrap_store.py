"""Which store the settings ask for: messages in SQL (plan 2), or in Redis with everything else in SQL (plan 1)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hub.core.errors import QueueUnavailable, Unavailable
from hub.redis_link import RedisLink
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.plan1 import Plan1Store
from hub.store.plan1_redis import used_with_plan1
from hub.store.sql import SqlStore
from hub.store.sql_engine import open_database

log = logging.getLogger("hub.bootstrap")


class StoreRefused(ValueError):
    """The store cannot be used like this; the message says why and what to do."""


def rooms_on(store: SqlStore, settings: Settings) -> DirectoryRooms:
    """The directory over this store: it asks Redis where messages are there. Raises ValueError for a bad secret."""
    elsewhere = store.elsewhere if isinstance(store, Plan1Store) else None
    return directory_rooms(store.database, settings, clock=utc_now, new_id=new_id, elsewhere=elsewhere)


@asynccontextmanager
async def open_chosen_store(settings: Settings, link: RedisLink) -> AsyncIterator[SqlStore]:
    """The store of these settings. Raises StoreRefused where it would lose or hide messages; a database or Redis that
    is away is not asked, since it need not be up yet."""
    async with open_database(settings) as database:
        if settings.store == "redis":
            await _fit_for_messages(link)
            yield Plan1Store(database, settings, link)
            return
        try:
            used = await used_with_plan1(database)
        except Unavailable:
            used = False
        if used:
            text = (
                "HUB_STORE=sql: this database has been used with HUB_STORE=redis, and its messages are in Redis. "
                "Set HUB_STORE=redis, or begin with an empty database."
            )
            raise StoreRefused(text)
        yield SqlStore(database, settings)


async def _fit_for_messages(link: RedisLink) -> None:
    """One server that keeps what it is given."""
    refusal = (
        "HUB_STORE=redis: messages are committed by one script, which a Redis Cluster cannot run over several "
        "partitions. Use a standalone Redis or Sentinel, or HUB_STORE=sql."
    )
    if link.clustered:
        raise StoreRefused(refusal)
    try:
        cluster, memory, persistence = await link.run(
            [("INFO", "cluster"), ("INFO", "memory"), ("INFO", "persistence")]
        )
    except QueueUnavailable:
        log.warning("plan1_redis_not_asked")
        return
    if _field(cluster, b"cluster_enabled") == b"1":
        raise StoreRefused(refusal)
    if _field(memory, b"maxmemory_policy") not in (b"noeviction", b""):
        text = (
            "HUB_STORE=redis: Redis may throw keys away when its memory is full (maxmemory-policy "
            f"{_field(memory, b'maxmemory_policy').decode()}). Set maxmemory-policy noeviction."
        )
        raise StoreRefused(text)
    if _field(persistence, b"aof_enabled") == b"0":
        log.warning("plan1_without_append_only_file", extra={"loses": "everything since the last snapshot"})


def _field(info: bytes, name: bytes) -> bytes:
    lines = dict(line.partition(b":")[::2] for line in info.splitlines())
    return lines.get(name, b"").strip()
