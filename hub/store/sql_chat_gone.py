"""What belongs to messages or users that are removed goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import ConversationId, MessageId, UserKey
from hub.store.schema import metadata

HIDDEN = metadata.tables["hidden"]
MENTION = metadata.tables["mention"]
MESSAGE_EDIT = metadata.tables["message_edit"]
PIN = metadata.tables["pin"]
REACTION = metadata.tables["reaction"]
REACTION_COUNT = metadata.tables["reaction_count"]

_PORTION: Final = 500


async def forget_messages(
    connection: AsyncConnection, messages: Sequence[tuple[MessageId, ConversationId, int]]
) -> None:
    """Remove the reactions, pins, mentions and notes of edits of these messages: (id, conversation, seq)."""
    for start in range(0, len(messages), _PORTION):
        some = messages[start : start + _PORTION]
        ids = [id_ for id_, _, _ in some]
        for table in (REACTION, REACTION_COUNT, MESSAGE_EDIT):
            await connection.execute(delete(table).where(table.c.message_id.in_(ids)))
        places: dict[ConversationId, list[tuple[MessageId, int]]] = {}
        for id_, conversation, seq in some:
            places.setdefault(conversation, []).append((id_, seq))
        for conversation, theirs in places.items():
            await connection.execute(
                delete(PIN).where(
                    PIN.c.conversation_id == conversation, PIN.c.message_id.in_([id_ for id_, _ in theirs])
                )
            )
            await connection.execute(
                delete(MENTION).where(
                    MENTION.c.conversation_id == conversation, MENTION.c.seq.in_([seq for _, seq in theirs])
                )
            )


async def forget_user(connection: AsyncConnection, user: UserKey) -> None:
    """Remove what a user put to messages and hid. Counters follow."""
    theirs = REACTION.c.user_id == user
    touched = REACTION.select().with_only_columns(REACTION.c.message_id, REACTION.c.emoji)
    for row in (await connection.execute(touched.where(theirs, REACTION.c.added))).all():
        counter = (REACTION_COUNT.c.message_id == row.message_id) & (REACTION_COUNT.c.emoji == row.emoji)
        await connection.execute(
            update(REACTION_COUNT).where(counter).values(count=REACTION_COUNT.c.count - 1)
        )
    await connection.execute(delete(REACTION).where(theirs))
    await connection.execute(delete(HIDDEN).where(HIDDEN.c.user_id == user))
    await connection.execute(update(PIN).where(PIN.c.by_id == user).values(by_id=0))
