"""Frames about what a user keeps: of a conversation, and contacts. Only the user's own devices get them."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct


class ConversationState(Struct, frozen=True, tag_field="type", tag="conversation"):
    """What the user keeps of a conversation has changed; of two the one with the higher `rev` holds. `mine` is the
    whole of it, as `PATCH /v1/conversations/{id}/me` answers."""

    conversation: str
    rev: int
    mine: dict[str, Any]


class ListBatch(Struct, frozen=True, tag_field="type", tag="batch"):
    """A page of the user's conversation list, as `GET /v1/conversations` has it. `next` is the `after` of the next
    page, null at the end."""

    id: str | int
    conversations: list[Raw]
    next: str | None


class Stale(Struct, frozen=True, gc=False, tag_field="type", tag="stale"):
    """What is not stored (`read`, `conversation`, `contact`) may have been missed: read the lists again."""


class ContactChanged(Struct, frozen=True, tag_field="type", tag="contact"):
    """A contact of the user was made or changed, or (null) is gone."""

    user: str
    contact: dict[str, Any] | None
