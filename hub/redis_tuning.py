"""Channels that are added to a subscription, or taken off it, while it is being heard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis import exceptions as redis_errors

from hub.core.errors import QueueUnavailable
from hub.redis_wire import Wire


class Tuning:
    """The changes of one connection, one at a time. Whoever receives on it passes confirmations here."""

    def __init__(self, wire: Wire, patience: float) -> None:
        self._wire = wire
        self._patience = patience
        self._awaited: set[tuple[bytes, bytes]] = set()
        self._over = asyncio.Event()

    async def change(self, word: str, channels: Sequence[str]) -> None:
        """Says the word (SUBSCRIBE, say), and returns when every channel is confirmed. Raises QueueUnavailable, in
        bounded time; what is heard then is not known any more."""
        kind = word.lower().encode()
        self._awaited = {(kind, channel.encode()) for channel in channels}
        self._over.clear()
        try:
            async with asyncio.timeout(self._patience):
                await self._wire.send(word, *channels)
                await self._over.wait()
        except (redis_errors.RedisError, TimeoutError, OSError) as error:
            raise QueueUnavailable(str(error) or f"{word} was not confirmed") from error
        finally:
            self._awaited = set()

    def confirmed(self, kind: bytes, channel: bytes) -> bool:
        """Whether this was waited for."""
        if (kind, channel) not in self._awaited:
            return False
        self._awaited.discard((kind, channel))
        if not self._awaited:
            self._over.set()
        return True
