"""Reading the queue for connections that are behind: few at a time, soon but not at once, until nothing is missing."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from hub.channels.ws.connection import Connection
from hub.channels.ws.frames import News, Rebase, encode_frame, message_frame
from hub.core.errors import Unavailable
from hub.core.message import Page, UserKey

log = logging.getLogger("hub.ws.catchup")

_FIRST_PAGE: Final = 50
_LAST_PAGE: Final = 500
_PAGE_BYTES: Final = 131_072
_WORKERS: Final = 32
_DELAY: Final = 0.02
_SLOWEST: Final = 2.0
_SLOWEST_AWAY: Final = 10.0
_TRIES: Final = 16
_CHUNK: Final = 32_768

ReadQueue = Callable[[UserKey, int, int], Awaitable[Page]]
"""(user, after, limit) -> Page. May raise Unavailable."""


class Recovery:
    """Every connection is read for by at most one worker. What fails or finds nothing yet is tried again with
    growing pauses; what was never there is given up, and found again by the next heartbeat if it is.
    """

    def __init__(self, read: ReadQueue, *, workers: int = _WORKERS) -> None:
        self._read = read
        self._most_workers = workers
        self._due: dict[Connection, bool] = {}
        self._tries: dict[Connection, int] = {}
        self._ready: deque[Connection] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.pages = 0

    def soon(self, link: Connection, *, doubt: bool = False) -> None:
        """Something is missing: read it shortly, unless it comes by itself before. In `doubt` nothing is known to
        be missing, and the queue is asked anyway.
        """
        self._due[link] = doubt or self._due.get(link, False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._start)

    def now(self, link: Connection) -> None:
        """Read without delay, where the session is recovering already (a new one)."""
        self._ready.append(link)
        self._employ()

    def forget(self, link: Connection) -> None:
        """The connection is gone."""
        self._due.pop(link, None)
        self._tries.pop(link, None)

    async def aclose(self) -> None:
        """Stop all reading."""
        if self._timer is not None:
            self._timer.cancel()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _start(self) -> None:
        self._timer = None
        due, self._due = self._due, {}
        for link, doubt in due.items():
            if (doubt or link.session.behind) and link.session.recover():
                self._ready.append(link)
        self._employ()

    def _employ(self) -> None:
        """Those who work already are busy with others; one that finds nothing left to do goes home."""
        for _ in range(min(len(self._ready), self._most_workers - len(self._workers))):
            task = asyncio.get_running_loop().create_task(self._work(), name="ws-recovery")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while self._ready:
            link = self._ready.popleft()
            before = link.session.sent_q
            try:
                await self._recover(link)
            except Unavailable:
                self._fail(link)
            except Exception:
                log.exception("recovery_failed")
                self._fail(link)
            else:
                self._settle(link, progress=link.session.sent_q != before)

    async def _recover(self, link: Connection) -> None:
        session = link.session
        limit = 1 if session.hint else _FIRST_PAGE
        while link.seat is not None and not link.closed:
            page = await self._read(link.seat.user.key, session.sent_q, limit)
            self.pages += 1
            written = self._write(link, page)
            if written is None or not page.more:
                return
            # Bodies may be small or large: pages grow until they are worth their query, and no further.
            limit = min(_LAST_PAGE, limit * 2) if written < _PAGE_BYTES else max(10, limit // 2)

    def _write(self, link: Connection, page: Page) -> int | None:
        """Write a page as far as the socket takes it. How many bytes it was, None where it did not take all."""
        session = link.session
        if page.rebase:
            session.rebase(page.next)
            link.send(encode_frame(Rebase(page.next)))
            return None
        if session.hint:
            if page.entries and not link.closed:
                session.found(page.next)
                link.send(encode_frame(News(session.seen_q)))
            return None
        chunk = bytearray()
        size = 0
        complete = True
        for entry, message in page.entries:
            if not session.replay(entry.user_seq):
                complete = False
                break
            frame = message_frame(entry.user_seq, message)
            size += len(frame)
            chunk += frame
            if len(chunk) >= _CHUNK:
                link.write(bytes(chunk))
                chunk.clear()
        if chunk:
            link.write(bytes(chunk))
        return size if complete else None

    def _settle(self, link: Connection, *, progress: bool) -> None:
        """Let live entries flow again; come back if something is still missing."""
        if not link.session.settle() or link.closed or link.session.paused:
            self._tries.pop(link, None)
        elif progress or self._tries.get(link, 0) < _TRIES:
            self._again(link, 0 if progress else self._tries.get(link, 0) + 1, slowest=_SLOWEST)
        else:
            link.session.give_up()
            self._tries.pop(link, None)
            log.warning("entries_never_came", extra={"sent_q": link.session.sent_q})

    def _fail(self, link: Connection) -> None:
        """The queue could not be read, so nobody knows whether something is missing: try until it can."""
        link.session.settle()
        if not link.closed:
            self._again(link, self._tries.get(link, 0) + 1, slowest=_SLOWEST_AWAY)

    def _again(self, link: Connection, tries: int, *, slowest: float) -> None:
        self._tries[link] = tries
        pause = min(_DELAY * 2.0 ** min(tries, 10), slowest)
        asyncio.get_running_loop().call_later(pause, partial(self.soon, link, doubt=slowest > _SLOWEST))
