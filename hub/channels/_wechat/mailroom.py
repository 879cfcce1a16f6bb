"""One batch of deliveries through WeChat: addressed, worded, held back where it must be, sent, and learnt from.

Each delivery is tried once. Sends run at once, as many as the process and the account's pace allow, and one after the
other to one person where WeChat wants it so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TypeAlias

from hub.channels._wechat.addressing import Addressed, Addressing
from hub.channels._wechat.answers import Sent
from hub.channels._wechat.backpressure import Passage
from hub.channels._wechat.client import Sendable, TemplateMessage, client_msg_id
from hub.channels._wechat.faults import Breaks, Effect, Failure, Kind, outcome_of
from hub.channels._wechat.gates import GateKey
from hub.channels._wechat.purse import Held, Purse, Strays
from hub.channels._wechat.receipts import provider_id
from hub.channels._wechat.switchboard import APIS, Line, Switchboard
from hub.channels._wechat.turns import Hand
from hub.channels._wechat.wording import Wording, word
from hub.core.accounts import (
    Account,
    AccountId,
    BindingState,
    GrantKey,
    ProviderTemplate,
    Sighting,
    TemplateKind,
)
from hub.core.books import WeChatBooks
from hub.core.channel import ContentFault, Envelope
from hub.core.errors import HubError
from hub.core.identity import Recipient
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry

log = logging.getLogger("hub.wechat")

_SOON: Final = timedelta(seconds=1)
_LEARNT: Final[Mapping[Effect, BindingState]] = {
    Effect.NO_SUCH_OPENID: BindingState.INVALID,
    Effect.NOT_FOLLOWING: BindingState.UNFOLLOWED,
    Effect.BLOCKED: BindingState.BLOCKED,
}
_STRUCTURAL: Final = ("missing", "unexpected")

Person: TypeAlias = tuple[str, str]
"""appid and openid."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a channel makes a message of; `openid` and `msg_id` are empty where it is only looked at."""

    account: Account
    wording: Wording
    reader: Recipient
    openid: str = ""
    msg_id: str = ""

    @classmethod
    def looked_at(cls, account: Account, template: ProviderTemplate, *, page: str, url: str) -> Letter:
        """One without content, to see whether a channel can open these links."""
        return cls(account, Wording(template.id, template.kind, {}, page, url), Recipient(""))


class Composer(Protocol):
    """How one channel says it."""

    def compose(self, letter: Letter) -> Sendable | ContentFault:
        """The message, or why the channel cannot say it."""
        ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message ready to be sent. `place` is its delivery's in the batch."""

    place: int
    addressed: Addressed
    message: Sendable

    @property
    def account(self) -> Account:
        """Whom it leaves from."""
        return self.addressed.route.account

    @property
    def gate(self) -> GateKey:
        """What it is paced and held back with."""
        return GateKey(self.account.id, APIS[type(self.message)])

    @property
    def template(self) -> GateKey:
        """What is held back where WeChat has banned the template."""
        return GateKey(self.account.id, f"template:{self.message.template_id}")

    @property
    def person(self) -> Person | None:
        """Whose turn it needs; None where sends may overlap."""
        if isinstance(self.message, TemplateMessage):
            return None
        return self.account.external_id, self.message.openid


@dataclass(slots=True)
class _Round:
    """One batch on its way: what has become of each, and what was learnt."""

    last_start: float
    deadline: float
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    answers: dict[GateKey, list[Failure | None]] = field(default_factory=lambda: defaultdict(list))
    trials: set[GateKey] = field(default_factory=set)
    templates: dict[GateKey, Failure | None] = field(default_factory=dict)
    sightings: dict[tuple[AccountId, str], Sighting] = field(default_factory=dict)


