"""A hub that WeChat's sandbox calls: real engine, database and Redis, the hub's web application on a real port, and two
channels that send through the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx2
import uvicorn

from hub.api.application import new_app
from hub.channels._wechat.answers import Sent
from hub.channels._wechat.client import (
    Credentials,
    MiniMessage,
    SubscribeNotice,
    TemplateMessage,
    WeChatClient,
    client_msg_id,
    stable_token,
)
from hub.channels._wechat.entrance import Entrance, Surroundings, wechat_entrance
from hub.channels._wechat.faults import Failure
from hub.channels._wechat.invitations import new_token
from hub.channels._wechat.memory import RedisMemory
from hub.channels._wechat.receipts import provider_id
from hub.channels._wechat.routes import CallbackDoor, callback_router
from hub.channels._wechat.shelf import LocalShelf
from hub.channels._wechat.tokens import TokenSource
from hub.channels._wechat.transport import Transport, open_transport
from hub.core.accounts import (
    TICKET_LIFE,
    Account,
    AccountHealth,
    AccountId,
    AccountOptions,
    AccountSecrets,
    Binding,
    GrantKey,
    GrantSource,
    Ticket,
    TicketKind,
)
from hub.core.books import WeChatBooks
from hub.core.channel import Capabilities, Envelope, Lane
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.later import Later
from hub.core.message import UserKey
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Unknown
from hub.core.policy import Hop, Policy, Success
from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from hub.settings import Settings
from hub.store.ids import new_id
from hub.store.secrets import SecretBox
from hub.store.wechat_books import wechat_books
from tests.fakes.channel import ScriptedChannel
from tests.sandbox.rig import MEETING, MEETING_DATA, MP_TODO, MP_TODO_DATA, SECRETS, TODO, TODO_DATA, Lab
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

P = ParamSpec("P")
T = TypeVar("T")

OFFICIAL = AccountId("acc_official")
PROGRAM = AccountId("acc_program")
APPIDS = {OFFICIAL: OFFICIAL_APPID, PROGRAM: PROGRAM_APPID}
TOKENS = {OFFICIAL: "official-token", PROGRAM: "program-token"}
AES_KEYS = {OFFICIAL: "o" * 42 + "A", PROGRAM: "p" * 42 + "A"}
ALICE = UserKey(1)
BOB = UserKey(2)
_SECRET_KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnk="


class Lines:
    """Clients of the sandbox; that circuits are closed is only remembered."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._clients: dict[AccountId, WeChatClient] = {}
        self.broken: Failure | None = None
        self.mended: list[AccountId] = []

    async def line(self, account: Account, *, recheck: bool = False) -> Line | Failure:  # noqa: ARG002
        """A client: the secrets here do not change."""
        return self.broken or Line(self.client(account))

    def client(self, account: Account) -> WeChatClient:
        """The account's, made once."""
        if account.id not in self._clients:
            credentials = Credentials(account.external_id, SECRETS[account.external_id])
            fetch = stable_token(self._transport, credentials)
            tokens = TokenSource(account.external_id, fetch, LocalShelf())
            self._clients[account.id] = WeChatClient(self._transport, credentials, tokens)
        return self._clients[account.id]

    async def health(self, account: Account) -> AccountHealth:
        """Well, if its circuits were closed by hand."""
        return AccountHealth(True, "closed" if account.id in self.mended else "open")

    async def mend(self, account: Account) -> None:
        """Remember."""
        self.mended.append(account.id)


@dataclass(frozen=True)
class Line:
    """An account that can be spoken to."""

    client: WeChatClient


Send = Callable[[WeChatClient, str, Delivery], Awaitable[Sent | Failure]]


