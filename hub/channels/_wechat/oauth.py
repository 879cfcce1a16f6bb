"""The way back from WeChat's OAuth page: a ticket says whose address it becomes, a code says which address."""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Final

from starlette.responses import RedirectResponse, Response

from hub.channels._wechat.answers import WebLogin
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.followers import Lines, Lookups
from hub.channels._wechat.invitations import is_token, may_return_to
from hub.channels._wechat.memory import Memory
from hub.channels._wechat.pages import AWAY, GONE, INCOMPLETE, LINKED, REFUSED, SNAPSHOT, Words, page
from hub.core.accounts import Account, BindingBook, Sighting, Ticket, TicketKind
from hub.core.errors import Unavailable
from hub.core.ports import Clock

log = logging.getLogger("hub.wechat")

_MAX_CODE: Final = 256
_SEE_OTHER: Final = 303
_AGAIN: Final = timedelta(minutes=2)
"""WeChat's browser likes to load a page twice; the second time neither ticket nor code is good any more."""


class OauthReturn:
    """Redeems a ticket, asks WeChat once, and binds. A ticket is used up by whoever brings it, whatever comes of it:
    the person asks for another."""

    def __init__(
        self, *, bindings: BindingBook, lines: Lines, lookups: Lookups, memory: Memory, clock: Clock
    ) -> None:
        self._bindings = bindings
        self._lines = lines
        self._lookups = lookups
        self._memory = memory
        self._clock = clock

    async def answer(self, account: Account, *, code: str, state: str) -> Response:
        """A page, or a redirect to where the ticket says. Raises nothing that a page could not say."""
        if not is_token(state) or not 0 < len(code) <= _MAX_CODE:
            return page(INCOMPLETE)
        done = _done_key(account, code, state)
        try:
            ticket = await self._bindings.redeem_ticket(state, TicketKind.OAUTH_STATE, now=self._clock())
            if ticket is None:
                before = await self._memory.recall(done)
                return page(GONE) if before is None else _linked(before.removeprefix(">"))
            if ticket.account != account.id:
                log.warning("wechat_invitation_of_another_account", extra={"account": account.id})
                return page(GONE)
            words = await self._bind(account, ticket, code)
        except Unavailable:
            return page(AWAY)
        if words is not LINKED:
            return page(words)
        await self._memory.keep(done, f">{ticket.return_to}", _AGAIN)
        return _linked(ticket.return_to)

    async def _bind(self, account: Account, ticket: Ticket, code: str) -> Words:
        line = await self._lines.line(account)
        login = line if isinstance(line, Failure) else await line.client.web_login(code)
        match login:
            case Failure(kind=kind, detail=detail):
                log.info("wechat_login_failed", extra={"account": account.id, "detail": detail})
                return REFUSED if kind is Kind.LOGIN else AWAY
            case WebLogin(snapshot=True):
                return SNAPSHOT
            case WebLogin(openid=openid, unionid=unionid):
                sighting = Sighting(account.id, openid, "oauth", user=ticket.user, union_id=unionid)
                await self._bindings.note([sighting])
                # The page does not say whether they follow.
                self._lookups.ask(account, openid, doubt=True)
                return LINKED


def _linked(return_to: str) -> Response:
    if not return_to or not may_return_to(return_to):
        return page(LINKED)
    return RedirectResponse(return_to, status_code=_SEE_OTHER)


def _done_key(account: Account, code: str, state: str) -> str:
    return "oauth:" + hashlib.sha256(f"{account.id}\n{state}\n{code}".encode()).hexdigest()
