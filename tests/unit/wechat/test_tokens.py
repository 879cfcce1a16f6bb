"""The token source alone: a clock and an endpoint made of memory."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from hub.channels._wechat.errcodes import failure_of
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.shelf import FORCE_GAP, LocalShelf, Stored
from hub.channels._wechat.tokens import Fetched, TokenLimits, TokenSource
from hub.core.errors import QueueUnavailable
from hub.core.outcome import Reason

LIFE = timedelta(hours=2)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """stable_token: the same token until it is invalidated or forced."""

    def __init__(self) -> None:
        self.serial = 1
        self.calls: list[bool] = []
        self.failure: Failure | None = None
        self.life = LIFE
        self.stuck = False

    async def __call__(self, force: bool) -> Fetched | Failure:
        self.calls.append(force)
        await asyncio.sleep(0.005)
        if self.failure is not None:
            return self.failure
        if force and not self.stuck:
            self.serial += 1
        return Fetched(f"token-{self.serial}", self.life)


class World:
    def __init__(self, *, forces: int = 10) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.shelf = LocalShelf(clock=self.clock, forces_a_day=forces)

    def source(self) -> TokenSource:
        """As another process would have it."""
        limits = TokenLimits(wait=timedelta(seconds=1), poll=timedelta(milliseconds=5))
        return TokenSource("wx1", self.endpoint, self.shelf, limits=limits, clock=self.clock)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_hundred_sends_of_three_processes_are_one_fetch(world: World) -> None:
    sources = [world.source() for _ in range(3)]
    tokens = await asyncio.gather(*(source.get() for source in sources for _ in range(100)))
    assert set(tokens) == {"token-1"}
    assert world.endpoint.calls == [False]


async def test_a_copy_is_trusted_for_a_moment_and_the_shelf_after_it(world: World) -> None:
    one, two = world.source(), world.source()
    await one.get()
    world.endpoint.serial = 2
    assert await two.renew("token-1") == "token-2"
    assert await one.get() == "token-1"
    world.clock.now += 3
    assert await one.get() == "token-2"
    assert world.endpoint.calls == [False, False]


async def test_near_its_end_one_replaces_it_and_the_others_go_on(world: World) -> None:
    one, two = world.source(), world.source()
    await one.get()
    await two.get()
    world.clock.now += LIFE.total_seconds() - 200
    world.endpoint.serial = 2
    replaced, *others = await asyncio.gather(one.get(), one.get(), two.get())
    assert replaced == "token-2"
    assert set(others) <= {"token-1", "token-2"}
    assert world.endpoint.calls == [False, False]


async def test_a_dead_token_is_never_given_out(world: World) -> None:
    source = world.source()
    await source.get()
    world.clock.now += LIFE.total_seconds() + 1
    world.endpoint.failure = failure_of(-1, "busy")
    result = await source.get()
    assert isinstance(result, Failure)
    assert result.kind is Kind.BUSY


async def test_a_living_token_outlasts_an_endpoint_that_is_away(world: World) -> None:
    source = world.source()
    await source.get()
    world.clock.now += LIFE.total_seconds() - 200
    world.endpoint.failure = failure_of(-1, "busy")
    assert [await source.get() for _ in range(20)] == ["token-1"] * 20
    world.clock.now += 2.5  # past the trust, within the calm
    assert await source.get() == "token-1"
    assert len(world.endpoint.calls) == 2


async def test_a_failed_fetch_is_not_repeated_by_everybody(world: World) -> None:
    source = world.source()
    world.endpoint.failure = failure_of(40164, "invalid ip", at_token_endpoint=True)
    results = await asyncio.gather(*(source.get() for _ in range(50)))
    assert all(isinstance(r, Failure) and r.errcode == 40164 for r in results)
    assert len(world.endpoint.calls) == 1
    world.endpoint.failure = None
    assert isinstance(await source.get(), Failure)
    world.clock.now += 61
    assert await source.get() == "token-1"


async def test_a_refused_token_is_renewed_once_for_all(world: World) -> None:
    sources = [world.source() for _ in range(3)]
    await asyncio.gather(*(source.get() for source in sources))
    world.endpoint.serial = 2
    renewed = await asyncio.gather(*(source.renew("token-1") for source in sources for _ in range(50)))
    assert set(renewed) == {"token-2"}
    assert world.endpoint.calls == [False, False]


async def test_a_token_that_another_has_renewed_is_compared_not_fetched(world: World) -> None:
    one, two = world.source(), world.source()
    await one.get()
    await two.get()
    world.endpoint.serial = 2
    assert await one.renew("token-1") == "token-2"
    assert await two.renew("token-1") == "token-2"
    assert await two.renew("token-0") == "token-2"
    assert len(world.endpoint.calls) == 2


async def test_force_comes_last_and_rarely(world: World) -> None:
    source = world.source()
    await source.get()
    assert await source.renew("token-1") == "token-2"
    assert world.endpoint.calls == [False, False, True]
    refused = await source.renew("token-2")
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.reason, refused.sent) == (Kind.TOKEN, Reason.AUTH_FAILED, False)
    assert world.endpoint.calls.count(True) == 1
    world.clock.now += FORCE_GAP.total_seconds() + 1
    assert await source.renew("token-2") == "token-3"
    assert world.endpoint.calls.count(True) == 2


async def test_a_storm_of_refusals_is_bounded(world: World) -> None:
    source = world.source()
    await source.get()
    world.endpoint.stuck = True
    results = await asyncio.gather(*(source.renew("token-1") for _ in range(200)))
    assert all(isinstance(result, Failure) for result in results)
    assert world.endpoint.calls == [False, False, True]


async def test_force_is_limited_by_the_day() -> None:
    world = World(forces=2)
    source = world.source()
    await source.get()
    for serial in range(1, 6):
        world.clock.now += 60
        await source.renew(f"token-{serial}")
    assert world.endpoint.calls.count(True) == 2


async def test_a_fetch_that_never_ends_keeps_nobody_longer_than_the_wait(world: World) -> None:
    async def never(_force: bool) -> Fetched | Failure:
        await asyncio.sleep(60)
        raise AssertionError

    limits = TokenLimits(wait=timedelta(milliseconds=50), poll=timedelta(milliseconds=5))
    stuck = TokenSource("wx1", never, world.shelf, limits=limits)
    holder = asyncio.create_task(stuck.get())
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        same = await stuck.get()
        other = await TokenSource("wx1", never, world.shelf, limits=limits).get()
    assert isinstance(same, Failure)
    assert same.kind is Kind.BUSY
    assert isinstance(other, Failure)
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    assert await world.source().get() == "token-1", "a canceled fetch has let go"


class AwayShelf(LocalShelf):
    """Redis as it is when it is not."""

    away = True

    async def read(self) -> Stored | None:
        if self.away:
            raise QueueUnavailable("away")
        return await super().read()


async def test_without_redis_each_process_looks_after_itself_and_never_forces() -> None:
    endpoint, clock, shelf = Endpoint(), Clock(), AwayShelf()
    source = TokenSource("wx1", endpoint, shelf, clock=clock)
    assert await source.get() == "token-1"
    for _ in range(10):
        clock.now += 10
        assert await source.get() == "token-1"
    assert endpoint.calls == [False]
    assert isinstance(await source.renew("token-1"), Failure)
    assert True not in endpoint.calls
    shelf.away = False
    clock.now += 10
    assert await source.get() == "token-1"


async def test_no_token_shows_in_logs_or_reprs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = world.source()
    await source.get()
    await source.renew("token-1")
    refused = await source.renew("token-2")
    records = " ".join(str(record.__dict__) for record in caplog.records)
    shown = f"{records} {refused!r} {source!r} {source.__dict__!r} {Fetched('token-1', LIFE)!r}"
    assert "token-1" not in shown
    assert "token-2" not in shown
    assert "wechat_token_forced" in records


async def test_a_local_shelf_stores_for_the_holder_of_the_lock_only() -> None:
    shelf = LocalShelf()
    assert await shelf.claim("a")
    assert await shelf.claim("a")
    assert not await shelf.claim("b")
    await shelf.put("b", "late", LIFE)
    await shelf.release("b")
    assert await shelf.read() is None
    await shelf.put("a", "good", LIFE)
    stored = await shelf.read()
    assert stored is not None
    assert stored.token == "good"
    assert await shelf.claim("b")


async def test_forcing_is_counted_once_for_one_owner() -> None:
    shelf = LocalShelf()
    assert await shelf.may_force("a")
    assert await shelf.may_force("a")
    assert not await shelf.may_force("b")
