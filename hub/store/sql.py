"""The SQL store: the ports of the engine that a database answers, brought together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from hub.core.ports import Clock
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.sql_commit import SqlCommit
from hub.store.sql_cursors import SqlCursors
from hub.store.sql_deliveries import SqlDeliveries
from hub.store.sql_engine import Database, open_database
from hub.store.sql_gathering import SqlGathering
from hub.store.sql_housekeeping import SqlHousekeeping
from hub.store.sql_messages import SqlMessages
from hub.store.sql_prior import SqlPrior
from hub.store.sql_routing import SqlRouting
from hub.store.sql_scheduled import SqlScheduled
from hub.store.sql_written import SqlWritten


class SqlStore:
    """`MessageStore`, `DeliveryStore`, `RoutingStore` and `Housekeeping` over one database, which others may share."""

    def __init__(self, database: Database, settings: Settings, *, clock: Clock = utc_now) -> None:
        self.database = database
        prior = SqlPrior(database, idempotency_ttl=settings.idempotency_ttl)
        commit = SqlCommit(database, idempotency_ttl=settings.idempotency_ttl)
        messages = SqlMessages(database)
        cursors = SqlCursors(database)
        deliveries = SqlDeliveries(database, clock=clock)
        housekeeping = SqlHousekeeping(database)
        routing, gathering = SqlRouting(database, clock=clock), SqlGathering(database)
        scheduled = SqlScheduled(database)

        self.prior = prior.prior
        self.conversations = messages.conversations
        self.membership = messages.membership
        self.heads = messages.heads
        self.commit = commit.commit
        self.mark_published = commit.mark_published
        self.unpublished = messages.unpublished
        self.committed_since = messages.committed_since
        self.entries = messages.entries
        self.entries_of = messages.entries_of
        self.messages = messages.messages
        self.history = messages.history
        self.inbox_history = messages.inbox_history
        self.floor = messages.floor
        self.close_gaps = cursors.close_gaps
        self.move_cursors = cursors.move_cursors
        self.move_read = cursors.move_read
        self.acknowledged = cursors.acknowledged
        self.unseen_of = cursors.unseen_of

        self.deliveries = deliveries.deliveries
        self.due = deliveries.due
        self.open_of_users = deliveries.open_of_users
        self.save = deliveries.save
        self.note_attempts = deliveries.note_attempts
        self.by_provider_id = deliveries.by_provider_id
        self.notifications = deliveries.notifications
        self.recipients = deliveries.recipients

        self.settings_of = routing.settings_of
        self.facts = routing.facts
        self.superseded_by = routing.superseded_by
        self.of_notifications = routing.of_notifications
        self.in_scope = routing.in_scope
        self.dead = routing.dead
        self.take_caps = gathering.take_caps
        self.join_digest = gathering.join_digest
        self.digest_sizes = gathering.digest_sizes
        self.schedule = scheduled.schedule
        self.scheduled = scheduled.scheduled
        self.take_scheduled = scheduled.take_scheduled
        self.end_scheduled = scheduled.end_scheduled
        self._forgetful = (gathering.forget_gathered, scheduled.forget_scheduled)

        self.park_receipt = housekeeping.park_receipt
        self.parked = housekeeping.parked
        self.overtaken = housekeeping.overtaken
        self.unpark = housekeeping.unpark
        self.claim_stray = housekeeping.claim_stray
        self.forget_parked = housekeeping.forget_parked
        self.forget_batches = housekeeping.forget_batches
        self.forget_idempotency = housekeeping.forget_idempotency
        written = SqlWritten(database)
        self.erase_written = written.erase_written
        self.drop_queue = written.drop_queue
        self.expire_messages = housekeeping.expire_messages

    async def forget_routing(self, before: datetime) -> int:
        """See the port."""
        return sum([await forget(before) for forget in self._forgetful])


@asynccontextmanager
async def open_store(settings: Settings, *, clock: Clock = utc_now) -> AsyncIterator[SqlStore]:
    """The store of these settings. The database must have been migrated; it need not be up yet."""
    async with open_database(settings) as database:
        yield SqlStore(database, settings, clock=clock)
