"""Plan 1: a queue's overflow, what bounds it, and the counts that let bodies go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from hub.core.chat_rules import Doer
from hub.core.conversation import direct_id
from hub.core.message import RECALLED, SYSTEM, Accepted, MessageId, SeqKey, ToConversation, UserKey
from hub.core.policy import PUSH_ONLY, Hop, Policy
from hub.store import plan1_wire as wire
from hub.store.schema import metadata
from tests.contract.store_builders import batch, item
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

ALICE, BOB = UserKey(1), UserKey(2)


@pytest.fixture
async def rig(tmp_path: Path, plan1_redis: RedisServer) -> AsyncIterator[Rig]:
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", plan1_redis.url)
    small = {"store": "redis", "queue_capacity": 16, "queue_overflow": 30, "history_capacity": 100}
    async with open_rig(settings.model_copy(update=small)) as opened:
        yield opened


async def send(rig: Rig, count: int) -> list[MessageId]:
    answers = await rig.engine.submit_many([rig.chat(1, 2, text=str(n)) for n in range(count)])
    await rig.published()
    return [answer.message for answer in answers if isinstance(answer, Accepted)]


async def counts(rig: Rig, user: UserKey) -> tuple[int, int]:
    """References in the sorted set and in the overflow."""
    queue = wire.queue(user)
    hot, over = await rig.link.run([("ZCOUNT", queue, "(0", "+inf"), ("LLEN", f"{queue}:o")])
    return hot, over


async def references(rig: Rig, message: MessageId) -> int:
    home = wire.partition(message.encode())
    return int(await rig.link.ask("HGET", f"{home}r", message) or 0)


async def test_a_reader_does_not_notice_where_the_overflow_begins(rig: Rig) -> None:
    sent = await send(rig, 40)
    assert await counts(rig, BOB) == (16, 24)
    for limit in (1, 7, 24, 25, 100):
        read: list[MessageId | None] = []
        page = await rig.store.entries(BOB, after=0, limit=limit)
        while page:
            read += [entry.message for entry in page]
            page = await rig.store.entries(BOB, after=page[-1].user_seq, limit=limit)
        assert read == sent
    synced = await rig.engine.sync(BOB, after=3, limit=100)
    assert [entry.user_seq for entry, _ in synced.entries] == list(range(4, 41))
    assert all(message is not None for _, message in synced.entries)


async def test_past_the_overflow_the_floor_rises_and_readers_start_again(rig: Rig) -> None:
    await send(rig, 60)
    assert await counts(rig, BOB) == (16, 30)
    assert await rig.store.floor(SeqKey.of_user(BOB)) == 14
    page = await rig.engine.sync(BOB, after=3, limit=100)
    assert (page.rebase, page.next) == (True, 60)
    kept = await rig.engine.sync(BOB, after=14, limit=100)
    assert [entry.user_seq for entry, _ in kept.entries] == list(range(15, 61))


async def test_a_late_reference_goes_to_its_place_in_the_overflow(rig: Rig) -> None:
    group = await rig.group(1, 2)
    numbers = [n for n in range(1, 31) if n != 4]
    await rig.store.commit(batch(*(item(group, n, {BOB: n}) for n in numbers)))
    assert (await counts(rig, BOB))[1] == 13
    await rig.store.commit(batch(item(group, 4, {BOB: 4})))
    entries = await rig.store.entries(BOB, after=0, limit=99)
    assert [entry.user_seq for entry in entries] == list(range(1, 31))


async def test_a_body_goes_with_the_last_who_refers_to_it(rig: Rig) -> None:
    group = await rig.group(1, 2)
    first = await rig.engine.submit(rig.draft(ToConversation(group), text="first", client_msg_id="c-1"))
    assert await references(rig, first.message) == 3
    await rig.engine.submit_many([rig.chat(1, 3, text=str(n)) for n in range(46)])
    assert await references(rig, first.message) == 2  # out of Alice's queue
    await rig.engine.submit_many([rig.chat(4, 2, text=str(n)) for n in range(46)])
    assert await references(rig, first.message) == 1  # the history's
    assert (await rig.engine.history(group, reader=ALICE, after=0, before=None, limit=9)).messages
    for _ in range(2):
        await rig.engine.submit_many([rig.draft(ToConversation(group), text=str(n)) for n in range(50)])
    assert await references(rig, first.message) == 0
    assert await rig.store.messages([first.message]) == {}
    again = await rig.engine.submit(rig.draft(ToConversation(group), text="again", client_msg_id="c-1"))
    assert not again.duplicate


async def test_a_body_outlives_the_history_while_a_queue_has_it(rig: Rig) -> None:
    group = await rig.group(1, 2)
    await rig.store.commit(batch(item(group, 1, {BOB: 1})))
    for start in (2, 52):
        await rig.store.commit(batch(*(item(group, n, {}) for n in range(start, start + 50))))
    (entry,) = await rig.store.entries(BOB, after=0, limit=9)
    assert entry.message is not None
    assert entry.message in await rig.store.messages([entry.message])
    assert await rig.store.floor(SeqKey.of_conversation(group)) == 1
    page = await rig.store.history(group, after=0, before=None, limit=500)
    assert [message.seq for message in page] == list(range(2, 102))


async def test_nothing_is_left_of_what_was_let_go(rig: Rig) -> None:
    await rig.engine.submit_many([rig.chat(1, 2, text=str(n), client_msg_id=f"c-{n}") for n in range(300)])
    room = direct_id(APP, ALICE, BOB)
    kept = await rig.link.ask("ZCOUNT", wire.room(room), "(0", "+inf")
    totals = []
    for kind in ("b", "r", "k"):
        keys = await rig.link.ask("KEYS", f"hub:p1:*:{kind}")
        totals.append(sum(await rig.link.run([("HLEN", key) for key in keys])))
    assert kept == 100
    assert totals == [100, 100, 100]


async def rows(rig: Rig, table: str) -> int:
    query = select(func.count()).select_from(metadata.tables[table])
    return int((await rig.store.database.rows(query))[0][0])


async def forgotten(rig: Rig) -> None:
    """What the worker does every few minutes."""
    await rig.store.forget_batches(rig.clock() - timedelta(days=1))


async def test_what_hangs_on_a_body_in_sql_follows_it(rig: Rig) -> None:
    group = await rig.group(1, 2, 3)
    doer, business = Doer(APP, BOB, "u2"), Doer(APP, SYSTEM, None)
    given: list[dict[str, Any]] = [
        {},
        {},
        {"mentions": ("u2",)},
        {"body": '{"media":"med_1"}', "kind": "image"},
        {},
    ]
    liked, pinned, named, shown, plain = [
        (await rig.engine.chat.send(replace(rig.draft(ToConversation(group)), **more))).message
        for more in given
    ]
    await rig.engine.chat.react(doer, liked, "👍", added=True)
    await rig.engine.chat.pin(business, pinned, added=True)
    async with rig.store.database.writing() as connection:
        reference = {"media_id": "med_1", "message_id": shown, "created_at": rig.clock()}
        await connection.execute(insert(metadata.tables["media_ref"]).values(reference))
    hanging = ("reaction", "reaction_count", "pin", "mention", "media_ref")
    await forgotten(rig)
    assert [await rows(rig, table) for table in hanging] == [1, 1, 1, 1, 1]
    for _ in range(3):
        await rig.engine.submit_many([rig.draft(ToConversation(group), text=str(n)) for n in range(50)])
    assert await rig.store.messages([liked, pinned, named, shown, plain]) == {}
    assert await rig.link.ask("SCARD", wire.gone()) == 4, "of the plain one SQL knows nothing"
    await forgotten(rig)
    assert [await rows(rig, table) for table in hanging] == [0, 0, 0, 0, 0]
    assert await rig.link.ask("SCARD", wire.gone()) == 0


async def test_a_notification_outlives_its_body_until_its_time_is_over(rig: Rig) -> None:
    told = await rig.engine.submit(rig.notice(2, policy=Policy((Hop("sms"),))))
    await rig.engine.submit_many([rig.chat(1, 2, text=str(n)) for n in range(60)])
    await rig.engine.submit_many([rig.notice(3, policy=PUSH_ONLY) for _ in range(60)])
    await rig.engine.submit_many([rig.notice(3, policy=PUSH_ONLY) for _ in range(60)])
    assert await rig.store.messages([told.message]) == {}
    await rig.store.expire_messages(rig.clock() - timedelta(hours=1), app=APP)
    assert (await rows(rig, "delivery"), await rows(rig, "notification")) == (1, 121)
    rig.clock.advance(timedelta(hours=2))
    late = await rig.engine.submit(rig.notice(2, policy=PUSH_ONLY))
    await rig.store.expire_messages(rig.clock() - timedelta(hours=1), app=APP)
    assert (await rows(rig, "delivery"), await rows(rig, "notification")) == (0, 1)
    assert late.message in await rig.store.messages([late.message])


async def out_of_the_history(rig: Rig, *, count: int) -> list[MessageId]:
    """The first messages of a group are in Bob's queue only, as they are of one who has left it."""
    group = await rig.group(1, 2)
    await rig.store.commit(batch(*(item(group, n, {BOB: n}, sender=ALICE) for n in range(1, count + 1))))
    for start in (count + 1, count + 51):
        await rig.store.commit(batch(*(item(group, n, {}) for n in range(start, start + 50))))
    entries = await rig.store.entries(BOB, after=0, limit=9)
    return [entry.message for entry in entries if entry.message is not None]


async def test_what_only_a_queue_has_is_erased_with_its_writer(rig: Rig) -> None:
    strays = await out_of_the_history(rig, count=3)
    assert await rig.link.ask("SCARD", wire.strays(ALICE)) == 3
    while await rig.store.erase_written(APP, ALICE, limit=2):
        pass
    bodies = await rig.store.messages(strays)
    assert [(one.kind, one.body, one.sender) for one in bodies.values()] == [(RECALLED, "{}", SYSTEM)] * 3
    assert await rig.link.ask("EXISTS", wire.strays(ALICE)) == 0


async def test_a_stray_that_goes_is_looked_for_no_more(rig: Rig) -> None:
    strays = await out_of_the_history(rig, count=1)
    assert await rig.link.ask("SCARD", wire.strays(ALICE)) == 1
    await rig.engine.submit_many([rig.chat(4, 2, text=str(n)) for n in range(60)])
    assert await rig.store.messages(strays) == {}
    assert await rig.link.ask("EXISTS", wire.strays(ALICE)) == 0
