"""Pure: a batch as rows, table by table, and what must hold before they are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from hub.core.conversation import Conversation
from hub.core.message import ConversationId, UserKey
from hub.core.ports import Batch
from hub.store import sql_rows as rows
from hub.store.columns import to_micros
from hub.store.sql_bulk import Clash, Insertion, Rows
from hub.store.tables import metadata

_tables = metadata.tables
_MADE_VERSION = 1
_conversations = Insertion(
    _tables["conversation"],
    ("id", "app_id", "kind", "title", "fanout", "version", "member_count", "metadata", "created_at"),
    Clash.IGNORE,
)
_members = Insertion(
    _tables["member"],
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)
_messages = Insertion(_tables["message"], rows.MESSAGE_COLUMNS)
_entries = Insertion(_tables["queue_entry"], rows.ENTRY_COLUMNS)
_notifications = Insertion(_tables["notification"], rows.NOTIFICATION_COLUMNS)
_deliveries = Insertion(_tables["delivery"], rows.DELIVERY_COLUMNS)
_events = Insertion(_tables["delivery_event"], rows.EVENT_COLUMNS)
_idempotency = Insertion(
    _tables["idempotency"], ("key", "fingerprint", "resource_id", "status", "response", "created_at")
)
_batches = Insertion(_tables["publish_batch"], ("id", "created_at", "published", "refs"))


def conversations_made(batch: Batch) -> list[tuple[Insertion, Rows]]:
    """The conversations that the batch's first messages make, and their members. Those that a rival has made
    meanwhile stay as they are: the versions tell whether that is right."""
    at = to_micros(batch.at)
    made = sorted(batch.conversations, key=lambda conversation: conversation.id)
    return [
        (
            _conversations,
            [
                (c.id, c.app, c.kind.value, "", c.fanout.value, _MADE_VERSION, len(_people(c)), "{}", at)
                for c in made
            ],
        ),
        (_members, [(c.id, user, "member", 0, 0, False, at) for c in made for user in _people(c)]),
    ]


def expected_versions(batch: Batch) -> Mapping[ConversationId, int]:
    """The version at which each conversation of the batch must be."""
    made = {conversation.id: _MADE_VERSION for conversation in batch.conversations}
    return made | {id_: version or _MADE_VERSION for id_, version in batch.versions.items()}


def claim_keys(batch: Batch) -> list[str]:
    """The Idempotency-Keys of the batch."""
    return [draft.idempotency.key for draft in batch.drafts if draft.idempotency is not None]


def asked_at(batch: Batch) -> datetime:
    """No later than when `prior` looked: what did not count there must not be in the way here."""
    return max((batch.at, *(draft.created_at for draft in batch.drafts)))


def insertions(batch: Batch) -> list[tuple[Insertion, Rows]]:
    """Everything else, in the order in which it is written."""
    at = to_micros(batch.at)
    pairs = list(zip(batch.drafts, batch.published, strict=True))
    return [
        (_messages, [rows.message_values(item.message) for item in batch.published]),
        (_entries, [rows.entry_values(entry) for item in batch.published for entry in item.entries]),
        (
            _notifications,
            [
                rows.notification_values(draft, draft.notification, item)
                for draft, item in pairs
                if draft.notification is not None
            ],
        ),
        (
            _idempotency,
            [
                (draft.idempotency.key, draft.idempotency.fingerprint, draft.id, 0, "", at)
                for draft in batch.drafts
                if draft.idempotency is not None
            ],
        ),
        (_deliveries, [rows.delivery_values(d, version=d.version) for d in batch.deliveries]),
        (_events, [rows.event_values(d, version=d.version, at=at) for d in batch.deliveries]),
        (_batches, [(batch.id, at, False, rows.refs_of(batch.published))]),
    ]


def _people(conversation: Conversation) -> tuple[UserKey, ...]:
    """Whom the new conversation has: a direct one with oneself has one member."""
    return tuple(dict.fromkeys(conversation.members))
