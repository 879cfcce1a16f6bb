"""The engine: the verbs of the hub over its ports. What each verb promises is said at its port and its part."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.core.body_cache import BodyCache, changed_bodies
from hub.core.channel import Registry
from hub.core.chat import Chat
from hub.core.chat_ports import ChatStore
from hub.core.chat_rules import ChatLimits
from hub.core.contact_ports import ClearedMarks
from hub.core.control import CancelReport, EventScope, RecallReport, ReplayFilter, ScheduledRow
from hub.core.cursors import Cursors
from hub.core.dispatch import Dispatcher, DispatchLimits
from hub.core.errors import HubError
from hub.core.gap_scan import GapScan
from hub.core.groups import GroupStore
from hub.core.identity import EndUser
from hub.core.ingest import Ingest, IngestLimits
from hub.core.marks import Marks
from hub.core.media import Attachments
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    HistoryPage,
    MessageId,
    NotificationId,
    Page,
    UserKey,
)
from hub.core.notices import Notices
from hub.core.numbering import Numbering
from hub.core.outcome import Reason
from hub.core.ports import (
    Batch,
    Broker,
    Clock,
    DeliveryStore,
    Executor,
    Housekeeping,
    MessageStore,
    NewId,
    Sequencer,
    Tail,
)
from hub.core.publisher import Publisher
from hub.core.reading import Reader
from hub.core.recall import Recall
from hub.core.roster import Roster
from hub.core.routing_ports import RoutingStore
from hub.core.scheduling import Appointments
from hub.core.sequence import GapWatch, gap_portions

log = logging.getLogger("hub.engine")

_CURSORS_EVERY = timedelta(milliseconds=100)
_CHORES_EVERY = 0.5
_SCAN_WINDOW = timedelta(seconds=60)
_MOST_STARTS = 1_000
"""Batches whose deliveries are being started: a broker that takes seconds to refuse must not fill the memory."""
_GAP_NUMBERS = 1_000
"""Numbers closed by one transaction: bounds how long it keeps others waiting."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The bounds and times of the engine, from the settings."""

    ingest: IngestLimits
    dispatch: DispatchLimits
    gap_grace: timedelta
    tail_size: int
    republish_after: timedelta
    republish_margin: timedelta
    chat: ChatLimits = field(default_factory=ChatLimits)


@dataclass(frozen=True, slots=True)
class Ports:
    """What the engine runs on."""

    messages: MessageStore
    chat: ChatStore
    deliveries: DeliveryStore
    routing: RoutingStore
    parking: Housekeeping
    sequencer: Sequencer
    tail: Tail
    broker: Broker
    executor: Executor
    channels: Registry
    clock: Clock
    new_id: NewId
    jitter: Callable[[], float] = random.random
    cleared: ClearedMarks | None = None
    """Without it a sync shows what its user has cleared."""
    attachments: Attachments | None = None
    """Without it nobody looks at the files that messages show."""
    groups: GroupStore | None = None
    """Without it nobody joins a thread by speaking, and no notice of a change of a group is sent."""


