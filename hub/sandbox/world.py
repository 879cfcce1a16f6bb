"""Everything one sandbox is made of, and the one place where a message reaches a phone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from hub.sandbox import chance, events
from hub.sandbox.callbacks import Callbacks
from hub.sandbox.chance import Chance
from hub.sandbox.chaos import Chaos, EventPlan
from hub.sandbox.clock import Clock
from hub.sandbox.errors import ApiError, ControlError
from hub.sandbox.events import Fields
from hub.sandbox.feed import Feed
from hub.sandbox.ledger import Ledger
from hub.sandbox.state import Account, AccountKind, Message, MessageStatus, Person, Recent, State, Tie

_RIDS_KEPT: Final = 2000
_MESSAGES_KEPT: Final = 5000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered with an error, as /cgi-bin/openapi/rid/get tells it."""

    appid: str
    at: float
    cost_ms: int
    url: str
    body: str
    response: str
    client_ip: str


class World:
    """One sandbox. Everything happens on one event loop; between two awaits nothing else happens."""

    def __init__(self, state: State | None = None) -> None:
        self.clock = Clock()
        self.feed = Feed()
        self.rids: OrderedDict[str, Asked] = OrderedDict()
        self.sending: set[str] = set()
        """Openids with a subscribe message inside WeChat at this moment."""
        self.calls_by_openid: dict[str, tuple[str, int]] = {}
        self.dirty = False
        self._take(state or State())

    def _take(self, state: State) -> None:
        self.state = state
        state.boots += 1
        self.chance = Chance(state.seed, draws=state.boots)
        self.chaos = Chaos()
        self.ledger = Ledger()
        self.callbacks = Callbacks(
            clock=self.clock, chance=self.chance, ledger=self.ledger, settings=state.settings
        )

    async def become(self, state: State) -> None:
        """Another state from now on: empty ledger, no chaos, real time. Pushes under way are given up."""
        await self.callbacks.close()
        self.rids.clear()
        self.sending.clear()
        self.calls_by_openid.clear()
        self.clock.reset()
        self._take(state)
        self.changed("reset")

    def changed(self, what: str, person_id: str = "") -> None:
        """Something is to be saved and shown."""
        self.dirty = True
        self.feed.tell(what, person_id)

    # -- who ---------------------------------------------------------------------------------------------

    def account(self, appid: str) -> Account:
        """For the control API: 404 for an unknown one."""
        if appid not in self.state.accounts:
            known = ", ".join(self.state.accounts) or "none"
            raise ControlError(f"no account {appid}; there are: {known}", status=404)
        return self.state.accounts[appid]

    def person(self, person_id: str) -> Person:
        """For the control API: 404 for an unknown one."""
        if person_id not in self.state.people:
            known = ", ".join(self.state.people) or "none"
            raise ControlError(f"no person {person_id}; there are: {known}", status=404)
        return self.state.people[person_id]

    def tie(self, appid: str, person_id: str) -> Tie:
        """What the person is to the account; made when first asked for."""
        account, person = self.account(appid), self.person(person_id)
        openid = chance.openid(self.state.seed, "openid", account.appid, person.person_id)
        if openid not in self.state.ties:
            self.state.ties[openid] = Tie(openid=openid, appid=appid, person_id=person_id)
        return self.state.ties[openid]

    def tie_of(self, account: Account, openid: object) -> Tie:
        """For the API: 40003 for what is not an openid of this very account."""
        tie = self.state.ties.get(openid) if isinstance(openid, str) else None
        if tie is None or tie.appid != account.appid:
            raise ApiError(40003)
        return tie

    def unionid(self, account: Account, person_id: str) -> str:
        """The same for all accounts of one Open Platform account; empty without one."""
        if not account.open_platform:
            return ""
        return chance.openid(self.state.seed, "unionid", account.open_platform, person_id)

    def kind_of(self, account: Account, *kinds: AccountKind) -> None:
        """48001 for an API that this kind of account does not have."""
        if account.kind not in kinds:
            raise ApiError(48001)

    # -- what happens ------------------------------------------------------------------------------------

    async def deliver(self, account: Account, message: Message, plan: EventPlan | None = None) -> None:
        """Accepts a message: it is on the phone, unless blocked or failed, and its event is on the way."""
        if message.client_msg_id:
            key = f"{message.openid} {message.client_msg_id}"
            self.state.recent.pop(key, None)
            self.state.recent[key] = Recent(message.msgid, message.sent_at)
        self.state.messages.append(message)
        del self.state.messages[:-_MESSAGES_KEPT]
        self.ledger.sent(message)
        self.changed("message", message.person_id)
        if plan is not None:
            failed = message.status is MessageStatus.FAILED
            template_message = message.api == "template/send"
            fields = events.job_finish(message) if template_message else events.sent(message, failed=failed)
            await self.callbacks.push(account, message.openid, fields, plan)

    async def tell(self, account: Account, tie: Tie, fields: Fields) -> None:
        """Pushes what a person did to the account's URL."""
        self.changed("event", tie.person_id)
        await self.callbacks.push(account, tie.openid, fields, self.chaos.draw_event())

    def next_msgid(self) -> int:
        """Above 2**53 unless the settings want small ones."""
        self.state.message_number += 1
        return self.chance.msgid(self.state.message_number, big=self.state.settings.big_msgid)

    def message(self, msgid: str) -> Message:
        """For the control API: 404 for an unknown one."""
        for message in reversed(self.state.messages):
            if str(message.msgid) == msgid:
                return message
        raise ControlError(f"no message {msgid}", status=404)

    def remember(self, rid: str, asked: Asked) -> None:
        """Keeps an error for rid/get."""
        self.rids[rid] = asked
        while len(self.rids) > _RIDS_KEPT:
            self.rids.popitem(last=False)

    def count(self, *names: str) -> int:
        """One more of a quota's period; how many there are now."""
        key = " ".join(names)
        self.state.counters[key] = self.state.counters.get(key, 0) + 1
        return self.state.counters[key]

    def counted(self, *names: str) -> int:
        """How many there are of a quota's period."""
        return self.state.counters.get(" ".join(names), 0)


def text_of(value: Any, *, most: int, error: ApiError) -> str:
    """A non-empty text of at most so many characters; the error otherwise."""
    if not isinstance(value, str) or not value or len(value) > most:
        raise error
    return value
