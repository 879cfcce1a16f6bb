"""What is done in a group, what came of it, and who was to be allowed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.core.conversation import Role
from hub.core.errors import Refused
from hub.core.message import Accepted, UserKey
from tests.support.chat_model import Group
from tests.support.mortal import Died

RANKS = [Role.OWNER, Role.ADMIN, Role.MEMBER, Role.READONLY]


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that somebody does in a group."""

    what: str
    user: UserKey
    node: int = 0
    role: Role = Role.MEMBER
    also: tuple[UserKey, ...] = ()
    """Others whom it is about, too."""
    by: UserKey | None = None
    """Who does it; None is the business system."""
    message: str | None = None
    """Which message it is about."""
    on: bool = True
    """Whether silence begins or ends."""

    @property
    def about(self) -> tuple[UserKey, ...]:
        """Whose membership it changes."""
        return (self.user, *self.also) if self.what in ("add", "remove", "leave", "role") else ()


@dataclass(slots=True)
class Done:
    """What became of it: an answer, an error, or nothing that anybody knows."""

    op: Op
    answer: Any
    client_msg_id: str = ""

    @property
    def refused(self) -> bool:
        return isinstance(self.answer, Refused)

    @property
    def unknown(self) -> bool:
        return isinstance(self.answer, Died)

    @property
    def done(self) -> bool:
        return not isinstance(self.answer, Exception)


@dataclass(slots=True)
class Sent:
    """A message on its way, until it is in the log."""

    group: int
    user: UserKey
    text: str
    accepted: Accepted | None = None


class Before:
    """A group as it was before something was done."""

    def __init__(self, group: Group) -> None:
        self.top = group.top
        self.fanout = group.fanout
        self.roles = dict(group.roles)
        self.dissolved = group.dissolved
        self.barred = set(group.barred)
        self._speakers = {user for user in group.roles if group.may_speak(user)}

    def may_speak(self, user: UserKey) -> bool:
        """Whether this user might speak then."""
        return user in self._speakers

    def may(self, op: Op) -> bool:
        """Whether this change was to be allowed, by itself."""
        target = self.roles.get(op.user)
        if op.what == "leave":
            return target is not None and (target is not Role.OWNER or len(self.roles) == 1 or self.dissolved)
        if self.dissolved:
            return False
        if op.what in ("remove", "role", "silence") and target is None:
            return False
        if op.what == "role" and target is Role.OWNER:
            return False
        return op.by is None or self._may(op, self.roles.get(op.by), target)

    def _may(self, op: Op, doer: Role | None, target: Role | None) -> bool:
        """The same for a member. Who leads may change who is lower, and make lower ones; the owner alone hands over."""
        if op.what == "add" and op.role is Role.MEMBER:  # whom members may bring in, as groups are made
            kept_out = doer is Role.MEMBER and not self.barred.isdisjoint(op.about)
            return doer not in (None, Role.READONLY) and not kept_out
        if doer not in (Role.OWNER, Role.ADMIN):
            return False
        rank = RANKS.index(doer)
        if op.what == "add":
            return op.role is not Role.OWNER and rank < RANKS.index(op.role)
        if op.what == "role" and op.role is Role.OWNER:
            return doer is Role.OWNER
        concerned = [target, op.role] if op.what == "role" else [target]
        return all(role is not None and rank < RANKS.index(role) for role in concerned)