class Engine:
    """Open with `open_engine`. One a process; every verb may be called from any task of its loop."""

    def __init__(self, ports: Ports, limits: EngineLimits) -> None:
        self.clock = ports.clock
        self.new_id = ports.new_id
        self.channels = ports.channels
        self._ports = ports
        self._limits = limits
        self._background: set[asyncio.Task[None]] = set()
        self.starts_left = 0
        """Batches whose deliveries were left to the sweep, because too many were being started."""
        marks = Marks()
        self._bodies = BodyCache()
        self._gaps = GapWatch(grace=limits.gap_grace)
        self.roster = Roster(ports.messages, groups=ports.groups)
        self.numbering = Numbering(ports.sequencer, ports.messages)
        self.publisher = Publisher(
            store=ports.messages, tail=ports.tail, broker=ports.broker, clock=ports.clock, marks=marks
        )
        self.reader = Reader(
            store=ports.messages,
            tail=ports.tail,
            bodies=self._bodies,
            gaps=self._gaps,
            tail_size=limits.tail_size,
            clock=ports.clock,
            groups=ports.groups,
            cleared=ports.cleared,
            chat=ports.chat,
        )
        self.gap_scan = GapScan(
            store=ports.messages,
            grace=limits.gap_grace,
            window=_SCAN_WINDOW,
            clock=ports.clock,
            new_id=ports.new_id,
        )
        self.dispatcher = Dispatcher(
            routing=ports.routing,
            store=ports.deliveries,
            messages=ports.messages,
            parking=ports.parking,
            channels=ports.channels,
            executor=ports.executor,
            limits=limits.dispatch,
            clock=ports.clock,
            new_id=ports.new_id,
            jitter=ports.jitter,
        )
        self.cursors = Cursors(
            store=ports.messages,
            broker=ports.broker,
            every=_CURSORS_EVERY,
            on_acked=self.dispatcher.acked,
            on_read=self.dispatcher.read,
        )
        self.ingest = Ingest(
            store=ports.messages,
            numbering=self.numbering,
            roster=self.roster,
            channels=ports.channels,
            limits=limits.ingest,
            clock=ports.clock,
            new_id=ports.new_id,
            on_commit=self._committed,
            marks=marks,
        )
        self.notices = Notices(
            store=ports.groups, submit=self.ingest.submit, clock=ports.clock, new_id=ports.new_id
        )
        self.appointments = Appointments(
            store=ports.routing,
            messages=ports.messages,
            submit_many=self.ingest.submit_many,
            clock=ports.clock,
        )
        self.chat = Chat(
            messages=ports.messages,
            chat=ports.chat,
            submit=self.submit,
            limits=limits.chat,
            clock=ports.clock,
            new_id=ports.new_id,
        )
        self._recall = Recall(
            deliveries=ports.deliveries,
            messages=ports.messages,
            dispatcher=self.dispatcher,
            appointments=self.appointments,
            channels=ports.channels,
            submit=self.ingest.submit,
            clock=ports.clock,
            new_id=ports.new_id,
        )

    async def submit(self, draft: Draft) -> Accepted:
        """Accept a message: the answer comes after its commit. Raises Refused or Unavailable."""
        if self._ports.attachments is not None:
            (wrong,) = await self._ports.attachments.attach([draft])
            if wrong is not None:
                raise wrong
        return await self.ingest.submit(draft)

    async def submit_many(self, drafts: Sequence[Draft]) -> list[Accepted | HubError]:
        """The same for many; answers in order, errors as values."""
        if self._ports.attachments is None:
            return await self.ingest.submit_many(drafts)
        wrong = await self._ports.attachments.attach(drafts)
        fine = [draft for draft, error in zip(drafts, wrong, strict=True) if error is None]
        answers = iter(await self.ingest.submit_many(fine))
        return [next(answers) if error is None else error for error in wrong]

    async def schedule(self, draft: Draft, at: datetime) -> Accepted:
        """Accept a notification that is sent at a time: seq 0, until then. Raises Refused or Unavailable."""
        return await self.appointments.schedule(draft, at)

    async def scheduled(self, app: AppId, notification: NotificationId) -> ScheduledRow | None:
        """A notification that was accepted by `schedule`, whatever became of it."""
        return await self._ports.routing.scheduled(app, notification)

    async def cancel(
        self, app: AppId, notification: NotificationId, *, reason: Reason = Reason.CANCELED
    ) -> CancelReport:
        """Send nothing more for it. Raises NotFound or Unavailable."""
        return await self._recall.cancel(app, notification, reason)

    async def recall(self, app: AppId, notification: NotificationId) -> RecallReport:
        """Take it back where that can be done, and tell where not. Raises NotFound or Unavailable."""
        return await self._recall.recall(app, notification)

    async def event(self, app: AppId, scope: EventScope, name: str) -> int:
        """A business event: cancels what is planned under `stop_on: event:NAME`. Returns how many deliveries."""
        return await self.dispatcher.event(app, scope, name)

    async def acted(self, app: AppId, notification: NotificationId, user: UserKey | None = None) -> int:
        """Somebody acted on it: this user, or (None) everybody, need not be told any more."""
        return await self.dispatcher.acted(app, notification, user)

    async def replay(self, app: AppId, wanted: ReplayFilter) -> int:
        """Try dead letters again. Returns how many."""
        return await self.dispatcher.replay(app, wanted)

    async def sync(self, user: UserKey, *, after: int, limit: int) -> Page:
        """A contiguous page of a user's queue."""
        return await self.reader.sync(user, after=after, limit=limit)

    async def head(self, user: UserKey) -> int:
        """The newest committed number of a user's queue."""
        return await self.reader.head(user)

    async def heads(self, users: Sequence[UserKey]) -> list[int]:
        """The same for many users, in order."""
        return await self.reader.heads(users)

    async def history(
        self,
        conversation: ConversationId,
        *,
        reader: UserKey | None,
        after: int | None,
        before: int | None,
        limit: int,
    ) -> HistoryPage:
        """Messages of a conversation; `reader` None is the business system. Raises NotFound."""
        return await self.reader.history(conversation, reader=reader, after=after, before=before, limit=limit)

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        """A device has everything up to `seq`."""
        self.cursors.ack(device, user, seq)

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        """A user has read a conversation up to `seq`."""
        await self.cursors.read(reader, conversation, seq)

    async def republish_unpublished(self) -> int:
        """Publish what has been committed for a while and not been marked. Returns how many batches."""
        return await self.publisher.republish(before=self.clock() - self._limits.republish_after)

    async def send_notices(self) -> int:
        """Submit the notices of changes that were written down a while ago and not been sent. Returns of how many
        conversations."""
        return await self.notices.sweep(before=self.clock() - self._limits.republish_after)

    async def republish_recent(self) -> int:
        """After a restart or failover of Redis: publish what it may have lost. Returns how many batches."""
        return await self.publisher.republish_since(self._limits.republish_margin)

    async def close_gaps(self) -> int:
        """Close the gaps that readers have met and that stayed open. Returns how many."""
        ripe = self._gaps.ripe(monotonic=time.monotonic())
        for gaps in gap_portions(ripe, numbers=_GAP_NUMBERS):
            await self._ports.messages.close_gaps(gaps, new_id=self.new_id, now=self.clock())
            for key, first, last in gaps:
                log.warning("gap_closed", extra={"kind": key.kind, "first": first, "last": last})
        return len(ripe)

    def _committed(self, batch: Batch) -> None:
        self._bodies.put([item.message for item in batch.published])
        self.forget(changed_bodies(batch.published))
        self.publisher.enqueue(batch)
        if batch.deliveries or any(_collapses(draft) for draft in batch.drafts):
            if len(self._background) >= _MOST_STARTS:
                self.starts_left += 1
                return
            task = asyncio.create_task(self._start(batch), name="start-deliveries")
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _start(self, batch: Batch) -> None:
        """Lost with this process, a delivery is found again by the sweep when its lease or due time ends."""
        try:
            newer = [d.notification.id for d in batch.drafts if d.notification is not None and _collapses(d)]
            if newer:
                await self.dispatcher.supersede(newer)
            await self.dispatcher.start(batch.deliveries)
        except HubError as error:
            log.warning("deliveries_left_to_sweep", extra={"code": error.code})
        except Exception:
            log.exception("start_deliveries_failed")

    def forget(self, messages: Collection[MessageId]) -> None:
        """The bodies of these have changed: what this process remembers of them is not true any more."""
        if messages:
            self._bodies.forget(messages)

    async def chores(self) -> None:
        """What every process does for itself: mark what it published, close the gaps that its readers met, and
        publish what somebody committed and did not live to publish. Never returns."""
        republish_at = 0.0
        while True:
            await asyncio.sleep(_CHORES_EVERY)
            try:
                await self.publisher.flush_marks()
                await self.close_gaps()
                if time.monotonic() >= republish_at:
                    republish_at = time.monotonic() + self._limits.republish_after.total_seconds()
                    await self.republish_unpublished()
                    await self.send_notices()
            except HubError as error:
                log.info("chores_postponed", extra={"code": error.code})
            except Exception:
                log.exception("chores_failed")

    async def drain(self) -> None:
        """Wait (briefly) for deliveries that were just started."""
        if self._background:
            await asyncio.wait(self._background, timeout=5)


def _collapses(draft: Draft) -> bool:
    return draft.notification is not None and draft.notification.collapse_key is not None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def open_engine(ports: Ports, limits: EngineLimits) -> AsyncIterator[Engine]:
    """An engine with its tasks running; on leaving, what waits is committed, published and written."""
    engine = Engine(ports, limits)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(engine.publisher)
        await stack.enter_async_context(engine.cursors)
        stack.push_async_callback(engine.reader.aclose)
        chores = asyncio.create_task(engine.chores(), name="engine-chores")
        stack.push_async_callback(_end, chores)
        stack.push_async_callback(engine.drain)
        await stack.enter_async_context(engine.ingest)
        yield engine
