"""Hearing channels of a Cluster: one connection to each node that has some of them, and their end when one moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from redis import exceptions as redis_errors

from hub.core.errors import QueueUnavailable
from hub.redis_address import Host
from hub.redis_slots import slot_of
from hub.redis_tuning import Tuning
from hub.redis_wire import Wire

_WAITING: Final = 1_024
"""Payloads taken from the lines and not received; past it Redis keeps them, up to its own limit."""


class Cluster(Protocol):
    """What is known of the nodes."""

    def serves(self, host: Host, slot: int, epoch: str) -> bool:
        """Whether this node has the slot, and is still the server it was."""
        ...

    async def wire_to(self, host: Host) -> Wire:
        """A connection of its own."""
        ...


@dataclass(frozen=True, slots=True)
class _Line:
    wire: Wire
    host: Host
    slots: tuple[int, ...]
    tuning: Tuning


class Ears:
    """hub.redis_link.Subscription. It ends as a whole: whoever hears half of it would not know what was missed."""

    def __init__(self, cluster: Cluster, lines: Sequence[_Line]) -> None:
        self._cluster = cluster
        self._lines = lines
        self._heard: asyncio.Queue[tuple[int, bytes] | QueueUnavailable] = asyncio.Queue(_WAITING)

    @property
    def lines(self) -> int:
        """Connections."""
        return len(self._lines)

    @property
    def current(self) -> bool:
        """Whether each still leads to who has its slots."""
        return all(
            self._cluster.serves(line.host, slot, line.wire.epoch)
            for line in self._lines
            for slot in line.slots
        )

    async def receive(self) -> tuple[int, bytes]:
        """The next payload of any line."""
        said = await self._heard.get()
        if isinstance(said, QueueUnavailable):
            raise said
        return said

    async def add(self, *channels: str) -> None:
        """Hear these too, on lines that lead to their slots already."""
        await self._change("SSUBSCRIBE", channels)

    async def remove(self, *channels: str) -> None:
        """Hear these no more."""
        await self._change("SUNSUBSCRIBE", channels)

    async def _change(self, word: str, channels: Sequence[str]) -> None:
        slots: dict[int, list[str]] = {}
        for channel in channels:
            slots.setdefault(slot_of(channel), []).append(channel)
        for slot, some in slots.items():
            line = next((line for line in self._lines if slot in line.slots), None)
            if line is None:
                raise QueueUnavailable(f"no line leads to slot {slot}")
            await line.tuning.change(word, some)

    async def abort(self) -> None:
        """Break all of them."""
        for line in self._lines:
            await line.wire.close()

    async def attend(self, number: int) -> None:
        """Takes what one line says, until it ends. A slot that moves away ends it too."""
        wire, tuning = self._lines[number].wire, self._lines[number].tuning
        while True:
            try:
                reply = await wire.receive()
            except (redis_errors.RedisError, OSError) as error:
                await self._heard.put(QueueUnavailable(str(error)))
                return
            if not isinstance(reply, list):
                continue
            if reply[0] == b"smessage":
                await self._heard.put((number, reply[2]))
            elif not tuning.confirmed(reply[0], reply[1]) and reply[0] == b"sunsubscribe":
                await self._heard.put(QueueUnavailable(f"{self._lines[number].host} gave a slot away"))
                return


@asynccontextmanager
async def open_ears(
    cluster: Cluster, places: Mapping[Host, Mapping[int, Sequence[str]]], patience: float
) -> AsyncIterator[Ears]:
    """Subscribes at each host to its channels, by slot: channels of two slots cannot share one call."""
    async with AsyncExitStack() as stack:
        lines: list[_Line] = []
        try:
            async with asyncio.timeout(patience):
                for host, slots in places.items():
                    wire = await cluster.wire_to(host)
                    stack.push_async_callback(wire.close)
                    for channels in slots.values():
                        await wire.send("SSUBSCRIBE", *channels)
                        await _confirmed(wire, len(channels))
                    lines.append(_Line(wire, host, tuple(slots), Tuning(wire, patience)))
        except (redis_errors.RedisError, TimeoutError, OSError) as error:
            raise QueueUnavailable(str(error)) from error
        ears = Ears(cluster, lines)
        readers = [
            asyncio.create_task(ears.attend(number), name=f"redis-ear-{id(ears)}")
            for number in range(len(lines))
        ]
        try:
            yield ears
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def _confirmed(wire: Wire, channels: int) -> None:
    """Until all are heard. What is said on others meanwhile is passed over: whoever listens catches up first."""
    while channels:
        reply = await wire.receive()
        if isinstance(reply, list) and reply[0] == b"ssubscribe":
            channels -= 1
