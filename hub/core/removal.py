"""The removal of a user with all that is theirs: hidden at once, the rest in small steps that may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType, Protocol

from hub.core.errors import HubError, NotFound, QueueUnavailable
from hub.core.media_desk import MediaDesk
from hub.core.message import AppId, ConversationId, UserKey
from hub.core.ports import Clock

log = logging.getLogger("hub.removal")

RemovalId = NewType("RemovalId", str)

DELETED: Final = "/deleted"
"""The sender of what a user wrote who was removed together with it. No user can have this id."""
_LEASE: Final = timedelta(seconds=60)
_PORTION: Final = 200
_UPLOADS: Final = 100


class Written(StrEnum):
    """What becomes of what the user wrote to others. KEEP: it stays as it is, theirs by the product's id. ERASE: bodies
    go as if recalled, and nobody sees who wrote them."""

    KEEP = "keep"
    ERASE = "erase"


class RemovalState(StrEnum):
    """RUNNING: the user is hidden, the rest is going. DONE: nothing is left."""

    RUNNING = "running"
    DONE = "done"


class Step(StrEnum):
    """What is removed, in this order. A step is done when a portion of it finds nothing."""

    GROUPS = "groups"
    UPLOADS = "uploads"
    WRITTEN = "written"
    QUEUE = "queue"
    BELONGINGS = "belongings"
    TRACES = "traces"
    USER = "user"


STEPS: Final = tuple(Step)
SETTLED: Final = timedelta(minutes=3)
"""By then no node takes the name for the old number any more, and a last look finds what was on its way."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A removal; `step` is the place in STEPS, `removed` counts rows and files. `user_id` is the product's id while it
    is still needed, and empty once the removal is done."""

    id: RemovalId
    app: AppId
    user: UserKey
    user_id: str
    messages: Written
    state: RemovalState
    step: int
    removed: int
    created_at: datetime
    ended_at: datetime | None = None


class RemovalStore(Protocol):
    """Each method is one short transaction and may be repeated."""

    async def begin(
        self, app: AppId, user_id: str, messages: Written, *, actor: str, now: datetime
    ) -> Removal | None:
        """Hide the user (no id, no name, no settings, tokens refused) and note what is to be done; None where there is
        no such user."""
        ...

    async def get(self, app: AppId, removal: str) -> Removal | None:
        """A removal of this app."""
        ...

    async def due(self, *, now: datetime, lease: timedelta, limit: int) -> list[Removal]:
        """Removals that nobody works on: they are the caller's until the lease ends."""
        ...

    async def note(self, removal: Removal, *, now: datetime, lease: timedelta) -> None:
        """Note how far it is; what is done is nobody's any more."""
        ...

    async def leave_groups(
        self, removal: Removal, *, limit: int
    ) -> Collection[tuple[ConversationId, list[UserKey]]]:
        """Take the user out of some groups: which, and whom it concerns. The heir of an owner becomes the owner."""
        ...

    async def erase_written(self, removal: Removal, *, limit: int) -> int:
        """Erase some of what the user wrote; how much."""
        ...

    async def drop_queue(self, removal: Removal, *, limit: int) -> int:
        """Remove some of the user's queue; how much."""
        ...

    async def drop_belongings(self, removal: Removal, *, limit: int) -> int:
        """Remove some of what else is the user's; how much."""
        ...

    async def drop_traces(self, removal: Removal, *, limit: int) -> int:
        """Take the product's id out of some of the records of others; how much."""
        ...

    async def drop_user(self, removal: Removal) -> int:
        """Remove the user, once the number cannot be given to somebody else."""
        ...


class Removals:
    """The verbs. `hidden` is told of a user who has just been hidden, `left` of a group that somebody has left."""

    def __init__(
        self,
        store: RemovalStore,
        media: MediaDesk,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._media = media
        self._clock = clock
        self.hidden: Callable[[Removal], Awaitable[None]] = _nothing
        self.left: Callable[[ConversationId, Collection[UserKey]], Awaitable[None]] = _nothing_left

    async def begin(self, app: AppId, user_id: str, messages: Written, *, actor: str) -> Removal:
        """Hide a user, from the commit on, and begin with the rest. Raises NotFound."""
        removal = await self._store.begin(app, user_id, messages, actor=actor, now=self._clock())
        if removal is None:
            raise NotFound("user_not_found", f"There is no user {user_id!r} in this app.")
        await self.hidden(removal)
        return removal

    async def get(self, app: AppId, removal: str) -> Removal:
        """How far a removal is. Raises NotFound."""
        found = await self._store.get(app, removal)
        if found is None:
            raise NotFound("removal_not_found", "There is no such removal in this app.")
        return found

    async def sweep(self, *, limit: int = 10) -> int:
        """Go on with removals that nobody works on; how many were finished. Whoever dies in the middle leaves the rest
        to the next."""
        finished = 0
        for removal in await self._store.due(now=self._clock(), lease=_LEASE, limit=limit):
            try:
                # Whoever died between the commit and the word has told nobody.
                await self.hidden(removal)
                done = await self._run(removal)
                finished += done.state is RemovalState.DONE
            except (HubError, QueueUnavailable) as error:
                log.info("removal_postponed", extra={"removal": removal.id, "error": type(error).__name__})
        return finished

    async def _run(self, removal: Removal) -> Removal:
        while removal.step < len(STEPS):
            if STEPS[removal.step] is Step.USER and self._clock() < removal.created_at + SETTLED:
                break
            gone = await self._portion(STEPS[removal.step], removal)
            step = removal.step if gone else removal.step + 1
            removal = replace(removal, step=step, removed=removal.removed + gone)
            if step == len(STEPS):
                removal = replace(removal, state=RemovalState.DONE, ended_at=self._clock())
            await self._store.note(removal, now=self._clock(), lease=_LEASE)
        return removal

    async def _portion(self, step: Step, removal: Removal) -> int:
        store = self._store
        match step:
            case Step.GROUPS:
                return await self._leave(removal)
            case Step.UPLOADS:
                going = await self._media.book.take_of_user(removal.user, limit=_UPLOADS)
                await self._media.remove(going)
                return len(going)
            case Step.WRITTEN:
                erase = removal.messages is Written.ERASE
                return await store.erase_written(removal, limit=_PORTION) if erase else 0
            case Step.QUEUE:
                return await store.drop_queue(removal, limit=_PORTION)
            case Step.BELONGINGS:
                return await store.drop_belongings(removal, limit=_PORTION)
            case Step.TRACES:
                return await store.drop_traces(removal, limit=_PORTION)
            case Step.USER:
                # What other nodes accepted meanwhile: for seconds from the user, for longer for the name.
                for earlier in STEPS[: STEPS.index(Step.USER)]:
                    if late := await self._portion(earlier, removal):
                        return late
                return await store.drop_user(removal)

    async def _leave(self, removal: Removal) -> int:
        left = await self._store.leave_groups(removal, limit=20)
        for conversation, users in left:
            await self.left(conversation, users)
        return len(left)


async def _nothing(removal: Removal) -> None:
    """Nobody is to be told."""


async def _nothing_left(conversation: ConversationId, users: Collection[UserKey]) -> None:
    """Nobody is to be told."""
