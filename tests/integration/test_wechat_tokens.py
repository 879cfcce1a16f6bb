"""Tokens and callbacks remembered in a real Redis, shared by sources that know nothing of each other."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from hub.channels._wechat.callback import open_callback
from hub.channels._wechat.client import Credentials, stable_token
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.memory import CallbackMemory, RedisMemory, Sight
from hub.channels._wechat.shelf import RedisShelf
from hub.channels._wechat.tokens import Fetched, TokenLimits, TokenSource
from hub.channels._wechat.transport import open_transport
from hub.core.errors import QueueUnavailable
from hub.redis_link import LinkLimits, RedisLink, open_redis
from hub.store.secrets import SecretBox
from tests.services import RedisServer, start_redis
from tests.unit.wechat.callbacks import JOB, NOW, PLAIN, query_of, xml_event
from tests.unit.wechat.fake_wechat import APPID, SECRET, FakeWeChat, answering, running

BOX = SecretBox(Fernet.generate_key().decode())
LIMITS = TokenLimits(
    wait=timedelta(seconds=1), trust=timedelta(milliseconds=50), poll=timedelta(milliseconds=10)
)
LOCK = timedelta(seconds=20)


class Office:
    """A WeChat, a Redis, and as many processes as wanted."""

    def __init__(self, fake: FakeWeChat, url: str, stack: AsyncExitStack) -> None:
        self.fake = fake
        self.url = url
        self._stack = stack

    async def link(self) -> RedisLink:
        limits = LinkLimits(pause=timedelta(milliseconds=20))
        return await self._stack.enter_async_context(open_redis(self.url, limits))

    async def shelf(self, *, box: SecretBox = BOX, lock: timedelta = LOCK) -> RedisShelf:
        return RedisShelf(await self.link(), APPID, box=box, lock=lock)

    async def source(self, *, secret: str = SECRET) -> TokenSource:
        transport = await self._stack.enter_async_context(open_transport(self.fake.base))
        fetch = stable_token(transport, Credentials(APPID, secret))
        return TokenSource(APPID, fetch, await self.shelf(), limits=LIMITS)


@pytest.fixture
async def office(redis_server: RedisServer) -> AsyncIterator[Office]:
    redis_server.flush()
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(running(FakeWeChat()))
        yield Office(fake, redis_server.url, stack)


async def test_many_processes_at_once_are_one_fetch(office: Office) -> None:
    office.fake.token_delay = 0.2
    sources = [await office.source() for _ in range(10)]
    tokens = await asyncio.gather(*(source.get() for source in sources for _ in range(20)))
    assert set(tokens) == {office.fake.token}
    assert office.fake.fetches == [False]


async def test_many_processes_with_a_refused_token_are_one_fetch(office: Office) -> None:
    sources = [await office.source() for _ in range(10)]
    old = office.fake.token
    await asyncio.gather(*(source.get() for source in sources))
    office.fake.invalidate()
    renewed = await asyncio.gather(*(source.renew(old) for source in sources for _ in range(20)))
    assert set(renewed) == {office.fake.token}
    assert office.fake.fetches == [False, False]


async def test_many_processes_force_once(office: Office) -> None:
    sources = [await office.source() for _ in range(5)]
    old = str(await sources[0].get())
    results = await asyncio.gather(*(source.renew(old) for source in sources))
    assert set(results) == {office.fake.token}
    again = await asyncio.gather(*(source.renew(office.fake.token) for source in sources))
    assert all(isinstance(result, Failure) and result.kind is Kind.TOKEN for result in again)
    assert office.fake.fetches.count(True) == 1


async def test_near_its_end_only_the_winner_waits(office: Office) -> None:
    office.fake.expires_in = 200
    one, two = await office.source(), await office.source()
    old = office.fake.token
    assert await one.get() == old
    office.fake.invalidate()
    office.fake.expires_in = 7200
    office.fake.token_delay = 0.5
    await asyncio.sleep(0.1)
    winner = asyncio.create_task(one.get())
    await asyncio.sleep(0.1)
    async with asyncio.timeout(0.3):
        assert await two.get() == old
    assert await winner == office.fake.token
    await asyncio.sleep(0.1)
    assert await two.get() == office.fake.token


async def test_a_dead_winner_is_waited_out(office: Office) -> None:
    shelf = await office.shelf(lock=timedelta(milliseconds=300))
    assert await shelf.claim("a process that dies now")
    source = await office.source()
    async with asyncio.timeout(3):
        assert await source.get() == office.fake.token


async def test_losers_give_up_in_bounded_time_and_send_nothing(office: Office) -> None:
    assert await (await office.shelf()).claim("a process that hangs")
    source = await office.source()
    async with asyncio.timeout(5):
        result = await source.get()
    assert isinstance(result, Failure)
    assert (result.kind, result.sent) == (Kind.BUSY, False)
    assert office.fake.fetches == []


async def test_only_the_holder_of_the_lock_stores(office: Office) -> None:
    slow, quick = await office.shelf(lock=timedelta(milliseconds=50)), await office.shelf()
    assert await slow.claim("slow")
    assert not await quick.claim("quick")
    await asyncio.sleep(0.1)
    assert await quick.claim("quick")
    await quick.put("quick", "newer", timedelta(hours=2))
    await slow.put("slow", "older", timedelta(hours=2))
    stored = await slow.read()
    assert stored is not None
    assert stored.token == "newer"
    assert timedelta(hours=1) < stored.left <= timedelta(hours=2)
    assert await quick.claim("next"), "put has let go"
    await slow.release("slow")
    assert not await quick.claim("another"), "a stranger cannot let go"


async def test_forcing_is_counted_for_all_processes(office: Office) -> None:
    link = await office.link()
    shelves = [
        RedisShelf(link, APPID, box=BOX, lock=LOCK, force_gap=timedelta(milliseconds=30), forces_a_day=2)
        for _ in range(3)
    ]
    assert await shelves[0].may_force("a")
    assert await shelves[0].may_force("a"), "asked twice by one, counted once"
    assert not await shelves[1].may_force("b")
    await asyncio.sleep(0.05)
    assert await shelves[1].may_force("b")
    await asyncio.sleep(0.05)
    assert not await shelves[2].may_force("c"), "two a day"


async def test_nothing_readable_lies_in_redis(office: Office, redis_server: RedisServer) -> None:
    await (await office.source()).get()
    link = await office.link()
    keys = await link.ask("KEYS", "hub:wx:*")
    assert keys
    for key in keys:
        kind = (await link.ask("TYPE", key)).decode()
        value = await link.ask("HGETALL" if kind == "hash" else "GET", key)
        assert office.fake.token.encode() not in (value if isinstance(value, bytes) else b"")


async def test_a_token_sealed_with_a_lost_key_is_fetched_again(office: Office) -> None:
    other = await office.shelf(box=SecretBox(Fernet.generate_key().decode()))
    await other.claim("x")
    await other.put("x", "whatever", timedelta(hours=2))
    assert await (await office.source()).get() == office.fake.token


async def test_a_wrong_secret_is_the_accounts_fault_and_is_not_told(office: Office) -> None:
    source = await office.source(secret=f"{SECRET}-wrong")
    result = await source.get()
    assert isinstance(result, Failure)
    assert (result.kind, result.errcode) == (Kind.ACCOUNT, 40125)
    assert SECRET + "-wrong" not in repr(result)
    assert isinstance(await source.get(), Failure)
    assert len(office.fake.fetches) == 1


async def test_an_endpoint_that_answers_nonsense_sends_nothing(office: Office) -> None:
    for nonsense in ("<html>", "{}", '{"access_token":1}', '{"access_token":"a","expires_in":0}', "[]"):
        office.fake.behave_token = answering(nonsense)
        result = await (await office.source()).get()
        assert isinstance(result, Failure)
        assert (result.kind, result.sent) == (Kind.BUSY, False)


async def test_redis_may_go_and_come_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(running(FakeWeChat()))
        with start_redis(tmp_path) as server:
            office = Office(fake, server.url, stack)
            one, two = await office.source(), await office.source()
            memory = CallbackMemory(RedisMemory(await office.link()))
            old = fake.token
            assert [await one.get(), await two.get()] == [old, old]
            server.stop()
            await asyncio.sleep(0.06)
            assert [await one.get(), await two.get()] == [old, old]
            fake.invalidate()
            assert [await one.renew(old), await two.renew(old)] == [fake.token] * 2
            assert True not in fake.fetches
            callback = open_callback(PLAIN, query_of(), JOB, now=NOW)
            assert [await memory.sight(callback) for _ in range(2)] == [Sight.NEW, Sight.SEEN]
            await memory.done(callback)
            await memory.forget(callback)
            server.start()
            await _back(await office.link())
            await asyncio.sleep(0.1)
            # Redis has come back with the token of before: it is refused, compared, and replaced once.
            for source in (one, two):
                given = str(await source.get())
                assert given == fake.token or await source.renew(given) == fake.token
            assert True not in fake.fetches


async def test_processes_in_truth(office: Office) -> None:
    """Sources on loops of their own, in threads: nothing but Redis between them."""

    def process() -> tuple[str | Failure, int]:
        async def main() -> tuple[str | Failure, int]:
            fetches = 0

            async def fetch(force: bool) -> Fetched | Failure:
                nonlocal fetches
                fetches += 1
                await asyncio.sleep(0.1)
                return Fetched(secrets.token_hex(8), timedelta(hours=2))

            async with open_redis(office.url) as link:
                shelf = RedisShelf(link, "wx-threads", box=BOX, lock=LOCK)
                return await TokenSource("wx-threads", fetch, shelf).get(), fetches

        return asyncio.run(main())

    results = await asyncio.gather(*(asyncio.to_thread(process) for _ in range(8)))
    assert len({token for token, _ in results}) == 1
    assert sum(fetches for _, fetches in results) == 1


async def test_an_event_is_new_for_one_node_only(office: Office) -> None:
    memories = [CallbackMemory(RedisMemory(await office.link())) for _ in range(4)]
    callback = open_callback(PLAIN, query_of(), JOB, now=NOW)
    sights = await asyncio.gather(*(memory.sight(callback) for memory in memories for _ in range(5)))
    assert sights.count(Sight.NEW) == 1
    assert sights.count(Sight.SEEN) == 19
    await memories[0].done(callback)
    assert await memories[1].sight(callback) is Sight.SEEN
    forged = open_callback(PLAIN, query_of(), xml_event("unsubscribe"), now=NOW)
    assert await memories[2].sight(forged) is Sight.FORGED
    await memories[3].forget(callback)
    assert await memories[0].sight(callback) is Sight.NEW


async def _back(link: RedisLink) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await link.ask("PING")
                return
            except QueueUnavailable:
                await asyncio.sleep(0.02)
