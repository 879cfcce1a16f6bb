"""Who follows, who leaves and who scanned an invitation, written into the bindings."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import datetime, timedelta
from typing import Final, Protocol

from hub.channels._wechat.answers import Follower
from hub.channels._wechat.client import WeChatClient
from hub.channels._wechat.events import Followed, Origin, Scanned, Unfollowed
from hub.channels._wechat.faults import Effect, Failure
from hub.channels._wechat.invitations import token_in
from hub.channels._wechat.memory import Memory
from hub.core.accounts import TICKET_LIFE, Account, BindingBook, BindingState, Sighting, TicketKind
from hub.core.later import Later
from hub.core.message import UserKey
from hub.core.ports import Clock

log = logging.getLogger("hub.wechat")

_ORDER_KEPT: Final = timedelta(days=1)
_AT_ONCE: Final = 8
_WAITING: Final = 1_000


class Line(Protocol):
    """One account, ready to be spoken to."""

    @property
    def client(self) -> WeChatClient:
        """Its calls."""
        ...


class Lines(Protocol):
    """How accounts are spoken to (switchboard.Switchboard)."""

    async def line(self, account: Account, *, recheck: bool = False) -> Line | Failure:
        """A Failure where the account's secrets are missing or cannot be read. Raises nothing. With `recheck` the
        secrets are those of this moment, and not of a few seconds ago."""
        ...


class Lookups:
    """Questions about people, asked of WeChat in the background: a few at once, and no more waiting than memory takes.
    One that is not asked or not answered is made up for by the next event, or by a refresh."""

    def __init__(
        self,
        *,
        lines: Lines,
        bindings: BindingBook,
        later: Later,
        at_once: int = _AT_ONCE,
        waiting: int = _WAITING,
    ) -> None:
        self._lines = lines
        self._bindings = bindings
        self._later = later
        self._room = asyncio.Semaphore(at_once)
        self._limit = waiting
        self._waiting = 0
        self.dropped = 0
        """Questions that there was no room for."""

    def ask(self, account: Account, openid: str, *, doubt: bool) -> None:
        """Note the person's union id; where there is `doubt`, also whether they follow."""
        if self._waiting >= self._limit:
            self.dropped += 1
            return
        self._waiting += 1
        self._later.call(timedelta(0), lambda: self._ask(account, openid, doubt))

    async def _ask(self, account: Account, openid: str, doubt: bool) -> None:
        try:
            async with self._room:
                answer = await ask_follower(self._lines, account, openid)
            sighting = sighting_of(account, openid, answer)
            if isinstance(answer, Failure):
                log.info("wechat_lookup_failed", extra={"account": account.id, "detail": answer.detail})
            if sighting is not None and (doubt or sighting.union_id is not None):
                # Without doubt the event is the newer news: the person may have left while WeChat was asked.
                state = sighting.state if doubt else None
                await self._bindings.note(
                    [Sighting(account.id, openid, "event", union_id=sighting.union_id, state=state)]
                )
        finally:
            self._waiting -= 1


async def ask_follower(lines: Lines, account: Account, openid: str) -> Follower | Failure:
    """Whether a person follows, and their union id: one question to WeChat. Raises nothing."""
    line = await lines.line(account)
    return line if isinstance(line, Failure) else await line.client.follower(openid)


def sighting_of(account: Account, openid: str, answer: Follower | Failure) -> Sighting | None:
    """What WeChat's answer teaches about an address; None where it teaches nothing."""
    match answer:
        case Follower(following=following, unionid=unionid):
            state = BindingState.ACTIVE if following else BindingState.UNFOLLOWED
            return Sighting(account.id, openid, "event", union_id=unionid, state=state)
        case Failure(effect=Effect.NO_SUCH_OPENID):
            return Sighting(account.id, openid, "event", state=BindingState.INVALID)
        case _:
            return None


class Followers:
    """Every method may be called again for the same event, and may raise errors.Unavailable.

    Who brings a ticket back is the ticket's user: a QR code binds whoever scans it first, so it is for the screen of
    the person that it was made for. It works once, and for ten minutes.
    """

    def __init__(self, *, bindings: BindingBook, memory: Memory, lookups: Lookups, clock: Clock) -> None:
        self._bindings = bindings
        self._memory = memory
        self._lookups = lookups
        self._clock = clock

    async def followed(self, account: Account, event: Followed) -> None:
        """They follow, perhaps by an invitation."""
        newest, sure = await self._order(account, event.origin, "+")
        user = await self._invited(account, event.origin.openid, event.scene)
        await self._note(account, event.origin, user, BindingState.ACTIVE if newest else None)
        self._lookups.ask(account, event.origin.openid, doubt=not (newest and sure))

    async def scanned(self, account: Account, event: Scanned) -> None:
        """A follower scanned a code, perhaps an invitation. Other scenes are none of the hub's business."""
        if token_in(event.scene) is None:
            return
        newest, sure = await self._order(account, event.origin, "+")
        user = await self._invited(account, event.origin.openid, event.scene)
        await self._note(account, event.origin, user, BindingState.ACTIVE if newest else None)
        self._lookups.ask(account, event.origin.openid, doubt=not (newest and sure))

    async def unfollowed(self, account: Account, event: Unfollowed) -> None:
        """They have left: template messages rest until they come back."""
        newest, sure = await self._order(account, event.origin, "-")
        if newest:
            await self._note(account, event.origin, None, BindingState.UNFOLLOWED)
        if not (newest and sure):
            self._lookups.ask(account, event.origin.openid, doubt=True)

    async def _note(
        self, account: Account, origin: Origin, user: UserKey | None, state: BindingState | None
    ) -> None:
        source = "qr" if user is not None else "event"
        await self._bindings.note([Sighting(account.id, origin.openid, source, user=user, state=state)])

    async def _invited(self, account: Account, openid: str, scene: str | None) -> UserKey | None:
        """Whose invitation it was. Where writing the binding fails afterwards, WeChat's next try finds the ticket used:
        so who has used it is remembered, and is given the same answer."""
        token = token_in(scene)
        if token is None:
            return None
        key = f"invited:{hashlib.sha256(token.encode()).hexdigest()}:{openid}"
        ticket = await self._bindings.redeem_ticket(token, TicketKind.QR_SCENE, now=self._clock())
        if ticket is None:
            user = await self._memory.recall(key)
            if user is None:
                log.info("wechat_invitation_refused", extra={"account": account.id})
            return None if user is None else UserKey(int(user))
        if ticket.account != account.id:
            log.warning("wechat_invitation_of_another_account", extra={"account": account.id})
            return None
        await self._memory.keep(key, str(ticket.user), TICKET_LIFE)
        return ticket.user

    async def _order(self, account: Account, origin: Origin, kind: str) -> tuple[bool, bool]:
        """Whether it is the newest news of this person, and whether that is sure: events overtake each other, and
        WeChat tells the second only."""
        key, at = f"follow:{account.id}:{origin.openid}", _second(origin.at)
        value = f"{at}{kind}"
        before = await self._memory.remember(key, value, _ORDER_KEPT)
        if before is None:
            return True, True
        earlier = int(before[:-1])
        if earlier > at:
            return False, False
        await self._memory.keep(key, value, _ORDER_KEPT)
        return True, earlier < at


def _second(at: datetime) -> int:
    return int(at.timestamp())
