"""What control messages change, as statements of the transaction that commits them.

One generator says it for all databases: it yields SQL with named parameters, and is sent the rows of what it SELECTs.
Who runs it is a thread with a SQLite connection, or an asyncio task with any other. It yields nothing for a batch
that changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import (
    RECALLED,
    Change,
    ConversationId,
    Edited,
    Hidden,
    Message,
    MessageId,
    Pinned,
    Reacted,
    Recalled,
)
from hub.core.ports import Batch
from hub.store.columns import to_micros
from hub.store.sql_engine import Dialect

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Step: TypeAlias = tuple[str, Rows]
Steps: TypeAlias = Generator[Step, Sequence[Sequence[Any]], None]

_SELECT: Final = "SELECT"
_EDIT = f"""
UPDATE message SET body = :body, mentions = :mentions, edited_at = :at, changed_seq = :seq
WHERE id = :message AND conversation_id = :conversation AND kind <> '{RECALLED}' AND changed_seq < :seq
"""  # noqa: S608
_REMEMBER_EDIT = "INSERT INTO message_edit (message_id, control_id) VALUES (:message, :control)"
# The inner SELECT twice, because MySQL does not update a table that it reads.
_EDIT_OF_WHAT_IS_GONE = f"""
UPDATE message SET body = :blank WHERE id = :control AND EXISTS (
  SELECT 1 FROM (SELECT id FROM message WHERE id = :message AND kind = '{RECALLED}') AS gone)
"""  # noqa: S608
_RECALL = f"""
UPDATE message SET kind = '{RECALLED}', body = '{{}}', mentions = NULL, reply_to = NULL, forward_of = NULL,
  changed_seq = CASE WHEN changed_seq < :seq THEN :seq ELSE changed_seq END
WHERE id = :message AND conversation_id = :conversation
"""  # noqa: S608
_RECALL_EDITS = """
UPDATE message SET body = :blank WHERE id IN (SELECT control_id FROM message_edit WHERE message_id = :message)
"""
_UNMENTION = "DELETE FROM mention WHERE conversation_id = :conversation AND seq = :seq"
_UNMENTION_ONE = f"{_UNMENTION} AND user_id = :user"
_MENTIONED = "SELECT user_id FROM mention WHERE conversation_id = :conversation AND seq = :seq"
_MENTION = "INSERT INTO mention (conversation_id, user_id, seq) VALUES (:conversation, :user, :seq)"
_REACTION = """
INSERT INTO reaction (message_id, emoji, user_id, added, seq) VALUES (:message, :emoji, :user, FALSE, 0)
"""
_REACTION_NOW = """SELECT added, seq FROM reaction
WHERE message_id = :message AND emoji = :emoji AND user_id = :user"""
_REACT = """
UPDATE reaction SET added = :added, seq = :seq
WHERE message_id = :message AND emoji = :emoji AND user_id = :user
"""
_COUNTER = "INSERT INTO reaction_count (message_id, emoji, count) VALUES (:message, :emoji, 0)"
_COUNT = "UPDATE reaction_count SET count = count + :more WHERE message_id = :message AND emoji = :emoji"
_PIN = """
INSERT INTO pin (conversation_id, message_id, added, seq, by_id, created_at)
VALUES (:conversation, :message, FALSE, 0, :by, :at)
"""
_PINNED = """
UPDATE pin SET added = :added, seq = :seq, by_id = :by, created_at = :at
WHERE conversation_id = :conversation AND message_id = :message AND seq < :seq
"""
_UNPIN = """
UPDATE pin SET added = FALSE, seq = CASE WHEN seq < :seq THEN :seq ELSE seq END
WHERE conversation_id = :conversation AND message_id = :message
"""
_HIDE = "INSERT INTO hidden (user_id, conversation_id, seq) VALUES (:user, :conversation, :seq)"


def changes(batch: Batch) -> list[tuple[Change, Message]]:
    """What the batch changes, each with the control message that says so, in one order for everybody: who changes the
    same rows at the same time waits, and does not stand in the way of whoever waits for them."""
    found = [
        (draft.change, item.message)
        for draft, item in zip(batch.drafts, batch.published, strict=True)
        if draft.change is not None
    ]
    return sorted(found, key=lambda pair: (getattr(pair[0], "message", ""), pair[1].seq))


def all_steps(batch: Batch, dialect: Dialect) -> Steps:
    """Everything, where the bodies are in SQL too. To be run after the batch's messages were inserted."""
    yield from body_steps(batch, dialect)
    yield from chat_steps(chat_of(batch), dialect)


def body_steps(batch: Batch, dialect: Dialect) -> Steps:
    """Edits and recalls of the rows in `message`."""
    for change, control in changes(batch):
        match change:
            case Edited():
                yield from _edit(change, control, dialect)
            case Recalled():
                named = {"message": change.message, "blank": blank(change.message)}
                row = {"message": change.message, "conversation": control.conversation, "seq": control.seq}
                yield _RECALL, [row]
                yield _RECALL_EDITS, [named]
            case _:
                pass


def blank(message: MessageId) -> str:
    """What is left of the body of a control message that edited a message which was recalled."""
    return msgspec.json.encode({"message": message}).decode()


def _edit(change: Edited, control: Message, dialect: Dialect) -> Steps:
    mentions = msgspec.json.encode(change.mentions).decode() if change.mentions else None
    yield (
        _EDIT,
        [
            {
                "message": change.message,
                "conversation": control.conversation,
                "body": change.body,
                "mentions": mentions,
                "at": to_micros(control.created_at),
                "seq": control.seq,
            }
        ],
    )
    names = {"message": change.message, "control": control.id}
    yield _once(_REMEMBER_EDIT, "message_id", dialect), [names]
    yield _EDIT_OF_WHAT_IS_GONE, [names | {"blank": blank(change.message)}]