class SandboxChannel:
    """Sends each delivery through the sandbox. `lose` answers as after a time-out; `before_answer` is awaited when
    WeChat has answered and the hub does not know yet."""

    def __init__(self, account: Account, template: str, send: Send, *, ledger: bool) -> None:
        self.name = account.channel
        self.capabilities = Capabilities(lane=Lane.WORKER, receipt_within=timedelta(minutes=10))
        self.account = account
        self.template = template
        self.send = send
        self.ledger = ledger
        self.openids: dict[UserKey, str] = {}
        self.lose = False
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.deliveries: list[DeliveryId] = []
        self.msgids: list[str] = []
        self.lines: Lines | None = None
        self.books: WeChatBooks | None = None

    def key(self, user: UserKey = ALICE) -> GrantKey:
        """What the user's grants are counted by."""
        return GrantKey(self.account.id, self.openids[user], self.template)

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """One after the other."""
        return [await self._one(envelope.delivery) for envelope in batch]

    async def _one(self, delivery: Delivery) -> Outcome:
        assert self.lines is not None
        assert self.books is not None
        self.deliveries.append(delivery.id)
        if self.ledger:
            await self.books.grants.reserve(self.key(delivery.user), delivery.id, now=delivery.created_at)
        sent = await self.send(self.lines.client(self.account), self.openids[delivery.user], delivery)
        if isinstance(sent, Failure):
            return Rejected(sent.reason, sent.detail)
        assert sent.msgid is not None
        self.msgids.append(sent.msgid)
        if self.lose:
            return Unknown(Reason.TIMED_OUT)
        await self.books.grants.commit(delivery.id)
        if self.before_answer is not None:
            await self.before_answer()
        return Accepted(provider_id(self.account.external_id, sent.msgid))


def _values(data: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: value["value"] for name, value in data.items()}


async def send_template(client: WeChatClient, openid: str, delivery: Delivery) -> Sent | Failure:
    message = TemplateMessage(openid, TODO, _values(TODO_DATA), client_msg_id(delivery.id))
    return await client.send_template(message)


async def send_notice(client: WeChatClient, openid: str, _: Delivery) -> Sent | Failure:
    return await client.send_notice(SubscribeNotice(openid, MEETING, _values(MEETING_DATA)))


async def send_mini(client: WeChatClient, openid: str, _: Delivery) -> Sent | Failure:
    return await client.send_mini(MiniMessage(openid, MP_TODO, _values(MP_TODO_DATA)))


@dataclass
class World:
    """Everything that a test looks at."""

    lab: Lab
    rig: Rig
    books: WeChatBooks
    entrance: Entrance
    lines: Lines
    later: Later
    base: str
    http: httpx2.AsyncClient
    mp: SandboxChannel
    mini: SandboxChannel
    after: ScriptedChannel

    @property
    def official(self) -> Account:
        """The official account."""
        return self.mp.account

    @property
    def program(self) -> Account:
        """The mini program."""
        return self.mini.account

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """How callbacks ended."""
        return self.entrance.door.counts.ends

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Something with the sandbox, which calls back meanwhile; then wait until all callbacks have ended."""
        result = await asyncio.to_thread(call, *args, **kwargs)
        await self.settled()
        return result

    async def settled(self) -> None:
        """Wait for the sandbox's callbacks and for what goes on in the background."""
        await asyncio.to_thread(self.lab.settle)
        while tasks := set(self.later._tasks):
            await asyncio.wait(tasks, timeout=10)

    async def agree(self, mode: str = "aes") -> None:
        """What the hub knows of the accounts: no key where everything comes plain."""
        for account in (self.official, self.program):
            keys = () if mode == "plain" else (AES_KEYS[account.id],)
            secrets = AccountSecrets(SECRETS[account.external_id], TOKENS[account.id], keys)
            await self.books.accounts.put_account(account, secrets, actor="test")

    async def hear(self, *, mode: str = "aes", form: str = "xml") -> None:
        """The sandbox's two accounts call this hub from now on, after the check of its URLs."""
        await self.agree(mode)
        for account in (self.official, self.program):
            url = f"{self.base}/callbacks/wechat/{account.id}"
            body = {"url": url, "token": TOKENS[account.id], "mode": mode}
            body |= {} if mode == "plain" else {"encoding_aes_key": AES_KEYS[account.id]}
            body |= {"format": form} if account is self.program else {}
            path = f"/accounts/{account.external_id}/callback"
            await asyncio.to_thread(self.lab.control, "PUT", path, body)

    async def issue(self, kind: TicketKind, *, account: AccountId = OFFICIAL) -> Ticket:
        """A ticket for Alice."""
        ticket = Ticket(new_token(), kind, account, ALICE, self.rig.clock() + TICKET_LIFE)
        await self.books.bindings.issue_ticket(ticket)
        return ticket

    async def acquaint(self) -> None:
        """Alice and Bob follow and are bound at both accounts."""
        for user, person in ((ALICE, "alice"), (BOB, "bob")):
            self.mp.openids[user] = await self.do(self.lab.follow, person)
            self.mini.openids[user] = await self.do(self.lab.openid, person, PROGRAM_APPID)

    async def notify(self, channel: str, *users: UserKey) -> None:
        """A notification through one channel and, where that fails, another; sent as a worker would."""
        hops = (Hop(channel, Success.DELIVERED, wait=timedelta(hours=1)), Hop("after"))
        await self.rig.engine.submit(self.rig.notice(*(users or (ALICE,)), policy=Policy(hops)))
        await self.rig.engine.drain()
        await self.work()

    async def work(self) -> None:
        """Run what the executor was asked for."""
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def rows(self, channel: SandboxChannel) -> list[Delivery]:
        """What became of a channel's deliveries, in the order of their first try."""
        order = list(dict.fromkeys(channel.deliveries))
        found = {row.id: row for row in await self.rig.store.deliveries(order)}
        return [found[id_] for id_ in order]

    async def states(self, channel: SandboxChannel) -> list[DeliveryState]:
        """The same, their states."""
        return [row.state for row in await self.rows(channel)]

    async def binding(self, openid: str, account: AccountId = OFFICIAL) -> Binding:
        """What is known of an address."""
        found = await self.books.bindings.binding(account, openid)
        assert found is not None
        return found

    async def grants(self, channel: SandboxChannel, user: UserKey = ALICE) -> tuple[int, int, bool]:
        """What remains, what is reserved, and whether it is without end."""
        key = channel.key(user)
        for found in await self.books.grants.balances(key.account, key.address):
            if found.key == key:
                return found.remaining, found.reserved, found.unlimited
        return 0, 0, False


