"""What has been published and is not yet noted as such in the store."""

from __future__ import annotations

from collections.abc import Iterable


class Marks:
    """Batches that have been published, on their way to be marked by a later commit."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def add(self, batches: Iterable[str]) -> None:
        """These are published."""
        self._done.update(batches)

    def take(self) -> tuple[str, ...]:
        """All that wait; the taker marks them or puts them back."""
        done, self._done = tuple(self._done), set()
        return done

    put_back = add
