"""What is promised of groups, as plain data: who was in one when, what was said, what each may see and has not read."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.core.conversation import Role
from hub.core.message import ConversationId, UserKey

NAMED = frozenset({"notice"})
"""Kinds of control messages that reach who is named in them, a member or not any more."""
GONE = frozenset({"removed", "left"})
"""Notices that somebody is a member no more."""
MOVES = GONE | {"created", "joined"}


@dataclass(slots=True)
class Said:
    """A committed message. `text` is None for what the hub itself says."""

    id: str
    seq: int
    sender: UserKey | None
    kind: str
    control: bool
    text: str | None
    referenced: bool
    """Every member of its time has a reference to it: the conversation was write-diffused, beyond doubt."""
    recalled: bool = False
    texts: list[str] = field(default_factory=list)
    """All that it ever said."""
    users: frozenset[str] = frozenset()
    """Whom a notice names."""
    event: str | None = None
    """What a notice tells of."""


@dataclass(slots=True)
class Period:
    """A membership: of the messages past `joined`, up to `left` for certain, and none past `left_at_most`."""

    joined: int
    left: int | None = None
    left_at_most: int | None = None

    def certain(self, seq: int) -> bool:
        """Whether the member was there for it, beyond doubt."""
        return seq > self.joined and (self.left is None or seq <= self.left)

    def possible(self, seq: int) -> bool:
        """Whether the member may have been there for it."""
        return seq > self.joined and (self.left_at_most is None or seq <= self.left_at_most)


@dataclass(slots=True)
class Group:
    """One group, as of the last moment at which nothing was under way."""

    id: ConversationId
    roles: dict[UserKey, Role] = field(default_factory=dict)
    periods: dict[UserKey, list[Period]] = field(default_factory=dict)
    log: dict[int, Said] = field(default_factory=dict)
    read: dict[UserKey, int] = field(default_factory=dict)
    silenced: set[UserKey] = field(default_factory=set)
    barred: set[UserKey] = field(default_factory=set)
    """Who was taken out: only who leads brings them back."""
    silent: bool = False
    dissolved: bool = False
    fanout: str = "write"

    @property
    def top(self) -> int:
        """The newest number."""
        return max(self.log, default=0)

    def by_id(self, message: str) -> Said:
        """A message by its id."""
        return next(said for said in self.log.values() if said.id == message)

    def came(self, user: UserKey, role: Role, joined: int) -> None:
        """Somebody is a member from now on."""
        self.roles[user] = role
        self.periods.setdefault(user, []).append(Period(joined))
        self.read[user] = joined

    def went(self, user: UserKey, certain: int, at_most: int) -> None:
        """Somebody is a member no more."""
        del self.roles[user]
        self.read.pop(user, None)
        self.silenced.discard(user)
        period = self.periods[user][-1]
        period.left, period.left_at_most = certain, at_most

    def present(self, user: UserKey) -> Period | None:
        """The membership that goes on."""
        return self.periods[user][-1] if user in self.roles else None

    def visible(self, user: UserKey) -> list[Said]:
        """What history shows a member now."""
        period = self.present(user)
        if period is None:
            return []
        return [self.log[seq] for seq in sorted(self.log) if seq > period.joined]

    def allowed(self, user: UserKey, name: str, said: Said) -> bool:
        """Whether a device of this user may have it."""
        if any(period.possible(said.seq) for period in self.periods.get(user, ())):
            return True
        if said.kind not in NAMED:
            return False
        return (
            name in said.users
            or said.event == "dissolved"
            or (said.event == "fanout" and self._told_before_going(name, said))
        )

    def _told_before_going(self, name: str, said: Said) -> bool:
        """Whether the next that the log tells of this user is that they go: they were still there when what is told
        here was done, although somebody may have died in between and it was told later than they went."""
        about = [
            it for it in self.log.values() if it.seq > said.seq and name in it.users and it.event in MOVES
        ]
        return bool(about) and min(about, key=lambda it: it.seq).event in GONE

    def owed(self, user: UserKey) -> set[int]:
        """The numbers that every device of this user has once it is up to date."""
        present = self.present(user)
        now = {said.seq for said in self.visible(user)} if present else set()
        return now | self.referenced(user)

    def referenced(self, user: UserKey) -> set[int]:
        """The numbers that the queue alone must bring."""
        periods = self.periods.get(user, ())
        return {s.seq for s in self.log.values() if s.referenced and any(p.certain(s.seq) for p in periods)}

    def unread(self, user: UserKey) -> int:
        """Messages of others past the read mark: neither the hub's own nor what was taken back."""
        return sum(
            said.seq > self.read[user] and not said.control and not said.recalled and said.sender != user
            for said in self.visible(user)
        )

    def may_speak(self, user: UserKey) -> bool:
        """Whether a message of this user is accepted now."""
        role = self.roles.get(user)
        if role is None or role is Role.READONLY or self.dissolved or user in self.silenced:
            return False
        return not self.silent or role in (Role.OWNER, Role.ADMIN)
