"""Both WeChat channels over a sandbox, a real Redis and books in memory, as many processes as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from cryptography.fernet import Fernet

from hub.channels._wechat.faults import Failure
from hub.channels._wechat.switchboard import Switchboard, SwitchLimits
from hub.channels._wechat.transport import HttpLimits, open_transport
from hub.channels.miniprogram.channel import MiniProgram
from hub.channels.wechat_mp.channel import WeChatMp
from hub.core.accounts import (
    Account,
    AccountId,
    AccountOptions,
    AccountSecrets,
    BindingState,
    GrantBalance,
    GrantKey,
    ProviderTemplate,
    Sighting,
    TemplateKind,
)
from hub.core.books import WeChatBooks
from hub.core.channel import Envelope
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.identity import Recipient
from hub.core.message import (
    AppId,
    ConversationId,
    Message,
    MessageId,
    NotificationDraft,
    NotificationId,
    TemplatePin,
    UserKey,
)
from hub.core.outcome import Outcome
from hub.core.policy import Hop, Policy
from hub.core.ports import Clock
from hub.core.templates import ChannelMapping, FieldMapping, LocaleText, Overflow, TemplateVersion
from hub.redis_link import LinkLimits, RedisLink, open_redis
from hub.sandbox.demo import OFFICIAL_APPID, OFFICIAL_KEY, PROGRAM_APPID, PROGRAM_KEY
from hub.store.clock import utc_now
from hub.store.ids import new_id
from hub.store.memory_accounts import memory_books
from hub.store.secrets import SecretBox
from hub.store.templates_memory import MemoryTemplates
from tests.sandbox.rig import MEETING, MP_TODO, TODO, Lab

APP = AppId("app_test")
OFFICIAL, PROGRAM = AccountId("acc_official"), AccountId("acc_program")
PEOPLE = {"alice": UserKey(1), "bob": UserKey(2), "carol": UserKey(3)}
BOX = SecretBox(Fernet.generate_key().decode())
HTTP = HttpLimits(
    connect=timedelta(milliseconds=500), read=timedelta(milliseconds=800), total=timedelta(seconds=4)
)
DATA: Mapping[str, object] = {
    "what": "差旅报销",
    "who": "王小明",
    "at": "2026-03-01T09:12:00+08:00",
    "sum": "1200.00",
    "id": "7",
}
ChannelT: TypeAlias = WeChatMp | MiniProgram


def field_map(overflow: Overflow = Overflow.REFUSE, **values: str) -> dict[str, FieldMapping]:
    return {name: FieldMapping(value, overflow) for name, value in values.items()}


TODO_FIELDS = field_map(
    thing1="{{ what }}",
    thing2="{{ who }}",
    time3="{{ at | datetime }}",
    amount4="{{ sum | amount }}",
    const5="待审批",
)
MP_FIELDS = field_map(
    thing1="{{ what }}", name2="{{ who }}", time3="{{ at | datetime }}", amount4="{{ sum | amount }}"
)
MEETING_FIELDS = field_map(thing1="{{ what }}", time2="{{ at | datetime }}", thing3="三楼")
MAPPINGS = (
    ChannelMapping("wechat_mp", TODO, TODO_FIELDS, page="https://oa.example/t/{{ id }}"),
    ChannelMapping("miniprogram", MP_TODO, MP_FIELDS, page="pages/task/detail?id={{ id }}"),
)
MEETING_MAPPING = ChannelMapping("wechat_mp", MEETING, MEETING_FIELDS)


def version_of(*mappings: ChannelMapping, key: str = "todo") -> TemplateVersion:
    """A hub template with these mappings."""
    variables = {"what": "text", "who": "text", "at": "datetime", "sum": "amount", "id": "text"}
    return TemplateVersion(APP, key, 0, {"zh-CN": LocaleText("{{ what }}")}, "zh-CN", mappings, variables)


@dataclass
class Worker:
    """One process."""

    board: Switchboard
    mp: WeChatMp
    mini: MiniProgram
    link: RedisLink


@dataclass
class Post:
    """Accounts, people and templates of one app, and the way to send."""

    lab: Lab
    redis: str
    stack: AsyncExitStack
    books: WeChatBooks = field(default_factory=lambda: memory_books(clock=utc_now))
    templates: MemoryTemplates = field(default_factory=lambda: MemoryTemplates(clock=utc_now))

    async def open(self) -> None:
        """The demo world's two accounts with their templates, and one hub template for both."""
        jump = AccountOptions(jump_appid=PROGRAM_APPID, family="op")
        official = _account(OFFICIAL, "wechat_mp", OFFICIAL_APPID, jump)
        program = _account(PROGRAM, "miniprogram", PROGRAM_APPID, AccountOptions(family="op"))
        await self.books.accounts.put_account(official, AccountSecrets(OFFICIAL_KEY), actor="test")
        await self.books.accounts.put_account(program, AccountSecrets(PROGRAM_KEY), actor="test")
        board = (await self.worker()).board
        for account in (official, program):
            await self._synchronise(board, account)
        await self.publish(*MAPPINGS)

    async def _synchronise(self, board: Switchboard, account: Account) -> None:
        line = await board.line(account)
        assert not isinstance(line, Failure)
        found: list[ProviderTemplate] = []
        messages = await line.client.private_templates() if account.id == OFFICIAL else ()
        subscribed = await line.client.subscribe_templates()
        assert not isinstance(messages, Failure)
        assert not isinstance(subscribed, Failure)
        for template in (*messages, *subscribed):
            kind = TemplateKind.LONG_TERM if template.long_term else TemplateKind.ONE_TIME
            found.append(
                ProviderTemplate(
                    account.id,
                    template.id,
                    TemplateKind.MESSAGE if template in messages else kind,
                    template.title,
                    template.content,
                    template.fields,
                    dict(template.enums),
                )
            )
        await self.books.templates.replace(account.id, found, now=utc_now())

    async def worker(
        self,
        *,
        limits: SwitchLimits | None = None,
        http: HttpLimits = HTTP,
        base: str = "",
        redis: str = "",
        now: Clock = utc_now,
    ) -> Worker:
        """One more process; `base` and `redis` replace the sandbox and the real Redis, `now` the time."""
        short = LinkLimits(pause=timedelta(milliseconds=20))
        link = await self.stack.enter_async_context(open_redis(redis or self.redis, short))
        transport = await self.stack.enter_async_context(open_transport(base or self.lab.base, http))
        board = Switchboard(transport, self.books.accounts, link, BOX, now=now, limits=limits)
        mp = WeChatMp(board, self.books, self.templates)
        return Worker(board, mp, MiniProgram(board, self.books, self.templates), link)

    async def publish(self, *mappings: ChannelMapping, key: str = "todo") -> TemplatePin:
        """The next version of a hub template."""
        made = await self.templates.publish(version_of(*mappings, key=key), actor="test")
        return TemplatePin(made.key, made.version)

    async def bind(self, person: str, account: AccountId, state: BindingState = BindingState.ACTIVE) -> str:
        """The person's openid there is known."""
        appid = OFFICIAL_APPID if account == OFFICIAL else PROGRAM_APPID
        openid = await asyncio.to_thread(self.lab.openid, person, appid)
        sighting = Sighting(account, openid, "test", PEOPLE[person], state=state)
        await self.books.bindings.note([sighting])
        return openid

    async def follower(self, person: str = "alice") -> str:
        """The person follows the official account, and the hub knows."""
        await asyncio.to_thread(self.lab.follow, person)
        return await self.bind(person, OFFICIAL)

    async def subscriber(
        self, person: str = "alice", *, template: str = MP_TODO, times: int = 1, account: AccountId = PROGRAM
    ) -> GrantKey:
        """The person accepts so many messages, and the ledger knows."""
        appid = OFFICIAL_APPID if account == OFFICIAL else PROGRAM_APPID

        def accept() -> None:
            self.lab.accept(template, person=person, appid=appid, times=times)

        await asyncio.to_thread(accept)
        key = GrantKey(account, await self.bind(person, account), template)
        if times:
            await self.books.grants.add(key, times, once=new_id("once"))
        return key

    async def balance(self, key: GrantKey) -> GrantBalance:
        """What the ledger says."""
        balances = await self.books.grants.balances(key.account, key.address)
        return next(balance for balance in balances if balance.key == key)

    async def ledger(self) -> dict[str, Any]:
        """What really happened."""
        return await asyncio.to_thread(self.lab.ledger)

    async def control(self, verb: str, *args: Any, **more: Any) -> Any:
        """One of the lab's methods, off the loop."""
        return await asyncio.to_thread(lambda: getattr(self.lab, verb)(*args, **more))


