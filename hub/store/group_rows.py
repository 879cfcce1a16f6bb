"""What groups and threads have beside their conversation's row, as values, and their notices as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hub.core.group_rules import GroupRules, Invite
from hub.core.groups import GroupState, Notice
from hub.core.message import UserKey
from hub.core.records_groups import ConversationRecord
from hub.store.tables import metadata
from hub.store.tables_groups import AnnouncementRow, GroupBar, NoticeRow

ANNOUNCEMENT = metadata.tables[str(AnnouncementRow.__tablename__)]
GROUP_BAR = metadata.tables[str(GroupBar.__tablename__)]
NOTICE = metadata.tables[str(NoticeRow.__tablename__)]


def group_of(values: Sequence[Any]) -> GroupState:
    """The columns of the conversation table from `avatar` on, in their order."""
    avatar, subject, invite, is_open, max_members, silenced, dissolved_at, owner, read_until = values[:9]
    return GroupState(
        avatar=avatar,
        subject=subject,
        invite=Invite(invite),
        open=bool(is_open),
        max_members=max_members,
        silenced=bool(silenced),
        dissolved_at=dissolved_at,
        owner=None if owner is None else UserKey(owner),
        read_until=read_until,
    )


def rules_of(record: ConversationRecord) -> GroupRules:
    """What group_rules asks of a conversation."""
    group = record.group
    return GroupRules(
        kind=record.kind, invite=group.invite, open=group.open, dissolved=group.dissolved_at is not None
    )


def notice_of(row: Any) -> Notice:
    """A row of the outbox as a value."""
    also = msgspec.json.decode(row.also, type=list[int])
    return Notice(row.id, row.app_id, row.conversation_id, row.body, tuple(UserKey(user) for user in also))