class Told(NamedTuple):
    """Of a control message, what its change is written with."""

    conversation: ConversationId
    seq: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Chat:
    """What a batch does to other messages beside their bodies: mentions as rows, and changes with what says so."""

    mentioned: Rows = ()
    changes: Sequence[tuple[Change, Told]] = ()


def chat_of(batch: Batch) -> Chat:
    """That part of a batch."""
    mentioned = [
        {"conversation": item.message.conversation, "user": user, "seq": item.message.seq}
        for draft, item in zip(batch.drafts, batch.published, strict=True)
        for user in draft.mentioned
    ]
    told = [(change, Told(m.conversation, m.seq, m.created_at)) for change, m in changes(batch)]
    return Chat(mentioned, told)


def chat_steps(chat: Chat, dialect: Dialect) -> Steps:
    """Reactions, pins, mentions, what is hidden. Harmless when repeated, and when later ones were taken before."""
    if chat.mentioned:
        yield _once(_MENTION, "conversation_id", dialect), chat.mentioned
    if not chat.changes:
        return
    yield from _react([(c, m) for c, m in chat.changes if isinstance(c, Reacted)], dialect)
    for change, control in chat.changes:
        yield from _other(change, control, dialect)


def _other(change: Change, control: Told, dialect: Dialect) -> Steps:
    place = {"conversation": control.conversation, "seq": control.seq}
    match change:
        case Edited():
            about = {"conversation": control.conversation, "seq": change.seq}
            before = {int(user) for (user,) in (yield _MENTIONED, [about])}
            gone = sorted(before - set(change.mentioned))
            if gone:
                yield _UNMENTION_ONE, [about | {"user": user} for user in gone]
        case Recalled():
            yield _UNMENTION, [{"conversation": control.conversation, "seq": change.seq}]
            yield _UNPIN, [place | {"message": change.message}]
        case Pinned():
            row = place | {"message": change.message, "by": change.by, "at": to_micros(control.created_at)}
            known = {name: value for name, value in row.items() if name != "seq"}
            yield _once(_PIN, "conversation_id", dialect), [known]
            yield _PINNED, [row | {"added": change.added}]
        case Hidden():
            rows = [
                {"user": change.user, "conversation": change.conversation, "seq": seq} for seq in change.seqs
            ]
            yield _once(_HIDE, "user_id", dialect), rows
        case _:
            pass


@dataclass(slots=True)
class _Count:
    more: int = 0


def _react(found: Sequence[tuple[Reacted, Told]], dialect: Dialect) -> Steps:
    """Rows first made, then locked one by one in order, so that the counters move by what really changed."""
    if not found:
        return
    latest: dict[tuple[str, str, int], tuple[bool, int]] = {}
    for change, control in found:
        latest[change.message, change.emoji, change.user] = (change.added, control.seq)
    ordered = sorted(latest)
    keys = [{"message": message, "emoji": emoji, "user": user} for message, emoji, user in ordered]
    yield _once(_REACTION, "message_id", dialect), keys
    counts: dict[tuple[str, str], _Count] = {}
    written: list[Mapping[str, Any]] = []
    for key, names in zip(ordered, keys, strict=True):
        ((was, last),) = yield _locked(_REACTION_NOW, dialect), [names]
        added, seq = latest[key]
        if seq > last:
            written.append({**names, "added": added, "seq": seq})
            counts.setdefault(key[:2], _Count()).more += int(added) - int(bool(was))
    if written:
        yield _REACT, written
    moved = [{"message": m, "emoji": e, "more": c.more} for (m, e), c in sorted(counts.items()) if c.more]
    if moved:
        made = [{"message": row["message"], "emoji": row["emoji"]} for row in moved]
        yield _once(_COUNTER, "message_id", dialect), made
        yield _COUNT, moved


def _once(statement: str, column: str, dialect: Dialect) -> str:
    """An INSERT that passes over a key that is there already."""
    if dialect is Dialect.MYSQL:
        return f"{statement} ON DUPLICATE KEY UPDATE {column} = {column}"
    return f"{statement} ON CONFLICT DO NOTHING"


def _locked(statement: str, dialect: Dialect) -> str:
    return statement if dialect is Dialect.SQLITE else f"{statement} FOR UPDATE"


@cache
def _compiled(statement: str) -> TextClause:
    return text(statement)


def run_sqlite(connection: sqlite3.Connection, steps: Steps) -> None:
    """Take the steps on SQLite."""
    for statement, rows, answer in _taken(steps):
        if statement.startswith(_SELECT):
            answer.extend(connection.execute(statement, rows[0]).fetchall())
        else:
            connection.executemany(statement, rows)


async def run(connection: AsyncConnection, steps: Steps) -> None:
    """Take the steps anywhere else."""
    for statement, rows, answer in _taken(steps):
        if statement.startswith(_SELECT):
            found = await connection.execute(_compiled(statement), dict(rows[0]))
            answer.extend(tuple(row) for row in found)
        else:
            await connection.execute(_compiled(statement), [dict(row) for row in rows])


def _taken(steps: Steps) -> Iterator[tuple[str, Rows, list[Sequence[Any]]]]:
    """Each step with a list for the rows that it has found, which are then handed to the next."""
    try:
        step = next(steps)
        while True:
            answer: list[Sequence[Any]] = []
            yield step[0], step[1], answer
            step = steps.send(answer)
    except StopIteration:
        return
