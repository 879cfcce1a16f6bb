"""Pure: who may change a message, for how long, and what an emoji is."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hub.core import group_rules
from hub.core.bodies import FORWARD
from hub.core.conversation import Conversation, ConversationKind, Membership, Role
from hub.core.errors import Conflict, Forbidden, NotFound, Refused
from hub.core.group_rules import BUSINESS, GroupRules, Verb
from hub.core.message import RECALLED, SYSTEM, AppId, Message, UserKey

MAX_EMOJI: Final = 20
"""Different emojis at one message."""
MAX_PINS: Final = 50
"""Pinned messages of one conversation."""
MAX_HIDDEN: Final = 100
"""Messages hidden by one request."""
MAX_FORWARD: Final = 50
"""Messages forwarded by one request."""
MAX_FORWARD_DEPTH: Final = 3
_EMOJI_LENGTH: Final = 32
_SHORTCODE = re.compile(r":[a-z0-9_+-]{1,28}:\Z")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3\\Z")
_SYMBOLS: Final = frozenset({"So", "Sk", "Sm", "Mn", "Me", "Cf", "Po", "Pd", "Co"})
_LETTERS: Final = frozenset("ℹ")


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """How long a sender may take a message back, and change it; no time at all switches it off."""

    recall_window: timedelta = timedelta(minutes=2)
    edit_window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Doer:
    """Who asks: a user, or (`key` SYSTEM) the business system itself."""

    app: AppId
    key: UserKey
    id: str | None

    @property
    def business(self) -> bool:
        """Whether no user stands behind it."""
        return self.key == SYSTEM


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that the doer can see, where it is, and how they belong there (None: the business system)."""

    message: Message
    conversation: Conversation
    membership: Membership | None


def emoji_fault(emoji: str) -> Refused | None:
    """Why this is no emoji. Symbols, with what joins and colours them; or a product's own as `:name:`. Words are not:
    who may not speak must not speak by reacting."""
    if _SHORTCODE.match(emoji) or _KEYCAP.match(emoji):
        return None
    symbols = all(c in _LETTERS or unicodedata.category(c) in _SYMBOLS for c in emoji)
    visible = any(unicodedata.category(c) in {"So", "Sm", "Po", "Pd", "Co"} or c in _LETTERS for c in emoji)
    if not 1 <= len(emoji) <= _EMOJI_LENGTH or not symbols or not visible or emoji.isascii():
        return Refused("emoji_invalid", f"An emoji of at most {_EMOJI_LENGTH} characters, or `:name:`.")
    return None


def edit_fault(seen: Seen, doer: Doer, limits: ChatLimits, now: datetime) -> Refused | None:
    """Why the doer may not edit it."""
    message = seen.message
    if message.sender != doer.key:
        return Forbidden("not_the_sender", "Only who sent a message may edit it.")
    fault = changeable_fault(message)
    if fault is not None:
        return fault
    if message.kind == FORWARD or message.forward_of is not None:
        return Conflict("message_not_editable", "What was forwarded is somebody else's: it is not edited.")
    if not doer.business and now - message.created_at > limits.edit_window:
        return Forbidden("edit_window_over", f"Messages may be edited for {_spoken(limits.edit_window)}.")
    return None


def changeable_fault(message: Message) -> Refused | None:
    """Why nobody can change it any more, or not in this way."""
    if message.kind == RECALLED:
        return Conflict("message_recalled", "This message was taken back.")
    if message.notification is not None:
        return Conflict(
            "message_is_notification",
            "This is a notification: it is recalled by its own route, and never edited.",
        )
    return None


def recall_fault(
    seen: Seen, doer: Doer, sender: Membership | None, limits: ChatLimits, now: datetime
) -> Refused | None:
    """Why the doer may not take it back. `sender` is how the message's sender belongs to the conversation now."""
    message = seen.message
    if message.notification is not None:
        return changeable_fault(message)
    if doer.business:
        return None
    own = message.sender == doer.key
    if own and now - message.created_at <= limits.recall_window:
        return None
    role = seen.membership.role if seen.membership else None
    if own and (seen.conversation.kind is ConversationKind.DIRECT or role not in (Role.OWNER, Role.ADMIN)):
        return Forbidden(
            "recall_window_over", f"Messages may be taken back for {_spoken(limits.recall_window)}."
        )
    if own:
        return None
    if message.sender == SYSTEM or seen.conversation.kind is ConversationKind.DIRECT:
        return Forbidden("not_the_sender", "Only who sent a message may take it back here.")
    return group_rules.may(role, Verb.RECALL, sender.role if sender else None, rules_of(seen.conversation))


def pin_fault(seen: Seen, doer: Doer) -> Refused | None:
    """Why the doer may not pin or unpin it."""
    if doer.business:
        return None
    role = seen.membership.role if seen.membership else None
    return group_rules.may(role, Verb.PIN, None, rules_of(seen.conversation))


def mention_all_fault(conversation: Conversation, role: Role | None, *, business: bool) -> Refused | None:
    """Why somebody may not mention everybody here."""
    standing = BUSINESS if business else role
    return group_rules.may(standing, Verb.MENTION_ALL, None, rules_of(conversation))


def rules_of(conversation: Conversation) -> GroupRules:
    """What matters of a conversation's rules here."""
    return GroupRules(kind=conversation.kind, dissolved=conversation.speech.dissolved)


def message_missing() -> NotFound:
    """The one answer to whoever may not see a message, whether it is there or not."""
    return NotFound("message_not_found", "There is no such message, or you cannot see it.")


def derived_id(*parts: object) -> str:
    """The client_msg_id of what the hub says itself: the same change asked for twice is one. No client can send it: it
    has a space."""
    return "hub " + hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:40]


def _spoken(window: timedelta) -> str:
    seconds = int(window.total_seconds())
    return f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"
