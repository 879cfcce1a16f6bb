"""Values of what a user keeps of a conversation: pinned, muted, draft, cleared. Nobody else ever sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class OwnState:
    """What a user keeps of a conversation. Of two the one with the higher `rev` holds. `draft` is encoded JSON."""

    rev: int = 0
    pinned_at: datetime | None = None
    muted: bool = False
    muted_until: datetime | None = None
    draft: str | None = None
    draft_at: datetime | None = None
    cleared_seq: int = 0
    marked_unread: bool = False
    nickname: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """The value of a field that stays as it is."""


KEEP: Final = Keep()
NOTHING_KEPT: Final = OwnState()


@dataclass(frozen=True, slots=True)
class OwnStateWrite:
    """A change of one's own state: what is KEEP stays. `muted_until` ends a mute by itself; `draft` None removes it;
    `cleared` hides everything up to the conversation's newest message."""

    pinned: bool | Keep = KEEP
    muted: bool | Keep = KEEP
    muted_until: datetime | None = None
    draft: str | Keep | None = KEEP
    cleared: bool = False
    cleared_seq: int | Keep = KEEP
    marked_unread: bool | Keep = KEEP
    nickname: str | Keep = KEEP
