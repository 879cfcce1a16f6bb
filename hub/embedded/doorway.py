"""The way in: of those who wait outside a few are let in at each turn of the event loop.

A loop that accepts whoever is there makes everybody who is inside already wait for all of them: their handshakes are
one turn, of seconds. Who is not let in yet waits in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from asyncio.base_events import Server
from collections.abc import Callable, Sequence
from typing import Final, Self

log = logging.getLogger("hub.web")

AT_ONCE: Final = 64
"""Connections that are accepted in one turn."""
_PAUSE: Final = 1.0
"""Seconds until somebody is let in again after there was no room."""
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Doorway:
    """Stands for an `asyncio.Server` where that is closed and waited for. Open it within a running loop."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        make: Callable[[], asyncio.Protocol],
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        """The sockets listen already and belong to the doorway from now on; `make` is called for each connection."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._at_once = at_once
        self._entering: set[asyncio.Task[None]] = set()
        self._closed = False
        self.accepted = 0
        for one in listening:
            one.setblocking(False)
            self._loop.add_reader(one.fileno(), self._somebody, one)

    @classmethod
    def instead_of(cls, server: Server, make: Callable[[], asyncio.Protocol]) -> Self:
        """Takes over what a server listens on; nobody who waits outside is sent away."""
        listening = [socket.socket(fileno=os.dup(one.fileno())) for one in server.sockets]
        server.close()
        return cls(listening, make)

    def _somebody(self, listening: socket.socket) -> None:
        """Called once a turn, as long as somebody waits."""
        for _ in range(self._at_once):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                log.warning("no_room_to_accept", extra={"error": str(error)})
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(_PAUSE, self._again, listening)
                return
            self.accepted += 1
            connection.setblocking(False)
            entering = self._loop.create_task(self._enter(connection), name="accept")
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)

    def _again(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening.fileno(), self._somebody, listening)

    async def _enter(self, connection: socket.socket) -> None:
        if self._closed:
            connection.close()
            return
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()

    def close(self) -> None:
        """Nobody is let in any more."""
        if self._closed:
            return
        self._closed = True
        for one in self._listening:
            self._loop.remove_reader(one.fileno())
            one.close()

    async def wait_closed(self) -> None:
        """Until those who were on the threshold are in, or sent away."""
        await asyncio.gather(*self._entering, return_exceptions=True)
