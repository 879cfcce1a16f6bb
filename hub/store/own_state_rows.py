"""What a member keeps of a conversation, as columns of the member's row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from hub.core.own_state import OwnState
from hub.store.directory_base import MEMBER

OWN_COLUMNS = tuple(
    MEMBER.c[name]
    for name in (
        "state_rev",
        "pinned_at",
        "muted",
        "muted_until",
        "draft",
        "draft_at",
        "cleared_seq",
        "marked_unread",
        "nickname",
    )
)


def own_state_of(row: Row[Any]) -> OwnState:
    """The own state in a row that has OWN_COLUMNS."""
    return OwnState(
        rev=row.state_rev,
        pinned_at=row.pinned_at,
        muted=row.muted,
        muted_until=row.muted_until,
        draft=row.draft,
        draft_at=row.draft_at,
        cleared_seq=row.cleared_seq,
        marked_unread=row.marked_unread,
        nickname=row.nickname,
    )
