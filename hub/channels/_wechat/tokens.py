"""An account's access token: one for all processes, fetched by one of them at a time, renewed only when it must be.

WeChat's stable_token gives everybody the same token until five minutes before its end, and then old and new work side
by side for these five minutes. So a token is replaced early by whoever comes first, while the others go on with the old
one; nobody ever throws a token away before there is another.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

from hub.channels._wechat.faults import Breaks, Failure, Kind
from hub.channels._wechat.shelf import LocalShelf, Shelf, Stored
from hub.core.errors import QueueUnavailable
from hub.core.outcome import Reason

log = logging.getLogger("hub.wechat")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the token endpoint answered."""

    token: str = field(repr=False)
    life: timedelta


Fetch: TypeAlias = Callable[[bool], Awaitable[Fetched | Failure]]
"""Asks stable_token once, forcing a new one where the argument is true; bounded in time, raises nothing."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """`margin`: replaced so long before the end. `trust`: a process believes its copy so long before it looks again.
    `wait`: for somebody else's fetch. `calm`: after a failed fetch nobody in the process asks again for so long;
    `calm_account` where a person must act first."""

    margin: timedelta = timedelta(minutes=5)
    trust: timedelta = timedelta(seconds=2)
    wait: timedelta = timedelta(seconds=3)
    poll: timedelta = timedelta(milliseconds=50)
    calm: timedelta = timedelta(seconds=3)
    calm_account: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    trusted_until: float
    dies_at: float


@dataclass(frozen=True, slots=True)
class _Calm:
    """Why, until when, and for which failing token only (None: for everybody)."""

    failure: Failure
    until: float
    failed: str | None = field(repr=False)


_WAITED: Final = Failure(
    Kind.BUSY, Reason.PROVIDER_DOWN, words="not sent: the access token was not renewed in time"
)
_REFUSED: Final = Failure(
    Kind.TOKEN,
    Reason.AUTH_FAILED,
    words="not sent: WeChat refuses the access token that it gives out, and no forced renewal is allowed now",
    breaks=Breaks.ACCOUNT,
)


class TokenSource:
    """One per account and process; for one event loop. A token never appears in a log, a repr or a failure."""

    def __init__(
        self,
        appid: str,
        fetch: Fetch,
        shelf: Shelf,
        *,
        limits: TokenLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._appid = appid
        self._fetch = fetch
        self._shelf = shelf
        self._limits = limits or TokenLimits()
        self._clock = clock
        self._local = LocalShelf(clock=clock, forces_a_day=0)
        self._busy = asyncio.Lock()
        self._held: _Held | None = None
        self._calm: _Calm | None = None

    async def get(self) -> str | Failure:
        """A token that should work. A failure is one of BUSY, TOKEN, RATE, ACCOUNT…: nothing has been sent."""
        now, held = self._clock(), self._held
        if held is not None and (now < held.trusted_until or (now < held.dies_at and self._busy.locked())):
            return held.token
        return await self._alone(None)

    async def renew(self, failed: str) -> str | Failure:
        """Another token than `failed`, which WeChat has just refused. Where somebody else has renewed it meanwhile,
        theirs is given and nothing is asked of WeChat."""
        held = self._held
        if held is not None and held.token != failed and self._clock() < held.dies_at:
            return held.token
        return await self._alone(failed)

    async def _alone(self, failed: str | None) -> str | Failure:
        """One of the process at a time, so that a hundred sends are one question."""
        try:
            async with asyncio.timeout(self._limits.wait.total_seconds()):
                await self._busy.acquire()
        except TimeoutError:
            return _WAITED
        try:
            return self._settled(failed) or await self._obtain(failed)
        finally:
            self._busy.release()

    def _settled(self, failed: str | None) -> str | Failure | None:
        """What whoever was before us has found out."""
        now, held, calm = self._clock(), self._held, self._calm
        other = held if held is not None and held.token != failed and now < held.dies_at else None
        if other is not None and (failed is not None or now < other.trusted_until):
            return other.token
        if calm is None or now >= calm.until or calm.failed not in (None, failed):
            return None
        return other.token if other is not None else calm.failure

    async def _obtain(self, failed: str | None) -> str | Failure:
        try:
            return await self._through(self._shelf, failed)
        except QueueUnavailable:
            return await self._through(self._local, failed)

    async def _through(self, shelf: Shelf, failed: str | None) -> str | Failure:
        stored = await shelf.read()
        if stored is not None and self._good(stored, failed):
            return self._hold(stored)
        owner = secrets.token_hex(16)
        deadline = self._clock() + self._limits.wait.total_seconds()
        while not await shelf.claim(owner):
            if failed is None and stored is not None:
                return self._hold(stored)  # near its end, but alive; another is fetching the next one
            if self._clock() >= deadline:
                return _WAITED
            await asyncio.sleep(self._limits.poll.total_seconds())
            stored = await shelf.read()
            if stored is not None and self._good(stored, failed):
                return self._hold(stored)
        try:
            # Again: whoever held the lock before us may have stored one between our look and our turn.
            stored = await shelf.read()
            if stored is not None and self._good(stored, failed):
                return self._hold(stored)
            return await self._replace(shelf, owner, stored, failed)
        finally:
            with suppress(QueueUnavailable):
                await shelf.release(owner)

    def _good(self, stored: Stored, failed: str | None) -> bool:
        if failed is not None:
            return stored.token != failed
        return stored.left > self._limits.margin

    async def _replace(
        self, shelf: Shelf, owner: str, stored: Stored | None, failed: str | None
    ) -> str | Failure:
        """Fetches, with the lock held. A token that still lives is used on where fetching fails."""
        fetched = await self._fetch(False)
        if isinstance(fetched, Fetched) and fetched.token == failed:
            fetched = await self._force(shelf, owner, failed)
        if isinstance(fetched, Failure):
            # WeChat may refuse one token and the fetching both: only the second is everybody's trouble.
            self._be_calm(fetched, failed if fetched is _REFUSED else None)
            usable = failed is None and stored is not None
            return self._hold(stored) if usable and stored is not None else fetched
        with suppress(QueueUnavailable):
            await shelf.put(owner, fetched.token, fetched.life)
        return self._hold(Stored(fetched.token, fetched.life))

    async def _force(self, shelf: Shelf, owner: str, failed: str) -> Fetched | Failure:
        if not await shelf.may_force(owner):
            return _REFUSED
        log.warning("wechat_token_forced", extra={"appid": self._appid})
        fetched = await self._fetch(True)
        return _REFUSED if isinstance(fetched, Fetched) and fetched.token == failed else fetched

    def _hold(self, stored: Stored) -> str:
        now, left = self._clock(), stored.left.total_seconds()
        trust = min(self._limits.trust.total_seconds(), left)
        self._held = _Held(stored.token, now + trust, now + left)
        return stored.token

    def _be_calm(self, failure: Failure, failed: str | None) -> None:
        extra = {"appid": self._appid, "kind": failure.kind.value, "errcode": failure.errcode}
        log.warning("wechat_token_failed", extra=extra)
        limits = self._limits
        pause = limits.calm_account if failure.kind is Kind.ACCOUNT else limits.calm
        self._calm = _Calm(failure, self._clock() + pause.total_seconds(), failed)
