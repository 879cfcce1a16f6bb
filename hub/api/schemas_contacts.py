"""Schemas of contacts, and of what a user keeps of a conversation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hub.api.schemas import FreeObject, Line, Moment, Name, Seq, Shown, Strict, Text, UserId, example
from hub.core.contacts import ContactRecord
from hub.core.own_state import OwnState

_DRAFT_BYTES: Final = 8_192
_WRITTEN: Final[dict[str, Any]] = {
    "kind": "customer",
    "alias": "王总 🐼",
    "note": "三月续约",
    "tags": ["vip", "华东"],
    "starred": True,
}
_CONTACT: Final[dict[str, Any]] = {
    "user_id": "u_9",
    "name": "王小明",
    **_WRITTEN,
    "blocked": False,
    "created_at": "2026-03-01T01:12:00Z",
    "updated_at": "2026-03-01T01:15:42Z",
}
_STATE: Final[dict[str, Any]] = {
    "pinned_at": "2026-03-01T01:12:00Z",
    "muted": False,
    "muted_until": None,
    "draft": {"text": "我想说"},
    "draft_at": "2026-03-01T01:15:42Z",
    "cleared_seq": 0,
    "marked_unread": False,
    "nickname": "",
}

ContactKind = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,31}$"),
    Field(description="As what: the product's own vocabulary.", examples=["family", "colleague", "customer"]),
]
Tag = Annotated[str, StringConstraints(pattern=r'^[^"\\\x00-\x1f\x7f]{1,32}$')]


def _draft(value: Any) -> Any:
    if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) > _DRAFT_BYTES:
        message = f"a draft has at most {_DRAFT_BYTES} bytes"
        raise ValueError(message)
    return value


class ContactFields(Strict):
    """What a user says of a contact. A field left out stays as it is."""

    model_config = example(_WRITTEN)

    kind: ContactKind | None = None
    alias: Name | None = Field(None, description="What the user calls the contact.")
    note: Annotated[Text, StringConstraints(max_length=1_000)] | None = None
    tags: Annotated[list[Tag], Field(max_length=20)] | None = Field(None, description="Replaced as a whole.")
    starred: bool | None = None
    blocked: bool | None = Field(
        None,
        description="The user does not want to hear of this one: direct messages of theirs are refused (`blocked`), "
        "and they are told neither presence nor typing. Groups stay as they are.",
    )


class ContactItem(ContactFields):
    """A contact in an import."""

    model_config = example({"user_id": "u_9", **_WRITTEN})

    user_id: UserId


class ContactBatch(Strict):
    """Contacts to make or change, in one transaction."""

    model_config = example(
        {"contacts": [{"user_id": "u_9", **_WRITTEN}, {"user_id": "u_7", "kind": "family"}]}
    )

    contacts: Annotated[list[ContactItem], Field(min_length=1, max_length=500)]


class ContactShown(Shown):
    """A contact, as only its owner sees it."""

    model_config = example(_CONTACT, title="Contact")

    user_id: str
    name: str = Field(description="What the product calls the user.")
    kind: str
    alias: str
    note: str
    tags: list[str]
    starred: bool
    blocked: bool
    created_at: datetime
    updated_at: datetime


class ContactResult(ContactShown):
    """A contact of an import, and whether it is new."""

    model_config = example({**_CONTACT, "created": True}, title="ContactResult")

    created: bool


class ContactResults(Shown):
    """The contacts of an import, in the order in which they were named."""

    model_config = example({"data": [{**_CONTACT, "created": True}]}, title="ContactResults")

    data: list[ContactResult]


class OwnStatePatch(Strict):
    """What is left out stays as it is. Only the user sees any of it, on all of the user's devices."""

    model_config = example({"pinned": True, "draft": {"text": "我想说"}})

    pinned: bool | None = None
    muted: bool | None = Field(
        None, description="Muted conversations disturb nobody: no channel beside the socket."
    )
    muted_until: Moment | None = Field(None, description="The mute ends by itself; with `muted` true only.")
    draft: Annotated[FreeObject | Text, AfterValidator(_draft)] | None = Field(
        None, description="An object or a string of at most 8,192 bytes; null removes it."
    )
    cleared: bool = Field(
        False, description="Hide everything up to the newest message from this user, for good."
    )
    cleared_seq: Seq | None = Field(None, description="The same up to a seq. It only moves forward.")
    marked_unread: bool | None = None
    nickname: Annotated[Line, StringConstraints(max_length=64)] | None = Field(
        None, description="What the user calls the conversation."
    )

    @model_validator(mode="after")
    def _a_mute_that_ends(self) -> Self:
        if self.muted_until is not None and not self.muted:
            message = "`muted_until` goes with `muted` true"
            raise ValueError(message)
        return self


class OwnStateShown(Shown):
    """What a user keeps of a conversation."""

    pinned_at: datetime | None
    muted: bool
    muted_until: datetime | None
    draft: Any
    draft_at: datetime | None
    cleared_seq: int
    marked_unread: bool
    nickname: str


class OwnStateAnswer(Shown):
    """The state after the change. Of two the one with the higher `rev` holds; the user's devices get the same frame."""

    model_config = example(
        {"type": "conversation", "conversation": "cnv_0195a0", "rev": 3, "mine": _STATE}, title="OwnState"
    )

    type: str
    conversation: str
    rev: int
    mine: OwnStateShown


def contact_shown(record: ContactRecord) -> ContactShown:
    """A contact as answers show it."""
    return ContactShown(
        user_id=record.user_id,
        name=record.name,
        kind=record.kind,
        alias=record.alias,
        note=record.note,
        tags=list(record.tags),
        starred=record.starred,
        blocked=record.blocked,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def own_state_shown(state: OwnState) -> OwnStateShown:
    """A state as answers and frames show it."""
    return OwnStateShown(
        pinned_at=state.pinned_at,
        muted=state.muted,
        muted_until=state.muted_until,
        draft=None if state.draft is None else json.loads(state.draft),
        draft_at=state.draft_at,
        cleared_seq=state.cleared_seq,
        marked_unread=state.marked_unread,
        nickname=state.nickname,
    )
