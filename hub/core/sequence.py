"""Pure: contiguity of sequence numbers, and gaps that have stayed open long enough to be closed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from hub.core.message import SeqKey


def contiguous(after: int, numbers: Sequence[int]) -> tuple[int, tuple[int, int] | None]:
    """How many of the ascending `numbers` follow `after` without a gap, and the first gap, if any.

    A gap is the first and last missing number before the next one present.
    """
    expected = after + 1
    for count, number in enumerate(numbers):
        if number != expected:
            return count, (expected, number - 1)
        expected += 1
    return len(numbers), None


def gap_portions(
    gaps: Sequence[tuple[SeqKey, int, int]], *, numbers: int
) -> Iterator[list[tuple[SeqKey, int, int]]]:
    """The gaps in portions of at most so many missing numbers. A wider gap is cut: what is left of it will be met
    again by who reads on.
    """
    portion: list[tuple[SeqKey, int, int]] = []
    weight = 0
    for key, first, last in gaps:
        end = min(last, first + numbers - 1)
        if portion and weight + end - first + 1 > numbers:
            yield portion
            portion, weight = [], 0
        portion.append((key, first, end))
        weight += end - first + 1
    if portion:
        yield portion


class GapWatch:
    """Remembers when a gap was first seen, by the observer's monotonic clock (other nodes' clocks may jump).

    Bounded: when full, the oldest sighting is forgotten, which only delays its closing.
    """

    def __init__(self, *, grace: timedelta, capacity: int = 10_000) -> None:
        self._grace = grace.total_seconds()
        self._capacity = capacity
        self._seen: OrderedDict[tuple[SeqKey, int], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, key: SeqKey, gap: tuple[int, int], *, monotonic: float) -> None:
        """A gap was met now."""
        first, last = gap
        since, _ = self._seen.get((key, first), (monotonic, last))
        self._seen[(key, first)] = (since, last)
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def ripe(self, *, monotonic: float) -> list[tuple[SeqKey, int, int]]:
        """The gaps seen first at least the grace ago, each handed out once: (sequence, first, last)."""
        due = [
            (key, first, last)
            for (key, first), (since, last) in self._seen.items()
            if monotonic - since >= self._grace
        ]
        for key, first, _ in due:
            del self._seen[(key, first)]
        return due
