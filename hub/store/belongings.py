"""Everything that is a user's, in one place: what becomes of each column that holds a user's number when the user is
removed. A test walks the metadata, so that a table made later cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Column, ColumnElement, Table, and_, select

from hub.store.schema import metadata


class Fate(StrEnum):
    """DELETED: the row goes. NOBODY: the row stays and says that it was nobody. ELSEWHERE: another step of the removal
    does it (core/removal.py)."""

    DELETED = "deleted"
    NOBODY = "nobody"
    ELSEWHERE = "elsewhere"


BELONGINGS: Final[Mapping[str, Fate]] = {
    "contact.owner_id": Fate.DELETED,
    "contact.user_id": Fate.DELETED,
    "conversation.owner_id": Fate.ELSEWHERE,  # the heir's, when the group was left
    "delivery.user_id": Fate.DELETED,
    "device.user_id": Fate.DELETED,
    "digest_window.user_id": Fate.DELETED,
    "frequency_use.user_id": Fate.DELETED,
    "group_bar.user_id": Fate.DELETED,
    "hidden.user_id": Fate.DELETED,
    "media.user_id": Fate.ELSEWHERE,  # the bytes go first
    "member.user_id": Fate.ELSEWHERE,  # versions and counts of the conversations move with it
    "mention.user_id": Fate.DELETED,
    "message.sender_id": Fate.ELSEWHERE,  # erased, or kept on demand
    "message_terms.sender_id": Fate.ELSEWHERE,  # with their messages
    "pin.by_id": Fate.NOBODY,
    "queue_entry.user_id": Fate.ELSEWHERE,  # may lie in another store
    "reaction.user_id": Fate.ELSEWHERE,  # counts move with it
    "task_action.user_id": Fate.ELSEWHERE,  # that somebody decided stays true
    "task_assignee.user_id": Fate.DELETED,
    "task_cc.user_id": Fate.DELETED,
    "task_holder.user_id": Fate.DELETED,
    "task_reminder.user_id": Fate.DELETED,
    "user_removal.user_id": Fate.ELSEWHERE,  # until it is done
    "wechat_binding.user_id": Fate.DELETED,
    "wechat_ticket.user_id": Fate.DELETED,
}
NO_USERS: Final[Mapping[str, str]] = {
    "digest_window.sender_id": "an account at a provider",
    "user.user_id": "the product's id of the user itself",
    "template_version.created_by": "an API key or the product's id of who wrote a template: the audit's affair",
    "audit.actor": "text: core.removal's step `traces`",
    "task.decided_by": "an action",
    "task_assignee.given_by": "text: step `traces`",
    "task_event.actor": "text: step `traces`",
    "task_reminder.requester": "text: step `traces`",
    "announcement.by_user": "text: step `traces`",
    "message.sender": "text: goes or stays with what was written",
}
"""Columns whose names sound like a user's number and are something else."""


@dataclass(frozen=True, slots=True)
class Child:
    """Rows of `table` that belong to a row of the parent by these columns: (theirs, the parent's)."""

    table: str
    on: tuple[tuple[str, str], ...]


CHILDREN: Final[Mapping[str, tuple[Child, ...]]] = {
    "delivery": tuple(
        Child(name, (("delivery_id", "id"),))
        for name in ("attempt", "delivery_event", "digest_member", "frequency_taken", "wechat_grant_hold")
    ),
    "digest_window": (Child("digest_member", (("window_id", "id"),)),),
    "wechat_binding": tuple(
        Child(name, (("account_id", "account_id"), ("address", "address")))
        for name in ("wechat_grant_hold", "wechat_grant")
    ),
}
"""What goes before a row of these tables goes."""


def column_of(place: str) -> Column[object]:
    """`table.column`."""
    table, _, column = place.partition(".")
    return metadata.tables[table].c[column]


def belongs_to(child: Child, parent: Table, which: ColumnElement[bool]) -> ColumnElement[bool]:
    """The rows of a child whose parent is one of `which`. Databases forbid to delete from a table that the condition
    reads; these are two tables."""
    rows = metadata.tables[child.table]
    joined = and_(*(rows.c[theirs] == parent.c[its] for theirs, its in child.on))
    return select(1).select_from(parent).where(joined, which).correlate(rows).exists()
