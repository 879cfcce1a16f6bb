"""Group commit: drafts that arrive together are numbered by one call, committed by one transaction, then answered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from hub.core.batching import build_batch, wanted_numbers
from hub.core.channel import Registry
from hub.core.errors import (
    Conflict,
    HubError,
    Refused,
    SequenceTaken,
    StaleConversation,
    Unavailable,
)
from hub.core.marks import Marks
from hub.core.message import Accepted, Draft, IdempotencyClaim, SeqKey
from hub.core.numbering import Numbering
from hub.core.ports import Batch, Clock, MessageStore, NewId, Prior
from hub.core.roster import Resolved, Roster, target_id

log = logging.getLogger("hub.ingest")

Answer = Accepted | HubError
_TRIES = 6
_PATIENT = 2
_PAUSE = 0.005
"""Seconds before the third try, doubled for each further one."""
MAX_SEQUENCES = 1_000
"""Sequences that a batch draws from (a single draft may need a few more): about 3 ms of the engine's time."""
_MAX_REFERENCES = 20_000
"""References in one transaction: bounds its memory and how long it keeps others waiting."""


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """`window` gathers company for a lone draft; `backlog` bounds what waits; `timeout` bounds a caller's wait."""

    window: timedelta
    size: int
    backlog: int
    timeout: timedelta
    inline_lease: timedelta


@dataclass(slots=True)
class _Item:
    draft: Draft
    answer: asyncio.Future[Answer]
    deadline: float
    """By the loop's clock: when its sender is told to try again."""


class Ingest:
    """The one way in. One batch is in flight at a time, so a node's messages keep the order they came in;
    what arrives meanwhile is the next batch.
    """

    def __init__(
        self,
        *,
        store: MessageStore,
        numbering: Numbering,
        roster: Roster,
        channels: Registry,
        limits: IngestLimits,
        clock: Clock,
        new_id: NewId,
        on_commit: Callable[[Batch], None],
        marks: Marks,
    ) -> None:
        self._store = store
        self._numbering = numbering
        self._roster = roster
        self._channels = channels
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._on_commit = on_commit
        self._marks = marks
        self._waiting: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._current: list[_Item] = []
        self.batches = 0
        self.accepted = 0

    async def __aenter__(self) -> Ingest:
        self._task = asyncio.create_task(self._run(), name="ingest")
        self._watch = asyncio.create_task(self._watch_deadlines(), name="ingest-deadlines")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Commit what waits, then stop."""
        if self._task is None or self._watch is None:
            return
        while (self._waiting or self._current) and not self._task.done():
            self._wake.set()
            await asyncio.sleep(0.005)
        self._task.cancel()
        self._watch.cancel()
        await asyncio.gather(self._task, self._watch, return_exceptions=True)

    @property
    def backlog(self) -> int:
        """Drafts waiting now."""
        return len(self._waiting)

    async def submit(self, draft: Draft) -> Accepted:
        """The answer, after the commit. Raises Refused, or Unavailable (then a repeat with the same
        client_msg_id is safe: the draft may yet be committed)."""
        answer = await self._enter([draft])[0].answer
        if isinstance(answer, HubError):
            raise answer
        return answer

    async def submit_many(self, drafts: Sequence[Draft]) -> list[Answer]:
        """The answers in order; an error is a value here, so that one does not hide the others."""
        return [await item.answer for item in self._enter(drafts)]

    def _enter(self, drafts: Sequence[Draft]) -> list[_Item]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.timeout.total_seconds()
        items = [_Item(draft, loop.create_future(), deadline) for draft in drafts]
        if len(self._waiting) + len(items) > self._limits.backlog:
            _answer(
                items,
                Unavailable("overloaded", "Too many messages are waiting to be stored. Try again shortly."),
            )
        else:
            self._waiting.extend(items)
            self._wake.set()
        return items

    async def _watch_deadlines(self) -> None:
        """Answer those who have waited long enough. One look a moment for all costs less than a timer for each."""
        loop = asyncio.get_running_loop()
        late = Unavailable("commit_timeout", "Storing took too long. Repeat with the same id: it is safe.")
        while True:
            await asyncio.sleep(min(0.25, self._limits.timeout.total_seconds() / 4))
            now = loop.time()
            _answer([item for item in self._current if item.deadline <= now], late)
            while self._waiting and self._waiting[0].deadline <= now:
                _answer([self._waiting.popleft()], late)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if len(self._waiting) < self._limits.size and self._limits.window:
                await asyncio.sleep(self._limits.window.total_seconds())
            self._current = self._next_items()
            if not self._waiting:
                self._wake.clear()
            try:
                await self._process(self._current)
            except Exception:
                log.exception("batch_failed")
                _answer(self._current, Unavailable("internal", "The message could not be stored."))
            self._current = []

    def _next_items(self) -> list[_Item]:
        """As many as fit: the numbers of a batch are drawn in one atomic call, which is what keeps a user's order
        and a conversation's order the same, and a long call blocks every node."""
        items: list[_Item] = []
        sequences: set[object] = set()
        references = 0
        while self._waiting and len(items) < self._limits.size:
            recipients = self._roster.recipients_hint(self._waiting[0].draft)
            more = {target_id(self._waiting[0].draft), *recipients} - sequences
            references += len(recipients)
            if items and (len(sequences) + len(more) > MAX_SEQUENCES or references > _MAX_REFERENCES):
                break
            sequences |= more
            item = self._waiting.popleft()
            if not item.answer.done():
                items.append(item)
        return items

    async def _process(self, items: list[_Item]) -> None:
        """Commit, and see to it that one bad draft fails alone."""
        if not items:
            return
        leaders, followers = _one_of_a_kind(items)
        try:
            await self._commit(leaders)
        except HubError as error:
            _answer(leaders, error)
        except Exception as error:
            if len(leaders) > 1:
                log.warning("batch_split", extra={"drafts": len(leaders), "error": type(error).__name__})
                half = len(leaders) // 2
                await self._process(leaders[:half])
                await self._process(leaders[half:])
            else:
                log.exception("draft_failed")
                _answer(leaders, Unavailable("internal", "The message could not be stored."))
        for leader, follower in followers:
            if leader.answer.cancelled():
                self._waiting.appendleft(follower)  # who was first has gone: it may not have been committed
                self._wake.set()
            else:
                _answer([follower], _repeat(follower.draft, leader))

    async def _commit(self, items: list[_Item]) -> None:
        for attempt in range(_TRIES):
            if attempt >= _PATIENT and len(items) == 1:
                # Somebody changes this very conversation again and again. Alone, so that no other draft waits too.
                await asyncio.sleep(_PAUSE * 2 ** (attempt - _PATIENT))
            pending = await self._without_prior([item for item in items if not item.answer.done()])
            resolved = await self._resolve(pending)
            if not resolved:
                return
            wants = wanted_numbers(resolved)
            batch = await self._try(resolved, await self._numbering.draw(wants), wants)
            if batch is not None:
                _settle(pending, batch)
                return
        if len(items) == 1:
            raise Unavailable("contention", "Too many writers at once. Try again shortly.")
        raise SequenceTaken

    async def _without_prior(self, items: list[_Item]) -> list[_Item]:
        """Answer those that were accepted earlier; the others go on."""
        asking = [i.draft for i in items if _has_identity(i.draft)]
        if not asking:
            return items
        prior = await self._store.prior(asking)
        for item in items:
            if item.draft.id in prior:
                _answer([item], _from_prior(item.draft, prior[item.draft.id]))
        return [item for item in items if not item.answer.done()]

    async def _resolve(self, items: list[_Item]) -> list[Resolved]:
        good: list[Resolved] = []
        answers = await self._roster.resolve([item.draft for item in items])
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, Refused):
                _answer([item], answer)
            else:
                good.append(answer)
        return good

    async def _try(
        self, resolved: list[Resolved], first: dict[SeqKey, int], wants: dict[SeqKey, int]
    ) -> Batch | None:
        """The batch as it was committed; None where it must be built again."""
        published = self._marks.take()
        batch = build_batch(
            resolved,
            first,
            now=self._clock(),
            new_id=self._new_id,
            channels=self._channels,
            lease=self._limits.inline_lease,
            published_batches=published,
        )
        try:
            await self._store.commit(batch)
        except BaseException as error:
            self._marks.put_back(published)
            # Whether it was committed or not: where it was, the fence refuses the numbers given back.
            await self._numbering.give_back(first, wants)
            match error:
                case SequenceTaken():
                    await self._numbering.heal(wants)
                case StaleConversation():
                    self._roster.forget(error.conversations)
                case _:
                    raise
            return None
        self._roster.created(batch.conversations)
        self.batches += 1
        self.accepted += len(batch.published)
        self._on_commit(batch)
        return batch


