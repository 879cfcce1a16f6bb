"""Which part of Redis a key lives in: one of 1,024 tags, on a single Redis and in a Cluster alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias
from zlib import crc32

PARTITIONS: Final = 1024
# One call of 500 keys holds Redis for about a millisecond; one of 2,000 made everybody wait for eight.
KEYS_PER_CALL: Final = 500

_TAGS: Final = tuple(f"{{p{number:04d}}}" for number in range(PARTITIONS))

Grouping: TypeAlias = Callable[[Sequence[str]], Iterator[list[int]]]
"""Splits keys (given in order, by their tags) into groups of indexes; each group may share one Lua call."""


def tag(name: str) -> str:
    """The partition tag of a name such as `u:42`: the same in every process and release."""
    return _TAGS[crc32(name.encode()) % PARTITIONS]


def user_tag(user: int) -> str:
    """The tag of everything that belongs to one user."""
    return tag(f"u:{user}")


def single(keys: Sequence[str]) -> Iterator[list[int]]:
    """The grouping of one Redis: any keys may meet in a call, in chunks that do not hold it up."""
    for start in range(0, len(keys), KEYS_PER_CALL):
        yield list(range(start, min(start + KEYS_PER_CALL, len(keys))))


def by_partition(keys: Sequence[str]) -> Iterator[list[int]]:
    """The grouping of a Cluster: keys meet only where their tags are the same."""
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key[key.index("{") : key.index("}")], []).append(index)
    for group in groups.values():
        for start in range(0, len(group), KEYS_PER_CALL):
            yield group[start : start + KEYS_PER_CALL]