class Mailroom:
    """Of one channel and process. `deliver` raises nothing for what WeChat, Redis, the store or a network can do."""

    def __init__(
        self,
        addressing: Addressing,
        composer: Composer,
        switchboard: Switchboard,
        books: WeChatBooks,
        strays: Strays | None = None,
    ) -> None:
        self._addressing = addressing
        self._composer = composer
        self._board = switchboard
        self._books = books
        self._purse = Purse(
            books.grants,
            pauses=switchboard.limits.pauses,
            receipt_within=switchboard.limits.receipt_within,
            strays=strays,
        )

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Try each once; outcomes in the order of the batch."""
        if not batch:
            return []
        start, whole = asyncio.get_running_loop().time(), self._board.limits.batch.total_seconds()
        on_way = _Round(start + whole / 2, start + whole)
        try:
            addressed = await self._addressing.of(batch)
        except HubError as error:
            return [_away(error)] * len(batch)
        parcels = self._packed(addressed, on_way)
        by_account: dict[AccountId, list[Parcel]] = defaultdict(list)
        for parcel in parcels:
            by_account[parcel.account.id].append(parcel)
        await asyncio.gather(*(self._from_account(some, on_way) for some in by_account.values()))
        await self._learn(on_way)
        return [on_way.outcomes[place] for place in range(len(batch))]

    def _packed(self, addressed: Sequence[Addressed | Rejected], on_way: _Round) -> list[Parcel]:
        parcels: list[Parcel] = []
        for place, found in enumerate(addressed):
            if isinstance(found, Rejected):
                on_way.outcomes[place] = found
                continue
            message = worded(self._composer, found)
            if isinstance(message, tuple):
                on_way.outcomes[place] = unsayable(message)
            else:
                parcels.append(Parcel(place, found, message))
        return parcels

    async def _from_account(self, parcels: Sequence[Parcel], on_way: _Round) -> None:
        line = await self._board.line(parcels[0].account)
        if isinstance(line, Failure):
            after = self._board.limits.pauses.of(line.pause, self._board.now()) or 10 * _SOON
            for parcel in parcels:
                on_way.outcomes[parcel.place] = Retry(line.reason, after, line.words, tried=False)
            return
        by_api: dict[GateKey, list[Parcel]] = defaultdict(list)
        for parcel in await self._with_open_template(parcels, on_way):
            by_api[parcel.gate].append(parcel)
        await asyncio.gather(*(self._through(gate, some, line, on_way) for gate, some in by_api.items()))

    async def _with_open_template(self, parcels: Sequence[Parcel], on_way: _Round) -> list[Parcel]:
        """Without those whose template WeChat has banned: the same answer as its own, without asking it again. That is
        the next hop's turn; waiting would keep them for as long as the ban lasts."""
        shut, trials = await self._board.gates.shut({parcel.template for parcel in parcels})
        going: list[Parcel] = []
        for parcel in parcels:
            if (why := shut.get(parcel.template)) is not None:
                code = str(why.errcode) if why.errcode is not None else ""
                detail = f"not sent: a moment ago WeChat said {why.detail}"
                on_way.outcomes[parcel.place] = Rejected(why.reason, detail, code)
            elif parcel.template in on_way.trials:
                detail = "not sent: another send finds out whether the template works again"
                on_way.outcomes[parcel.place] = Retry(Reason.TEMPLATE_INVALID, 3 * _SOON, detail, tried=False)
            else:
                going.append(parcel)
                on_way.trials |= trials & {parcel.template}
        return going

    async def _through(self, gate: GateKey, parcels: Sequence[Parcel], line: Line, on_way: _Round) -> None:
        pace = self._board.pace(line.account)
        passage = await self._board.gates.enter(gate, len(parcels), pace)
        admitted = parcels[: passage.admitted]
        for parcel, wait in zip(parcels[passage.admitted :], passage.waits, strict=True):
            on_way.outcomes[parcel.place] = _held_back(passage, wait)
        if not admitted:
            return
        answers = on_way.answers[gate]
        try:
            async with self._board.turns.taken(_people(admitted)) as hand:
                queues = _queues(admitted)
                await asyncio.gather(*(self._queue(queue, hand, line, on_way) for queue in queues))
        finally:
            unused = len(admitted) - len(answers)
            await self._board.gates.leave(gate, answers, pace, unused=unused)

    async def _queue(self, parcels: Sequence[Parcel], hand: Hand, line: Line, on_way: _Round) -> None:
        """One after the other: messages to one person, in their order."""
        person = parcels[0].person
        if person is not None and person not in hand:
            for number, parcel in enumerate(parcels):
                on_way.outcomes[parcel.place] = _busy(_SOON * (1 + number / 4))
            return
        for parcel in parcels:
            on_way.outcomes[parcel.place] = await self._try(parcel, line, on_way)
        if person is not None:
            await hand.done(person)

    async def _try(self, parcel: Parcel, line: Line, on_way: _Round) -> Outcome:
        slots = self._board.slots
        try:
            async with asyncio.timeout_at(on_way.last_start):
                await slots.acquire()
        except TimeoutError:
            return _busy(2 * _SOON, "not sent: too many sends in this process are under way")
        try:
            if asyncio.get_running_loop().time() >= on_way.last_start:
                return _busy(2 * _SOON, "not sent: the sends before it took too long")
            held = await self._taken(parcel)
            if not isinstance(held, Held | None):
                return held
            result = await self._sent(parcel, line, on_way)
            return await self._settled(parcel, held, result)
        finally:
            slots.release()

    async def _taken(self, parcel: Parcel) -> Held | Outcome | None:
        """The grant that the send uses up; None where it needs none."""
        if parcel.person is None:
            return None
        template = parcel.addressed.route.template
        key = GrantKey(parcel.account.id, parcel.message.openid, parcel.message.template_id)
        delivery = parcel.addressed.envelope.delivery
        unlimited = template.kind is TemplateKind.LONG_TERM
        try:
            return await self._purse.take(key, delivery, unlimited=unlimited, now=self._board.now())
        except HubError as error:
            return _away(error)

    async def _sent(self, parcel: Parcel, line: Line, on_way: _Round) -> Sent | Failure:
        try:
            async with asyncio.timeout_at(on_way.deadline):
                result = await line.client.send(parcel.message)
        except TimeoutError:
            result = Failure(Kind.AMBIGUOUS, Reason.TIMED_OUT, words="given up while it was under way")
        failure = result if isinstance(result, Failure) else None
        on_way.answers[parcel.gate].append(failure)
        self._note(parcel, failure, on_way)
        return result

    async def _settled(self, parcel: Parcel, held: Held | None, result: Sent | Failure) -> Outcome:
        msgid = result.msgid if isinstance(result, Sent) else None
        number = provider_id(parcel.account.external_id, msgid) if msgid is not None else None
        now = self._board.now()
        if held is not None:
            return await self._purse.settle(held, result, provider_id=number, now=now)
        if isinstance(result, Sent):
            return Accepted(number, "WeChat had it already" if result.duplicate else "")
        attempt = parcel.addressed.envelope.delivery.attempts
        return outcome_of(result, now=now, attempt=attempt, pauses=self._board.limits.pauses)

    def _note(self, parcel: Parcel, failure: Failure | None, on_way: _Round) -> None:
        banned = failure is not None and failure.breaks is Breaks.TEMPLATE
        if banned or parcel.template in on_way.trials:
            on_way.templates[parcel.template] = failure
        state = _LEARNT.get(failure.effect) if failure is not None else None
        if state is not None:
            account, address = parcel.account.id, parcel.message.openid
            on_way.sightings[account, address] = Sighting(account, address, "send", state=state)

    async def _learn(self, on_way: _Round) -> None:
        """Written once a batch. What cannot be written now is learnt again by the next send."""
        for key, failure in on_way.templates.items():
            await self._board.gates.answered(key, failure)
        if not on_way.sightings:
            return
        try:
            await self._books.bindings.note(list(on_way.sightings.values()))
        except HubError as error:
            log.warning("bindings_not_written", extra={"error": error.code, "count": len(on_way.sightings)})


