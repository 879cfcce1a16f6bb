"""Plan 1 when Redis has forgotten: messages are lost, and nothing is doubled, reordered or given a number again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from hub.core.identity import EndUser
from hub.core.message import Accepted, DeviceKey, SeqKey, ToConversation, UserKey
from hub.store.plan1_redis import JUMP
from hub.store.schema import metadata
from tests.integration.queue_of_test import copy_of, fail_over
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

ALICE, BOB = UserKey(1), UserKey(2)
PHONE = DeviceKey(7)


@pytest.fixture
async def rig(tmp_path: Path, plan1_redis: RedisServer) -> AsyncIterator[Rig]:
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", plan1_redis.url)
    async with open_rig(settings.model_copy(update={"store": "redis"})) as opened:
        device = metadata.tables["device"]
        async with opened.store.database.writing() as connection:
            await connection.execute(
                insert(device).values(
                    id=PHONE, user_id=BOB, device_id="phone", platform="app", name="", cursor=0,
                    created_at=opened.clock(),
                )
            )  # fmt: skip
            # People who were there before this Redis was met.
            await connection.execute(text('UPDATE "user" SET created_at = 0'))
        yield opened


async def send(rig: Rig, count: int) -> list[Accepted]:
    answers = await rig.engine.submit_many([rig.chat(1, 2, text=str(n)) for n in range(count)])
    await rig.published()
    found = [answer for answer in answers if isinstance(answer, Accepted)]
    assert len(found) == count, answers
    return found


async def test_a_flushed_redis_gives_no_number_again(rig: Rig, plan1_redis: RedisServer) -> None:
    sent = await send(rig, 10)
    rig.engine.ack(PHONE, BOB, 9)
    await rig.engine.cursors.flush()
    await rig.engine.read(EndUser(APP, BOB, "u2", rig.clock()), sent[0].conversation, 8)
    plan1_redis.flush()
    (new,) = await send(rig, 1)
    assert new.seq > 8 + JUMP
    head = await rig.engine.head(BOB)
    assert head > 9 + JUMP
    for after in (3, 9, 10, 500):  # 10 was pushed and not acknowledged
        page = await rig.engine.sync(BOB, after=after, limit=50)
        assert (page.rebase, page.next) == (True, head), after
    page = await rig.engine.sync(BOB, after=head - 1, limit=50)
    assert [message.id for _, message in page.entries if message is not None] == [new.message]


async def test_who_only_waits_is_told_as_well(rig: Rig, plan1_redis: RedisServer) -> None:
    await send(rig, 10)
    rig.engine.ack(PHONE, BOB, 10)
    await rig.engine.cursors.flush()
    plan1_redis.flush()
    head = await rig.engine.head(BOB)
    assert head > 10
    page = await rig.engine.sync(BOB, after=10, limit=50)
    assert (page.rebase, page.next) == (True, head)
    after = await rig.engine.sync(BOB, after=head, limit=50)
    assert (after.entries, after.rebase, after.next) == ((), False, head)


async def test_an_older_redis_keeps_what_it_has_and_goes_on_above_the_rest(
    rig: Rig, plan1_redis: RedisServer
) -> None:
    kept = await send(rig, 5)
    old = await copy_of(rig.link)
    lost = await send(rig, 5)
    await fail_over(plan1_redis, rig.link, old)
    (new,) = await send(rig, 1)
    assert new.seq > max(answer.seq for answer in lost)
    history = await rig.engine.history(new.conversation, reader=BOB, after=0, before=None, limit=50)
    assert [m.id for m in history.messages] == [*(answer.message for answer in kept), new.message]
    page = await rig.engine.sync(BOB, after=10, limit=50)
    assert page.rebase
    again = await send(rig, 3)
    page = await rig.engine.sync(BOB, after=page.next, limit=50)
    assert [m.id for _, m in page.entries if m is not None] == [answer.message for answer in again]


async def test_numbers_of_the_life_before_are_not_committed_in_this_one(
    rig: Rig, plan1_redis: RedisServer
) -> None:
    await send(rig, 3)
    old = await copy_of(rig.link)
    await send(rig, 3)
    await fail_over(plan1_redis, rig.link, old)
    group = await rig.group(1, 2)
    await rig.engine.submit_many([rig.draft(ToConversation(group), text=str(n)) for n in range(5)])
    entries = await rig.store.entries(BOB, after=3, limit=50)
    assert min(entry.user_seq for entry in entries) > 6
    heads = await rig.store.heads([SeqKey.of_user(BOB), SeqKey.of_conversation(group)])
    assert heads[SeqKey.of_conversation(group)] >= 5


async def test_a_first_start_jumps_over_nothing(rig: Rig) -> None:
    (first,) = await send(rig, 1)
    assert first.seq == 1
    assert await rig.engine.head(BOB) == 1
