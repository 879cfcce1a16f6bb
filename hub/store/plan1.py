"""Plan 1: messages in Redis, everything else in SQL. Answers to the same ports as the SQL store, which it extends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hub.core.message import Published
from hub.core.ports import Clock
from hub.redis_link import RedisLink
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.plan1_commit import Bounds, Plan1Commit
from hub.store.plan1_cursors import Plan1Cursors
from hub.store.plan1_elsewhere import Plan1Elsewhere
from hub.store.plan1_housekeeping import Plan1Housekeeping
from hub.store.plan1_lists import Plan1Lists
from hub.store.plan1_pending import Pending
from hub.store.plan1_reading import Plan1Prior, Plan1Reading
from hub.store.plan1_redis import Life, Plan1Redis
from hub.store.plan1_removing import Plan1Written
from hub.store.sql import SqlStore
from hub.store.sql_engine import Database

_LEFT_BEHIND = timedelta(seconds=5)
"""By then who committed a batch has written its part to SQL, or will not."""


class Plan1Store(SqlStore):
    """What it does not replace is SQL's."""

    def __init__(
        self, database: Database, settings: Settings, link: RedisLink, *, clock: Clock = utc_now
    ) -> None:
        super().__init__(database, settings, clock=clock)
        bounds = Bounds(settings.queue_capacity, settings.queue_overflow, settings.history_capacity)
        ttl = settings.idempotency_ttl
        redis = Plan1Redis(link)
        life = Life(redis, database)
        self.pending = Pending(redis, database)
        self.reading = Plan1Reading(redis, life)
        prior = Plan1Prior(redis, database, self.reading, self.pending, idempotency_ttl=ttl)
        commit = Plan1Commit(
            redis, database, life, self.pending, self.reading, bounds=bounds, idempotency_ttl=ttl
        )
        cursors = Plan1Cursors(redis, database, life, bounds=bounds)
        housekeeping = Plan1Housekeeping(redis, database, self.reading)

        self.elsewhere = Plan1Elsewhere(redis, self.reading, Plan1Lists(redis, database))
        self.prior = prior.prior
        self.heads = self.reading.heads
        self.commit = commit.commit
        self.mark_published = commit.mark_published
        self.unpublished = self._unpublished
        self.committed_since = self.reading.committed_since
        self.entries = self.reading.entries
        self.entries_of = self.reading.entries_of
        self.messages = self.reading.messages
        self.history = self.reading.history
        self.inbox_history = self.reading.inbox_history
        self.floor = self.reading.floor
        self.close_gaps = cursors.close_gaps
        self.move_read = cursors.move_read
        self._forget_markers = self.forget_batches
        self.forget_batches = self._forget_batches
        self._forget_remembered = housekeeping.forget_batches
        self._forget_gone = housekeeping.forget_gone
        self.expire_messages = housekeeping.expire_messages
        written = Plan1Written(redis, database)
        self.erase_written = written.erase_written
        self.drop_queue = written.drop_queue

    async def _unpublished(
        self, *, before: datetime, limit: int
    ) -> Sequence[tuple[str, Sequence[Published]]]:
        """See the port. Who looks for what somebody left behind completes first what they began."""
        await self.pending.complete(older_than=_LEFT_BEHIND)
        return await self.reading.unpublished(before=before, limit=limit)

    async def _forget_batches(self, before: datetime) -> int:
        """See the port. What somebody left behind is completed first: once its marker is forgotten nobody could tell
        that SQL has it."""
        await self.pending.complete(older_than=_LEFT_BEHIND)
        gone = await self._forget_remembered(before)
        await self._forget_markers(before)
        await self._forget_gone()
        return gone