def worded(composer: Composer, found: Addressed) -> Sendable | tuple[ContentFault, ...]:
    """The message of an addressed delivery, or all that is wrong with it."""
    route = found.route
    wording = word(route.mapping, route.template, found.facts, found.reader)
    if isinstance(wording, tuple):
        return wording
    delivery = found.envelope.delivery
    # A replay is a send of its own, which WeChat must not take for the one that failed.
    replay = f":{delivery.replayed_at.isoformat()}" if delivery.replayed_at is not None else ""
    msg_id = client_msg_id(f"{delivery.id}{replay}")
    message = composer.compose(Letter(route.account, wording, found.reader, found.binding.address, msg_id))
    return (message,) if isinstance(message, ContentFault) else message


def unsayable(faults: Sequence[ContentFault]) -> Rejected:
    """What a delivery makes of content that WeChat would refuse."""
    first = faults[0]
    structural = first.code.endswith(_STRUCTURAL) or not first.code.startswith("wx.")
    reason = Reason.TEMPLATE_INVALID if structural else Reason.CONTENT_REFUSED
    return Rejected(reason, "; ".join(fault.detail for fault in faults)[:500], first.code)


def _people(parcels: Iterable[Parcel]) -> Collection[Person]:
    return {person for parcel in parcels if (person := parcel.person) is not None}


def _queues(parcels: Iterable[Parcel]) -> Sequence[Sequence[Parcel]]:
    alone: list[list[Parcel]] = []
    shared: dict[Person, list[Parcel]] = defaultdict(list)
    for parcel in parcels:
        person = parcel.person
        if person is None:
            alone.append([parcel])
        else:
            shared[person].append(parcel)
    return [*alone, *shared.values()]


def _held_back(passage: Passage, wait: timedelta) -> Retry:
    why = passage.why
    if why is None:
        detail = "not sent: the account's pace is used up for now"
        return Retry(Reason.PROVIDER_RATE_LIMITED, wait, detail, tried=False)
    code = str(why.errcode) if why.errcode is not None else ""
    return Retry(why.reason, wait, f"not sent, the account rests: {why.detail}", tried=False, code=code)


def _busy(after: timedelta, detail: str = "not sent: another send to this person is under way") -> Retry:
    return Retry(Reason.PROVIDER_RATE_LIMITED, after, detail, tried=False)


def _away(error: HubError) -> Retry:
    return Retry(Reason.PROVIDER_DOWN, 5 * _SOON, f"not sent: the hub's store: {error.code}", tried=False)