def _account(name: AccountId, channel: str, appid: str, options: AccountOptions) -> Account:
    return Account(name, APP, channel, name, appid, options, datetime(2026, 3, 1, tzinfo=UTC))


def envelope(
    person: str = "alice",
    channel: str = "wechat_mp",
    *,
    data: Mapping[str, object] | None = None,
    pin: TemplatePin | None = TemplatePin("todo", 1),
    hop: Hop | None = None,
    **more: Any,
) -> Envelope:
    """A delivery of a notification; `more` are fields of the delivery."""
    policy = Policy((hop or Hop(channel),))
    text = json.dumps({**DATA, **(data or {})})
    notification = NotificationDraft(NotificationId("ntf_1"), "todo", policy, template=pin, data=text)
    message = Message(
        MessageId(new_id("msg")), APP, ConversationId("cnv_1"), 1, UserKey(0), None, "card", "{}", utc_now()
    )
    delivery = Delivery(
        id=DeliveryId(new_id("dlv")),
        app=APP,
        message=message.id,
        notification=notification.id,
        conversation=message.conversation,
        seq=1,
        user=PEOPLE[person],
        user_seq=1,
        hop=0,
        channel=channel,
        state=DeliveryState.ATTEMPTING,
        created_at=utc_now(),
        attempts=1,
    )
    return Envelope(replace(delivery, **more), message, Recipient(person), notification)


def again(before: Envelope, *, doubt: timedelta | None = None) -> Envelope:
    """The same delivery at its next try; `doubt`: so long ago a try ended without a clear answer."""
    since = utc_now() - doubt if doubt is not None else None
    delivery = replace(before.delivery, attempts=before.delivery.attempts + 1, doubt_since=since)
    return replace(before, delivery=delivery)


async def one(channel: ChannelT, sent: Envelope) -> Outcome:
    """The outcome of one."""
    (outcome,) = await channel.deliver([sent])
    return outcome


async def each(channel: ChannelT, batch: Sequence[Envelope]) -> list[Outcome]:
    """The outcomes of a batch."""
    return list(await channel.deliver(batch))
