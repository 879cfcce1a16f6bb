"""Pure: who may do what in a group or a thread, and who may speak there now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final, Literal, TypeAlias

from hub.core.conversation import Conversation, ConversationKind, Fanout, Membership, Role
from hub.core.errors import Conflict, Forbidden, NotFound, Refused
from hub.core.message import Draft

NOTICE: Final = "notice"
"""The kind of the control message that tells members of a change."""
_RECALL: Final = "recall"
_REACTION: Final = "reaction"


class Business(Enum):
    """The business system, which is above every role and in no conversation."""

    BUSINESS = "business"


BUSINESS: Final = Business.BUSINESS
Standing: TypeAlias = Role | Literal[Business.BUSINESS] | None
"""What somebody is in a conversation; None is in no way in it."""


class Invite(StrEnum):
    """Who may bring others in."""

    MEMBERS = "members"
    ADMINS = "admins"


class Verb(StrEnum):
    """What can be done in a conversation beside speaking. `target` in `may` is what the one concerned is there."""

    INVITE = "invite"
    """Bring somebody in; the target is the role that they get."""
    JOIN = "join"
    LEAVE = "leave"
    """The target is None for the last who leaves, else what is highest among those who stay."""
    KICK = "kick"
    SILENCE = "silence"
    ROLE = "role"
    """Give a role; the target is the higher of the old and the new one."""
    SILENCE_ALL = "silence_all"
    EDIT = "edit"
    """Title, avatar, metadata."""
    SETTINGS = "settings"
    ANNOUNCE = "announce"
    TRANSFER = "transfer"
    DISSOLVE = "dissolve"
    PIN = "pin"
    RECALL = "recall"
    """Take back a message of somebody else."""
    MENTION_ALL = "mention_all"


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What a conversation has settled about itself."""

    kind: ConversationKind = ConversationKind.GROUP
    invite: Invite = Invite.ADMINS
    open: bool = False
    dissolved: bool = False


_RANK: Final[Mapping[Standing, int]] = {
    None: 0,
    Role.READONLY: 1,
    Role.MEMBER: 2,
    Role.ADMIN: 3,
    Role.OWNER: 4,
    BUSINESS: 5,
}
_NEEDED: Final[Mapping[Verb, Standing]] = {
    Verb.INVITE: Role.ADMIN,
    Verb.LEAVE: Role.READONLY,
    Verb.KICK: Role.ADMIN,
    Verb.SILENCE: Role.ADMIN,
    Verb.ROLE: Role.ADMIN,
    Verb.SILENCE_ALL: Role.ADMIN,
    Verb.EDIT: Role.ADMIN,
    Verb.SETTINGS: Role.OWNER,
    Verb.ANNOUNCE: Role.ADMIN,
    Verb.TRANSFER: Role.OWNER,
    Verb.DISSOLVE: Role.OWNER,
    Verb.PIN: Role.ADMIN,
    Verb.RECALL: Role.ADMIN,
    Verb.MENTION_ALL: Role.ADMIN,
}
_UPON_SOMEBODY: Final = frozenset({Verb.KICK, Verb.SILENCE, Verb.ROLE, Verb.TRANSFER})
_UPON_LOWER: Final = frozenset({Verb.KICK, Verb.SILENCE, Verb.ROLE, Verb.RECALL})
_IN_DIRECT: Final = frozenset({Verb.PIN})


def higher(one: Role, other: Role) -> Role:
    """The role that is above the other."""
    return max(one, other, key=lambda role: _RANK[role])


def may(actor: Standing, verb: Verb, target: Role | None, rules: GroupRules) -> Refused | None:
    """Why this actor may not do it, or None. Who is not in a conversation is told that there is none."""
    if actor is None and not (verb is Verb.JOIN and rules.open):
        return not_there()
    if rules.kind not in (ConversationKind.GROUP, ConversationKind.THREAD):
        return None if _among_two(verb, rules) else _not_a_group(rules)
    if rules.dissolved:
        return None if verb is Verb.LEAVE else dissolved()
    if verb in _UPON_SOMEBODY and target is None:
        return NotFound("member_not_found", "This user is not in the conversation.")
    if verb is Verb.JOIN:
        return None
    needed = _needed(verb, rules)
    if _RANK[actor] < _RANK[needed]:
        return Forbidden("role_too_low", f"This needs the role {needed}, at least.")
    return _about(actor, verb, target)


