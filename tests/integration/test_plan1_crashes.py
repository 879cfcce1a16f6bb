"""Plan 1: whoever dies between Redis and SQL leaves nothing lost and nothing doubled (docs/decisions/0018)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.message import Accepted, Draft, UserKey
from hub.core.policy import Hop, Policy
from hub.store import plan1_wire as wire
from hub.store.plan1 import Plan1Store
from hub.store.plan1_commit import Plan1Commit
from hub.store.schema import metadata
from tests.fakes.channel import ScriptedChannel
from tests.services import RedisServer
from tests.support.engine import Rig, open_rig, test_settings

BOB = UserKey(2)
POLICY = Policy((Hop("sms"),))


class Died(Exception):
    """The process, at this place."""


@pytest.fixture
async def rigs(tmp_path: Path, database_url: str, plan1_redis: RedisServer) -> AsyncIterator[tuple[Rig, Rig]]:
    """Two nodes: one that dies, and one that goes on."""
    settings = test_settings(tmp_path, database_url, plan1_redis.url)
    settings = settings.model_copy(update={"store": "redis"})
    channels = ScriptedChannel("sms"), ScriptedChannel("sms")
    async with open_rig(settings, channels[0]) as one, open_rig(settings, channels[1], fresh=False) as two:
        yield one, two


def store_of(rig: Rig) -> Plan1Store:
    assert isinstance(rig.store, Plan1Store)
    return rig.store


async def count(rig: Rig, table: str) -> int:
    rows = await rig.store.database.rows(select(func.count()).select_from(metadata.tables[table]))
    return int(rows[0][0])


async def pending(rig: Rig) -> int:
    return int(await rig.link.ask("HLEN", wire.PENDING))


async def in_queue(rig: Rig) -> int:
    return len([e for e in await rig.store.entries(BOB, after=0, limit=99) if e.message is not None])


def dies(monkeypatch: pytest.MonkeyPatch, place: str, *, before: bool) -> Callable[[], None]:
    """The next commit dies before or after that step of it; what comes later lives."""
    step: Callable[..., Awaitable[Any]] = getattr(Plan1Commit, place)

    async def deadly(self: Plan1Commit, *words: Any) -> None:
        monkeypatch.setattr(Plan1Commit, place, step)
        if not before:
            await step(self, *words)
            if place == "_decide":
                words[1].decided = False  # nobody is there to know it
        raise Died

    monkeypatch.setattr(Plan1Commit, place, deadly)
    return lambda: monkeypatch.setattr(Plan1Commit, place, step)


def notice(rig: Rig) -> Draft:
    return rig.notice(2, policy=POLICY, dedupe_key="oa:1")


async def commit_and_die(rig: Rig, draft: Draft) -> None:
    """By the store, not by the engine, which would try again."""
    with pytest.raises(Died):
        await rig.store.commit(await built(rig, draft))


async def built(rig: Rig, draft: Draft) -> Any:
    """The batch that the engine would commit for a draft."""
    made: list[Any] = []
    commit = rig.store.commit

    async def take(batch: Any) -> None:
        made.append(batch)
        raise Unavailable("taken", "")

    rig.store.commit = take
    try:
        with pytest.raises(Unavailable):
            await rig.engine.submit(draft)
    finally:
        rig.store.commit = commit
    return made[0]


async def test_before_redis_has_decided_there_is_nothing(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    dies(monkeypatch, "_decide", before=True)
    await commit_and_die(one, notice(one))
    assert await count(two, "notification") == await count(two, "delivery") == await pending(two) == 0
    assert await in_queue(two) == 0
    answer = await two.engine.submit(notice(two))
    assert not answer.duplicate
    assert await in_queue(two) == 1


async def test_what_redis_has_decided_is_completed_by_another(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    dies(monkeypatch, "_decide", before=False)
    await commit_and_die(one, notice(one))
    assert (await count(two, "notification"), await pending(two)) == (0, 1)
    later = two.clock() + timedelta(minutes=1)
    assert await two.store.unpublished(before=later, limit=9) == [], "not before SQL has its part"
    assert await store_of(two).pending.complete(older_than=timedelta(0)) == 1
    assert (await count(two, "notification"), await count(two, "delivery"), await pending(two)) == (1, 1, 0)
    assert len(await two.store.unpublished(before=later, limit=9)) == 1
    assert await store_of(two).pending.complete(older_than=timedelta(0)) == 0
    assert await in_queue(two) == 1


async def test_a_repeat_by_its_key_completes_what_was_left(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    dies(monkeypatch, "_decide", before=False)
    draft = notice(one)
    await commit_and_die(one, draft)
    answer = await two.engine.submit(notice(two))
    assert answer.duplicate
    assert answer.message == draft.id
    assert (await count(two, "notification"), await count(two, "delivery"), await in_queue(two)) == (1, 1, 1)


async def test_a_part_that_sql_has_is_not_written_again(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    dies(monkeypatch, "_let_go", before=True)
    await commit_and_die(one, notice(one))
    assert (await count(two, "delivery"), await pending(two)) == (1, 1)
    assert await store_of(two).pending.complete(older_than=timedelta(0)) == 0
    assert (await count(two, "delivery"), await pending(two), await in_queue(two)) == (1, 0, 1)


async def test_a_commit_of_sql_that_failed_is_made_good_at_once(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    step = Plan1Commit._decide

    async def decide(self: Plan1Commit, *words: Any) -> None:
        monkeypatch.setattr(Plan1Commit, "_decide", step)
        await step(self, *words)
        raise Died  # as if the connection had gone while committing

    monkeypatch.setattr(Plan1Commit, "_decide", decide)
    answer = await one.engine.submit(notice(one))
    assert not answer.duplicate
    assert (await count(two, "notification"), await count(two, "delivery"), await pending(two)) == (1, 1, 0)
    assert await in_queue(two) == 1


async def test_two_who_complete_at_once_write_it_once(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    dies(monkeypatch, "_decide", before=False)
    await commit_and_die(one, notice(one))
    written = await asyncio.gather(
        *(store_of(rig).pending.complete(older_than=timedelta(0)) for rig in (one, two, one, two))
    )
    assert sum(written) == 1
    assert await count(two, "delivery") == 1


async def test_a_script_that_is_run_twice_commits_once(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = rigs
    redis = store_of(one).reading._redis
    ask = redis.ask

    async def twice(*words: Any) -> Any:
        await ask(*words)
        return await ask(*words)

    await one.engine.submit(one.chat(1, 2))
    monkeypatch.setattr(redis, "ask", twice)
    answer = await one.engine.submit(one.chat(1, 2))
    assert answer.seq == 2
    assert await in_queue(one) == 2


async def test_an_answer_that_was_lost_is_found_by_the_repeat(
    rigs: tuple[Rig, Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    await one.engine.submit(one.chat(1, 2))
    redis = store_of(one).reading._redis
    ask = redis.ask

    async def lost(*words: Any) -> Any:
        answer = await ask(*words)
        if words[0].name == "plan1_commit":
            monkeypatch.setattr(redis, "ask", ask)
            raise Unavailable("store_unavailable", "") from QueueUnavailable()
        return answer

    monkeypatch.setattr(redis, "ask", lost)
    with pytest.raises(Unavailable):
        await one.engine.submit(one.chat(1, 2, client_msg_id="c-1"))
    answer = await two.engine.submit(two.chat(1, 2, client_msg_id="c-1"))
    assert answer.duplicate
    assert isinstance(answer, Accepted)
    assert await in_queue(two) == 2


async def test_a_membership_that_changes_waits_for_the_decision(rigs: tuple[Rig, Rig]) -> None:
    one, two = rigs
    group = await one.group(1, 2, 3)
    conversation = metadata.tables["conversation"]
    from hub.core.message import ToConversation

    async def change() -> None:
        for _ in range(5):
            async with two.store.database.writing() as connection:
                await connection.execute(
                    conversation.update().where(conversation.c.id == group).values(
                        version=conversation.c.version + 1
                    )
                )  # fmt: skip

    sends = [one.engine.submit(one.draft(ToConversation(group), text=str(n))) for n in range(20)]
    answers = await asyncio.gather(change(), *sends)
    assert all(isinstance(answer, Accepted) for answer in answers[1:])
    assert await in_queue(two) == 20
