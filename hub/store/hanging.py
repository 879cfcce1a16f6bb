"""Everything that hangs on a message, in one place: what goes with it when retention or a removal takes it. A test
walks the metadata, so that a table made later cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import ConversationId, MessageId
from hub.store.schema import metadata
from hub.store.sql_chat_gone import forget_messages

HANGING: Final[Mapping[str, str]] = {
    "delivery.message_id": "SqlHousekeeping._drop_deliveries, before the message",
    "media_ref.message_id": "here: a file that nothing refers to goes by itself",
    "mention.seq": "sql_chat_gone",
    "message_edit.message_id": "sql_chat_gone",
    "message_terms.message_id": "here",
    "notification.message_id": "SqlHousekeeping._expire",
    "pin.message_id": "sql_chat_gone",
    "queue_entry.message_id": "SqlHousekeeping._trim_queues, after the messages",
    "reaction.message_id": "sql_chat_gone",
    "reaction_count.message_id": "sql_chat_gone",
    "hidden.seq": "here",
}
STAYING: Final[Mapping[str, str]] = {
    "scheduled.message_id": "an appointment of 35 days; its message may be still to come",
    "task_holder.message_id": "a task outlives its cards; a card that is gone is not changed any more",
}
"""Columns that name a message and stay, and why."""


async def drop_hanging(
    connection: AsyncConnection, messages: Sequence[tuple[MessageId, ConversationId, int]]
) -> None:
    """What hangs on these messages goes, in their own transaction: (id, conversation, seq). At most some hundred."""
    ids = [id_ for id_, _, _ in messages]
    for name in ("message_terms", "media_ref"):
        table = metadata.tables[name]
        await connection.execute(delete(table).where(table.c.message_id.in_(ids)))
    await forget_messages(connection, messages)


async def drop_marks(connection: AsyncConnection, conversation: ConversationId, upto: int) -> None:
    """What users had hidden up to a number that nobody has any more."""
    hidden = metadata.tables["hidden"]
    await connection.execute(
        delete(hidden).where(hidden.c.conversation_id == conversation, hidden.c.seq <= upto)
    )
