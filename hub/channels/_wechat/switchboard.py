"""The runtime of each account: its client, access token, circuit and pace, made when it is first needed.

Tokens, circuits, paces and the order of sends to one person are shared by all processes through Redis; lines are not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hub.channels._wechat.backpressure import BreakerLimits, Gate, Pace
from hub.channels._wechat.client import (
    Credentials,
    MiniMessage,
    Sendable,
    SubscribeNotice,
    TemplateMessage,
    WeChatClient,
    stable_token,
)
from hub.channels._wechat.faults import Breaks, Failure, Kind, Pauses
from hub.channels._wechat.gates import GateKey, Gates
from hub.channels._wechat.purse import RECEIPT_WITHIN
from hub.channels._wechat.shelf import Box, RedisShelf
from hub.channels._wechat.tokens import TokenLimits, TokenSource
from hub.channels._wechat.transport import Transport
from hub.channels._wechat.turns import Turns
from hub.core.accounts import PACE_DEFAULT, Account, AccountBook, AccountHealth, AccountId, AccountSecrets
from hub.core.errors import HubError, NotFound
from hub.core.outcome import Reason
from hub.redis_link import RedisLink

log = logging.getLogger("hub.wechat")

APIS: Final[dict[type[Sendable], str]] = {
    TemplateMessage: "template_send",
    SubscribeNotice: "bizsend",
    MiniMessage: "subscribe_send",
}
"""WeChat counts and closes each API of an account by itself."""


@dataclass(frozen=True, slots=True)
class SwitchLimits:
    """`recheck`: how old what is known of an account's secrets may be. `lines` are kept, the longest unused are made
    again. `in_flight` sends run at once in this process; `per_second` is the pace of an account that has none of its
    own. `batch` bounds one call of a channel: what has not ended by then is given up, as unknown."""

    recheck: timedelta = timedelta(seconds=2)
    lines: int = 256
    in_flight: int = 100
    per_second: float = PACE_DEFAULT
    batch: timedelta = timedelta(seconds=80)
    receipt_within: timedelta = RECEIPT_WITHIN
    token_lock: timedelta = timedelta(seconds=30)
    """Longer than two fetches of a token take at most."""
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    tokens: TokenLimits = field(default_factory=TokenLimits)
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(frozen=True, slots=True)
class Line:
    """An account that can be spoken to."""

    account: Account
    client: WeChatClient
    tokens: TokenSource


@dataclass(slots=True)
class _Known:
    secrets: AccountSecrets
    line: Line
    checked_at: float


_NO_SECRETS: Final = Failure(
    Kind.ACCOUNT, Reason.AUTH_FAILED, words="not sent: the account has no secrets", breaks=Breaks.ACCOUNT
)


class Switchboard:
    """One per process, for one event loop."""

    def __init__(
        self,
        transport: Transport,
        accounts: AccountBook,
        link: RedisLink,
        box: Box,
        *,
        now: Callable[[], datetime],
        limits: SwitchLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or SwitchLimits()
        self.gates = Gates(link, limits=self.limits.breaker, clock=now)
        self.turns = Turns(link)
        self.slots = asyncio.Semaphore(self.limits.in_flight)
        self.now = now
        self._transport = transport
        self._accounts = accounts
        self._link = link
        self._box = box
        self._clock = clock
        self._known: OrderedDict[AccountId, _Known] = OrderedDict()

    async def line(self, account: Account, *, recheck: bool = False) -> Line | Failure:
        """The account, ready. A failure where its secrets are missing, or cannot be read for now. With `recheck` the
        secrets are those of this moment."""
        known = self._known.get(account.id)
        now = self._clock()
        if known is None or recheck or now - known.checked_at >= self.limits.recheck.total_seconds():
            secrets = await self._read(account)
            if isinstance(secrets, Failure):
                return secrets
            known = await self._renewed(account, secrets, now)
        if known.line.account != account:
            known.line = Line(account, known.line.client, known.line.tokens)
        self._known.move_to_end(account.id)
        return known.line

    async def secrets(self, account: Account) -> AccountSecrets | Failure:
        """The account's secrets, a few seconds old at most."""
        line = await self.line(account)
        return line if isinstance(line, Failure) else self._known[account.id].secrets

    def pace(self, account: Account) -> Pace:
        """What the account may send, through each API."""
        per_second = account.options.per_second or self.limits.per_second
        return Pace(per_second=per_second, burst=max(1, int(per_second)))

    async def health(self, account: Account) -> AccountHealth:
        """What the circuits of its APIs know; nothing is asked of WeChat."""
        gates = [gate for gate in (await self.gates.look(_gates_of(account))).values() if gate is not None]
        return _health(gates, self.now())

    async def mend(self, account: Account) -> None:
        """Close its circuits: a person has mended what opened them."""
        await self.gates.reset(_gates_of(account))

    async def _read(self, account: Account) -> AccountSecrets | Failure:
        try:
            return await self._accounts.secrets(account.id)
        except NotFound:
            return _NO_SECRETS
        except HubError as error:
            return Failure(Kind.BUSY, Reason.PROVIDER_DOWN, words=f"not sent: secrets: {error.code}")

    async def _renewed(self, account: Account, secrets: AccountSecrets, now: float) -> _Known:
        known = self._known.get(account.id)
        if (
            known is not None
            and known.secrets.secret == secrets.secret
            and known.line.client.appid == account.external_id
        ):
            known.secrets, known.checked_at = secrets, now
            return known
        fresh = _Known(secrets, self._make(account, secrets), now)
        self._known[account.id] = fresh
        while len(self._known) > self.limits.lines:
            self._known.popitem(last=False)
        if known is not None:
            log.info("wechat_keys_changed", extra={"account": account.id})
            await self.mend(account)
        return fresh

    def _make(self, account: Account, secrets: AccountSecrets) -> Line:
        credentials = Credentials(account.external_id, secrets.secret)
        shelf = RedisShelf(self._link, credentials.appid, box=self._box, lock=self.limits.token_lock)
        fetch = stable_token(self._transport, credentials)
        tokens = TokenSource(credentials.appid, fetch, shelf, limits=self.limits.tokens)
        return Line(account, WeChatClient(self._transport, credentials, tokens), tokens)


def _gates_of(account: Account) -> list[GateKey]:
    return [GateKey(account.id, api) for api in APIS.values()]


def _health(gates: Sequence[Gate], now: datetime) -> AccountHealth:
    """The worst of them: the one that stays open longest."""
    opened = [gate.breaker for gate in gates if not gate.breaker.closed]
    if not opened:
        return AccountHealth(ok=True, circuit="closed")
    worst = max(opened, key=lambda breaker: breaker.open_until or now)
    why = worst.why
    return AccountHealth(
        ok=False,
        circuit="probing" if worst.probing else "open",
        open_until=worst.open_until,
        detail=why.detail if why else "",
        code=str(why.errcode) if why and why.errcode is not None else "",
    )