def _settle(items: Sequence[_Item], batch: Batch) -> None:
    """Answer those whose drafts are in the batch; who was refused has an answer already."""
    committed = {published.message.id: published.message for published in batch.published}
    for item in items:
        message = committed.get(item.draft.id)
        if message is not None:
            accepted = Accepted(
                message.id, message.conversation, message.seq, message.created_at, message.notification
            )
            _answer([item], accepted)


def _answer(items: Sequence[_Item], answer: Answer) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_result(answer)


def _has_identity(draft: Draft) -> bool:
    dedupe = draft.notification is not None and draft.notification.dedupe_key is not None
    return draft.client_msg_id is not None or draft.idempotency is not None or dedupe


def _identities(draft: Draft) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    if draft.client_msg_id is not None:
        found.append(("client", draft.app, draft.sender, draft.client_msg_id))
    if draft.notification is not None and draft.notification.dedupe_key is not None:
        found.append(("dedupe", draft.app, draft.notification.dedupe_key))
    if draft.idempotency is not None:
        found.append(("idempotency", draft.idempotency.key))
    return found


def _one_of_a_kind(items: Sequence[_Item]) -> tuple[list[_Item], list[tuple[_Item, _Item]]]:
    """Repeats within one batch follow the first of their kind: (leader, follower)."""
    seen: dict[tuple[object, ...], _Item] = {}
    leaders: list[_Item] = []
    followers: list[tuple[_Item, _Item]] = []
    for item in items:
        identities = _identities(item.draft)
        leader = next((seen[identity] for identity in identities if identity in seen), None)
        if leader is None:
            leaders.append(item)
            seen.update(dict.fromkeys(identities, item))
        else:
            followers.append((leader, item))
    return leaders, followers


def _repeat(draft: Draft, leader: _Item) -> Answer:
    answer = leader.answer.result()
    if isinstance(answer, HubError):
        return answer
    claim = leader.draft.idempotency
    return _from_prior(draft, Prior(answer, claim.fingerprint if claim else None))


def _from_prior(draft: Draft, prior: Prior) -> Answer:
    claim: IdempotencyClaim | None = draft.idempotency
    if claim is not None and prior.fingerprint is not None and claim.fingerprint != prior.fingerprint:
        return Conflict(
            "idempotency_mismatch",
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    return replace(prior.accepted, duplicate=True)
