"""Sessions that may have missed what is not stored: each is told so once, and not all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from hub.channels.ws.background import Background
from hub.channels.ws.connection import Connection
from hub.channels.ws.frames import encode_frame
from hub.channels.ws.frames_own import Stale

STALE: Final = encode_frame(Stale())
_AT_ONCE: Final = 50
_PAUSE: Final = 0.1
"""Seconds between two portions: who is told asks for lists."""
_KEPT: Final = (b'{"type":"read"', b'{"type":"conversation"', b'{"type":"contact"')


def is_kept(frame: bytes) -> bool:
    """Whether a client keeps what this frame, which is not stored, tells of."""
    return frame.startswith(_KEPT)


class Unheard:
    """Of one gateway: after its node could not be reached for a while."""

    def __init__(self, links: Callable[[], Collection[Connection]], background: Background) -> None:
        self._links = links
        self._background = background
        self._again = False
        self._walking = False

    def doubt(self) -> None:
        """What was signalled until now may not have been heard."""
        self._again = True
        if not self._walking:
            self._walking = True
            self._background.start(self._walk(), name="ws-unheard")

    async def _walk(self) -> None:
        try:
            while self._again:
                self._again = False
                for count, link in enumerate(list(self._links()), 1):
                    # Who is being welcomed asks anyway, and who is full is told when it has drained.
                    if link.session.hears:
                        link.send(STALE)
                    if count % _AT_ONCE == 0:
                        await asyncio.sleep(_PAUSE)
        finally:
            self._walking = False