def _about(actor: Standing, verb: Verb, target: Role | None) -> Refused | None:
    """What depends on whom it concerns."""
    if verb is Verb.LEAVE and actor is Role.OWNER and target is not None:
        return Conflict("owner_must_transfer", "Hand the group over before you leave it, or dissolve it.")
    if verb is Verb.INVITE and target is Role.OWNER and actor is not BUSINESS:
        return Forbidden(
            "role_too_low", "Ownership is handed over (`PUT …/owner`), not given to a new member."
        )
    if verb is Verb.INVITE and target is Role.ADMIN and _RANK[actor] <= _RANK[Role.ADMIN]:
        return Forbidden("role_too_low", "Only the owner makes admins.")
    if verb is Verb.TRANSFER and target is Role.OWNER:
        return Conflict("owner_already", "This user owns the group already.")
    if verb in _UPON_LOWER and _RANK[actor] <= _RANK[target]:
        return Forbidden("role_too_low", "This member's role is not below yours.")
    return None


def _needed(verb: Verb, rules: GroupRules) -> Standing:
    if verb is Verb.INVITE and rules.invite is Invite.MEMBERS:
        return Role.MEMBER
    return _NEEDED[verb]


def _among_two(verb: Verb, rules: GroupRules) -> bool:
    return rules.kind is ConversationKind.DIRECT and verb in _IN_DIRECT


def _not_a_group(rules: GroupRules) -> Refused:
    return Conflict(
        "not_a_group", f"This is a {rules.kind} conversation; only groups and threads can be changed."
    )


def not_there() -> Refused:
    """The same answer for what does not exist and for what is not the caller's."""
    return NotFound("conversation_not_found", "There is no such conversation, or you are not in it.")


def dissolved() -> Refused:
    """The group is over."""
    return Conflict("conversation_dissolved", "This group was dissolved: it can be read, and nothing more.")


def speech_refusal(draft: Draft, conversation: Conversation, membership: Membership | None) -> Refused | None:
    """Why this draft may not go into the conversation now. `membership` is looked at for READ fan-out only."""
    if draft.control and draft.kind == NOTICE:
        return None
    if conversation.speech.dissolved:
        return dissolved()
    if not draft.as_member:
        return None
    role, until = _speaker(draft, conversation, membership)
    if role is None:
        return not_there()
    if draft.control and draft.kind == _RECALL:
        return None
    if draft.sender in conversation.blocked:
        # Nothing here says by whom or why.
        return Forbidden("blocked", "This user cannot be reached.")
    if role is Role.READONLY and not (draft.control and draft.kind == _REACTION):
        return Forbidden("read_only", "You may read in this conversation, but not write.")
    if until is not None and until > draft.created_at:
        return Forbidden("member_silenced", f"You are silenced until {until.isoformat()}.")
    if conversation.speech.silenced and _RANK[role] < _RANK[Role.ADMIN]:
        return Forbidden("group_silenced", "Only the owner and the admins may speak here at the moment.")
    return None


def _speaker(
    draft: Draft, conversation: Conversation, membership: Membership | None
) -> tuple[Role | None, datetime | None]:
    """What the sender is, as far as speaking goes, and until when silenced."""
    sender = draft.sender
    if conversation.fanout is Fanout.READ:
        return (membership.role, membership.silenced_until) if membership else (None, None)
    if sender not in conversation.members:
        return None, None
    role = Role.MEMBER
    if sender in conversation.readonly:
        role = Role.READONLY
    elif sender in conversation.speech.leaders:
        role = Role.ADMIN
    return role, conversation.speech.silenced_until.get(sender)
