"""A conversation as the directory keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from hub.core.conversation import ConversationKind, Fanout
from hub.core.groups import GroupState
from hub.core.message import AppId, ConversationId


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation. `metadata` is a JSON object; `group` is what groups and threads have beside it."""

    id: ConversationId
    app: AppId
    kind: ConversationKind
    title: str
    fanout: Fanout
    version: int
    member_count: int
    metadata: str
    created_at: datetime
    group: GroupState = field(default_factory=GroupState)
