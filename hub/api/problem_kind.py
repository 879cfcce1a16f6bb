"""What is said about a code of problem documents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """`retryable`: the same request may succeed later as it is."""

    status: int
    title: str
    meaning: str
    retryable: bool = False
