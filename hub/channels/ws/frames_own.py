"""Frames that only a user's own devices get: what the user keeps of a conversation, and contacts."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class ConversationState(Struct, frozen=True, tag_field="type", tag="conversation"):
    """What the user keeps of a conversation has changed; of two the one with the higher `rev` holds. `mine` is the
    whole of it, as `PATCH /v1/conversations/{id}/me` answers."""

    conversation: str
    rev: int
    mine: dict[str, Any]


class ContactChanged(Struct, frozen=True, tag_field="type", tag="contact"):
    """A contact of the user was made or changed, or (null) is gone."""

    user: str
    contact: dict[str, Any] | None
