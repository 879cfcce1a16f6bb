"""Work that is done some at a time, and hellos that begin so: order, measure and patience, in turns of the loop."""

from __future__ import annotations

import asyncio

import pytest

from hub.channels.ws.admission import Admission
from hub.channels.ws.turnstile import Turnstile


async def each_turn(done: list[int], most: int) -> list[int]:
    """How many more were done in each turn of the loop, until there are `most`."""
    steps, before = [], len(done)
    while len(done) < most:
        await asyncio.sleep(0)
        if len(done) > before:
            steps.append(len(done) - before)
            before = len(done)
    return steps


async def test_what_is_over_the_measure_is_done_in_the_next_turns_in_order() -> None:
    line, done = Turnstile(3), list[int]()
    passed = [line.enter(lambda n=number: done.append(n)) for number in range(8)]  # type: ignore[misc]
    assert passed == [True] * 3 + [False] * 5
    assert done == [0, 1, 2]
    assert len(line) == 5
    assert await each_turn(done, 8) == [3, 2]
    assert done == list(range(8))


async def test_who_comes_in_a_later_turn_does_not_pass_those_who_wait() -> None:
    line, done = Turnstile(2), list[int]()
    for number in range(4):
        line.enter(lambda n=number: done.append(n))  # type: ignore[misc]
    await asyncio.sleep(0)
    line.enter(lambda: done.append(4))
    await each_turn(done, 5)
    assert done == list(range(5))


async def test_after_a_quiet_turn_the_whole_measure_is_there_again() -> None:
    line, done = Turnstile(1), list[int]()
    for number in range(3):
        assert line.enter(lambda n=number: done.append(n))  # type: ignore[misc]
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_nothing_is_done_while_it_is_held_and_everything_after() -> None:
    held, done = True, list[int]()
    line = Turnstile(2, held=lambda: held)
    for number in range(5):
        assert not line.enter(lambda n=number: done.append(n))  # type: ignore[misc]
    for _ in range(10):
        await asyncio.sleep(0)
    assert (done, len(line)) == ([], 5)
    held = False
    assert max(await each_turn(done, 5)) == 2
    assert done == list(range(5))


async def test_of_hellos_that_get_a_turn_at_once_some_begin_in_each_turn_of_the_loop() -> None:
    admission = Admission(at_once=100, backlog=100, patience=10.0)
    begun, over = list[int](), asyncio.Event()

    async def greet(number: int) -> None:
        async with admission.turn():
            begun.append(number)
            await over.wait()

    greeting = [asyncio.create_task(greet(number)) for number in range(50)]
    assert max(await each_turn(begun, 50)) == 16
    assert begun == list(range(50))
    over.set()
    await asyncio.gather(*greeting)


async def test_it_is_crowded_when_as_many_wait_as_are_looked_at() -> None:
    admission = Admission(at_once=2, backlog=10, patience=10.0)
    over = asyncio.Event()

    async def greet() -> None:
        async with admission.turn():
            await over.wait()

    greeting = [asyncio.create_task(greet()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not admission.crowded
    greeting.append(asyncio.create_task(greet()))
    await asyncio.sleep(0)
    assert admission.crowded
    over.set()
    await asyncio.gather(*greeting)
    assert not admission.crowded


async def test_who_has_waited_has_all_the_time_for_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine seconds for a turn and nine for the answers are within a patience of ten; eleven for either are not."""
    loop = asyncio.get_running_loop()
    real, later = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + later)
    admission = Admission(at_once=1, backlog=10, patience=10.0)
    leave = [asyncio.Event() for _ in range(3)]
    begun = [asyncio.Event() for _ in range(3)]

    async def greet(number: int) -> None:
        async with admission.turn():
            begun[number].set()
            await leave[number].wait()

    first, second = asyncio.create_task(greet(0)), asyncio.create_task(greet(1))
    await begun[0].wait()
    later += 9.0
    leave[0].set()
    await first
    await begun[1].wait()
    later += 9.0
    third = asyncio.create_task(greet(2))
    await asyncio.sleep(0.01)
    leave[1].set()
    await second
    await begun[2].wait()
    later += 11.0
    with pytest.raises(TimeoutError):
        await third


async def test_who_gets_no_turn_in_time_is_refused_and_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    real, later = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + later)
    admission = Admission(at_once=1, backlog=10, patience=10.0)
    await admission._turns.acquire()  # somebody who never ends

    async def greet() -> None:
        async with admission.turn():
            raise AssertionError

    waiting = asyncio.create_task(greet())
    await asyncio.sleep(0)
    assert admission.waiting == 1
    later += 11.0
    with pytest.raises(TimeoutError):
        await waiting
    assert (admission.waiting, admission.refused) == (0, 1)
