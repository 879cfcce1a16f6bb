"""Counters and tails in this process's memory: for tests, examples and one-process use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hub.core.message import Entry, SeqKey, UserKey


class MemorySequencer:
    """`Sequencer` of one process."""

    def __init__(self) -> None:
        self._last: dict[SeqKey, int] = {}

    async def draw(self, wants: Mapping[SeqKey, int]) -> Mapping[SeqKey, int]:
        """See the port."""
        if not wants.keys() <= self._last.keys():
            return {}
        first = {key: self._last[key] + 1 for key in wants}
        for key, count in wants.items():
            self._last[key] += count
        return first

    def witness(self) -> str:
        """See the port. It does not outlive this process."""
        return ""

    async def raise_to(self, heads: Mapping[SeqKey, int], *, witness: str = "") -> None:  # noqa: ARG002
        """See the port."""
        for key, head in heads.items():
            self._last[key] = max(head, self._last.get(key, 0))

    async def give_back(self, ranges: Mapping[SeqKey, tuple[int, int]]) -> None:
        """See the port."""
        for key, (first, last) in ranges.items():
            if self._last.get(key) == last:
                self._last[key] = first - 1

    def lose(self) -> None:
        """Forget all counters, as a flushed Redis does."""
        self._last.clear()


@dataclass(slots=True)
class _Queue:
    entries: dict[int, Entry] = field(default_factory=dict)
    floor: int | None = None
    """Everything above it is here, as the store has vouched for; None where it has not."""


class MemoryTail:
    """`Tail` of one process: at most `size` entries a queue, the newest."""

    def __init__(self, *, size: int = 128) -> None:
        self._size = size
        self._queues: dict[UserKey, _Queue] = {}

    async def append(self, entries: Sequence[Entry]) -> None:
        """See the port."""
        for entry in entries:
            queue = self._queues.setdefault(entry.user, _Queue())
            queue.entries[entry.user_seq] = entry
            self._trim(queue)

    async def read(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry] | None:
        """See the port."""
        queue = self._queues.get(user)
        if queue is None or queue.floor is None or after < queue.floor:
            return None
        found = [queue.entries[number] for number in sorted(queue.entries) if number > after][:limit]
        contiguous = all(entry.user_seq == number for number, entry in enumerate(found, after + 1))
        return found if contiguous else None

    async def heads(self, users: Sequence[UserKey]) -> Sequence[int | None]:
        """See the port."""
        queues = [self._queues.get(user) for user in users]
        return [
            None if queue is None or queue.floor is None else max(queue.entries, default=queue.floor)
            for queue in queues
        ]

    async def rebuild(self, user: UserKey, entries: Sequence[Entry], *, head: int) -> None:
        """See the port."""
        queue = self._queues.setdefault(user, _Queue())
        newer = {number: entry for number, entry in queue.entries.items() if number > head}
        queue.entries = {entry.user_seq: entry for entry in entries} | newer
        queue.floor = min((entry.user_seq for entry in entries), default=head + 1) - 1
        self._trim(queue)

    def lose(self) -> None:
        """Forget all queues, as a flushed Redis does."""
        self._queues.clear()

    def _trim(self, queue: _Queue) -> None:
        for number in sorted(queue.entries)[: -self._size]:
            del queue.entries[number]
            queue.floor = None if queue.floor is None else max(queue.floor, number)