@asynccontextmanager
async def open_world(
    lab: Lab,
    directory: Path,
    redis: RedisServer,
    *,
    grants_from: GrantSource = GrantSource.EVENTS,
    **changes: Any,
) -> AsyncIterator[World]:
    """A hub beside the sandbox, which does not know it yet (`hear`)."""
    settings = test_settings(directory, f"sqlite+aiosqlite:///{directory / 'hub.db'}", redis.url)
    settings = settings.model_copy(update=changes)
    known = {found["appid"]: found for found in lab.control("GET", "/state")["accounts"]}
    official, program = (
        _account(id_, channel, known[APPIDS[id_]], grants_from)
        for id_, channel in ((OFFICIAL, "wechat_mp"), (PROGRAM, "miniprogram"))
    )
    mp = SandboxChannel(official, TODO, send_template, ledger=False)
    mini = SandboxChannel(program, MP_TODO, send_mini, ledger=True)
    after = ScriptedChannel("after")
    later = Later()
    doors: list[CallbackDoor] = []
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(open_rig(settings, mp, mini, after))
        transport = await stack.enter_async_context(open_transport(lab.base))
        stack.push_async_callback(later.aclose)
        base = await stack.enter_async_context(_served(settings, doors))
        books = wechat_books(rig.store.database, SecretBox(_SECRET_KEY), clock=rig.clock)
        lines = Lines(transport)
        for channel in (mp, mini):
            channel.lines, channel.books = lines, books
        entrance = wechat_entrance(
            Surroundings(
                books=books,
                lines=lines,
                dispatcher=rig.engine.dispatcher,
                deliveries=rig.store,
                memory=RedisMemory(rig.link),
                later=later,
                clock=rig.clock,
                public_url=base,
                open_url=lab.base,
            )
        )
        doors.append(entrance.door)
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=base, timeout=15))
        yield World(lab, rig, books, entrance, lines, later, base, http, mp, mini, after)


def _account(id_: AccountId, channel: str, known: Mapping[str, Any], grants_from: GrantSource) -> Account:
    options = AccountOptions(
        original_id=known["original_id"], family=known["open_platform"], grants_from=grants_from
    )
    return Account(id_, APP, channel, known["name"], known["appid"], options, datetime.now(UTC))


@asynccontextmanager
async def _served(settings: Settings, doors: Sequence[CallbackDoor]) -> AsyncIterator[str]:
    """The hub's web application with the callback routes on it; its base URL."""
    app = new_app(settings, new_id=new_id)
    app.include_router(callback_router(lambda: doors[0] if doors else None))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), "the hub did not start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
