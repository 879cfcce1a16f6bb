"""Who sits on which connection of this node, and who must leave when one more comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from hub.core.identity import Device, EndUser, SocketPolicy
from hub.core.message import UserKey

L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class Seat:
    """An authenticated session: its id, the user and the device. What presence registers."""

    id: str
    user: EndUser
    device: Device


class Occupant(NamedTuple):
    """A session as far as the policy looks at it, on whichever node."""

    session: str
    device: str
    platform: str


def occupant(seat: Seat) -> Occupant:
    """The same of a seat."""
    return Occupant(seat.id, seat.device.id, seat.device.platform)


@dataclass(frozen=True, slots=True)
class Room:
    """Which sessions leave so that a new one has room, or that it has none."""

    leaving: frozenset[str] = frozenset()
    refused: bool = False


def make_room(taken: Sequence[Occupant], new: Occupant, policy: SocketPolicy) -> Room:
    """Decide by the app's policy; `taken` are the user's other sessions, oldest first.

    The same device always replaces itself: its older connection is one that it has lost.
    """
    same = [other for other in taken if other.device == new.device]
    rivals = [other for other in taken if other.platform == new.platform and other.device != new.device]
    surplus = max(0, len(rivals) + 1 - policy.sessions_per_platform)
    if surplus and not policy.replace_oldest:
        return Room(refused=True)
    return Room(frozenset(other.session for other in same + rivals[:surplus]))


class Seats(Generic[L]):
    """The connections of each user on this node, oldest first.

    Tuples, replaced on every change: whoever iterates is not disturbed, and one is all that most users have.
    """

    def __init__(self) -> None:
        self.by_user: dict[UserKey, tuple[L, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[L]:
        for links in list(self.by_user.values()):
            yield from links

    def of(self, user: UserKey) -> tuple[L, ...]:
        """The connections of a user."""
        return self.by_user.get(user, ())

    def add(self, user: UserKey, link: L) -> bool:
        """Take a seat. True for the user's first."""
        links = self.by_user.get(user, ())
        self.by_user[user] = (*links, link)
        self._count += 1
        return not links

    def remove(self, user: UserKey, link: L) -> bool:
        """Leave. True for the user's last; False too where the seat was not taken."""
        links = self.by_user.get(user, ())
        if link not in links:
            return False
        self._count -= 1
        rest = tuple(other for other in links if other is not link)
        if rest:
            self.by_user[user] = rest
            return False
        del self.by_user[user]
        return True
