"""The engine on a real database and a real Redis: what is accepted is numbered, committed once and read in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.core.conversation import inbox_id
from hub.core.errors import Conflict, HubError, NotFound, Unavailable
from hub.core.identity import EndUser
from hub.core.message import (
    Accepted,
    AppId,
    ConversationId,
    DeviceKey,
    Draft,
    IdempotencyClaim,
    Page,
    SeqKey,
    ToConversation,
    UserKey,
)
from hub.core.policy import PUSH_ONLY
from tests.integration.queue_of_test import copy_of, fail_over
from tests.services import AnyRedis, RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

ALICE, BOB = UserKey(1), UserKey(2)


@pytest.fixture
async def rig(tmp_path: Path, ground: tuple[str, AnyRedis]) -> AsyncIterator[Rig]:
    database_url, redis = ground
    async with open_rig(test_settings(tmp_path, database_url, redis.url)) as opened:
        yield opened


def seqs(page: Page) -> list[int]:
    return [entry.user_seq for entry, _ in page.entries]


def texts(page: Page) -> list[str]:
    return [message.body for _, message in page.entries if message is not None]


async def accepted(rig: Rig, *drafts: Draft) -> list[Accepted]:
    """Submit, and wait for the tails too: a reader may be a moment behind an acknowledgement."""
    answers = await rig.engine.submit_many(drafts)
    await rig.published()
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Accepted)]


async def test_a_message_is_in_both_queues_under_one_body(rig: Rig) -> None:
    (answer,) = await accepted(rig, rig.chat(1, 2, text="早上好 🌞"))
    for user in (ALICE, BOB):
        page = await rig.engine.sync(user, after=0, limit=10)
        assert [(e.user_seq, m.id if m else None) for e, m in page.entries] == [(1, answer.message)]
        assert texts(page) == ['{"text":"早上好 🌞"}']


async def test_many_senders_at_once_get_contiguous_numbers_in_both_orders(rig: Rig) -> None:
    group = await rig.group(*range(1, 11))
    drafts = [rig.draft(ToConversation(group), sender=1 + n % 10, text=str(n)) for n in range(300)]
    answers = await accepted(rig, *drafts)
    assert [answer.seq for answer in answers] == list(range(1, 301))
    page = await rig.engine.sync(ALICE, after=0, limit=500)
    assert seqs(page) == list(range(1, 301))
    assert texts(page) == [f'{{"text":"{n}"}}' for n in range(300)]


async def test_a_repeat_gets_the_first_answer(rig: Rig) -> None:
    (first,) = await accepted(rig, rig.chat(1, 2, client_msg_id="c-1"))
    (second,) = await accepted(rig, rig.chat(1, 2, client_msg_id="c-1"))
    assert (second.message, second.seq, second.duplicate) == (first.message, first.seq, True)
    assert seqs(await rig.engine.sync(BOB, after=0, limit=10)) == [1]


async def test_repeats_within_one_batch_are_one_message(rig: Rig) -> None:
    answers = await accepted(rig, *(rig.chat(1, 2, client_msg_id="c-1") for _ in range(20)))
    assert len({answer.message for answer in answers}) == 1
    assert sum(not answer.duplicate for answer in answers) == 1


async def test_the_same_client_id_of_another_sender_is_another_message(rig: Rig) -> None:
    one, other = await accepted(rig, rig.chat(1, 2, client_msg_id="c-1"), rig.chat(2, 1, client_msg_id="c-1"))
    assert one.message != other.message


async def test_an_idempotency_key_with_another_request_is_refused(rig: Rig) -> None:
    claim = IdempotencyClaim("key-1", "fingerprint-a")
    await accepted(rig, replace(rig.chat(1, 2), idempotency=claim))
    (again,) = await accepted(rig, replace(rig.chat(1, 2), idempotency=claim))
    assert again.duplicate
    other = replace(rig.chat(1, 2), idempotency=IdempotencyClaim("key-1", "fingerprint-b"))
    with pytest.raises(Conflict, match="idempotency_mismatch"):
        await rig.engine.submit(other)


async def test_a_notification_is_one_message_for_many_and_unique_by_its_dedupe_key(rig: Rig) -> None:
    notice = rig.notice(1, 2, 3, policy=PUSH_ONLY, dedupe_key="leave-7")
    (first,) = await accepted(rig, notice)
    (again,) = await accepted(rig, rig.notice(1, 2, 3, policy=PUSH_ONLY, dedupe_key="leave-7"))
    assert (again.message, again.notification) == (first.message, first.notification)
    assert first.conversation == inbox_id(APP)
    for user in (1, 2, 3):
        assert seqs(await rig.engine.sync(UserKey(user), after=0, limit=10)) == [1]
    assert seqs(await rig.engine.sync(UserKey(4), after=0, limit=10)) == []


async def test_a_stranger_cannot_write_into_a_conversation(rig: Rig) -> None:
    group = await rig.group(1, 2)
    with pytest.raises(NotFound):
        await rig.engine.submit(rig.draft(ToConversation(group), sender=3))
    with pytest.raises(NotFound):
        await rig.engine.submit(replace(rig.draft(ToConversation(group), sender=1), app=AppId("app_other")))


async def test_one_bad_draft_does_not_fail_its_batch(rig: Rig) -> None:
    group = await rig.group(1, 2)
    good, bad, fine = await rig.engine.submit_many(
        [rig.chat(1, 2), rig.draft(ToConversation(group), sender=9), rig.chat(2, 1)]
    )
    assert isinstance(good, Accepted)
    assert isinstance(bad, HubError)
    assert isinstance(fine, Accepted)


async def test_who_left_gets_nothing_more(rig: Rig) -> None:
    group = await rig.group(1, 2, 3)
    await accepted(rig, rig.draft(ToConversation(group)))
    async with rig.store.database.writing() as connection:
        await connection.execute(text("DELETE FROM member WHERE user_id = 3"))
        await connection.execute(text("UPDATE conversation SET version = version + 1"))
    await accepted(rig, rig.draft(ToConversation(group)))
    assert seqs(await rig.engine.sync(UserKey(3), after=0, limit=10)) == [1]
    assert seqs(await rig.engine.sync(BOB, after=0, limit=10)) == [1, 2]


async def test_who_joined_is_not_refused_by_a_node_that_did_not_hear_of_it(rig: Rig) -> None:
    group = await rig.group(1, 2)
    await accepted(rig, rig.draft(ToConversation(group)))
    async with rig.store.database.writing() as connection:
        await connection.execute(
            text(
                "INSERT INTO member (conversation_id, user_id, role, joined_seq, read_seq, muted, joined_at) "
                "VALUES (:group, 3, 'member', 1, 0, :muted, 0)"
            ),
            {"group": group, "muted": False},
        )
        await connection.execute(text("UPDATE conversation SET version = version + 1"))
    await accepted(rig, rig.draft(ToConversation(group), sender=3))


async def test_a_large_conversation_has_no_references(rig: Rig) -> None:
    group = await rig.group(1, 2, 3, fanout="read")
    (answer,) = await accepted(rig, rig.draft(ToConversation(group)))
    assert rig.broker.published[-1].grew
    assert seqs(await rig.engine.sync(BOB, after=0, limit=10)) == []
    page = await rig.engine.history(group, reader=BOB, after=0, before=None, limit=10)
    assert [message.id for message in page.messages] == [answer.message]
    with pytest.raises(NotFound):
        await rig.engine.submit(rig.draft(ToConversation(group), sender=9))


async def test_history_is_for_members_only_and_the_inbox_for_its_recipients(rig: Rig) -> None:
    (chat,) = await accepted(rig, rig.chat(1, 2))
    (notice,) = await accepted(rig, rig.notice(1, policy=PUSH_ONLY))
    with pytest.raises(NotFound):
        await rig.engine.history(chat.conversation, reader=UserKey(3), after=None, before=None, limit=10)
    mine = await rig.engine.history(notice.conversation, reader=ALICE, after=None, before=None, limit=10)
    theirs = await rig.engine.history(notice.conversation, reader=BOB, after=None, before=None, limit=10)
    assert [m.id for m in mine.messages] == [notice.message]
    assert theirs.messages == ()


async def test_sync_stops_at_a_gap_until_a_tombstone_closes_it(rig: Rig) -> None:
    await accepted(rig, rig.chat(1, 2))
    key = SeqKey.of_user(BOB)
    await rig.engine.numbering.draw({key: 1})  # a writer that dies before its commit
    await accepted(rig, rig.chat(1, 2))
    assert seqs(await rig.engine.sync(BOB, after=0, limit=10)) == [1]
    await asyncio.sleep(rig.settings.gap_grace.total_seconds() + 1.0)
    page = await rig.engine.sync(BOB, after=0, limit=10)
    assert seqs(page) == [1, 2, 3]
    assert [message is None for _, message in page.entries] == [False, True, False]


async def test_a_gap_that_nobody_reads_is_closed_too(rig: Rig) -> None:
    await accepted(rig, rig.chat(1, 2))
    await rig.engine.numbering.draw({SeqKey.of_user(BOB): 2})
    await accepted(rig, rig.chat(1, 2))
    rig.clock.advance(timedelta(seconds=5))
    assert await rig.engine.gap_scan.run() == 1
    assert await rig.engine.gap_scan.run() == 0
    assert seqs(await rig.engine.sync(BOB, after=0, limit=10)) == [1, 2, 3, 4]


async def test_a_flushed_redis_is_healed(rig: Rig, ground: tuple[str, AnyRedis]) -> None:
    await accepted(rig, *(rig.chat(1, 2) for _ in range(5)))
    ground[1].flush()
    assert await rig.engine.head(BOB) == 5
    await accepted(rig, *(rig.chat(1, 2) for _ in range(5)))
    assert seqs(await rig.engine.sync(BOB, after=0, limit=20)) == list(range(1, 11))


async def test_counters_that_went_back_cannot_overwrite(rig: Rig, ground: tuple[str, AnyRedis]) -> None:
    await accepted(rig, *(rig.chat(1, 2) for _ in range(2)))
    copy = await copy_of(rig.link)
    await accepted(rig, *(rig.chat(1, 2) for _ in range(3)))
    await fail_over(ground[1], rig.link, copy)
    await accepted(rig, rig.chat(1, 2))
    page = await rig.engine.sync(BOB, after=0, limit=20)
    assert seqs(page) == list(range(1, 7))


async def test_no_message_falls_into_a_gap_below_what_was_committed_before_a_failover(
    rig: Rig, ground: tuple[str, AnyRedis]
) -> None:
    ours, theirs = await rig.group(1, 2), await rig.group(1, 3, conversation="cnv_theirs")

    async def send(group: ConversationId) -> Accepted:
        return (await accepted(rig, rig.draft(ToConversation(group))))[0]

    sent = [await send(ours), await send(theirs)]
    copy = await copy_of(rig.link)
    keys = (SeqKey.of_user(ALICE), SeqKey.of_user(UserKey(3)), SeqKey.of_conversation(theirs))
    await rig.engine.numbering.draw(dict.fromkeys(keys, 1))  # by a node that dies
    sent.append(await send(theirs))
    await fail_over(ground[1], rig.link, copy)
    # These bring the queue of Alice up to date, and not the other conversation.
    sent += [await send(ours), await send(ours)]
    sent.append(await send(theirs))
    entries = await rig.store.entries(ALICE, after=0, limit=20)
    assert [entry.message for entry in entries] == [message.message for message in sent]
    numbers = [message.seq for message in sent if message.conversation == theirs]
    assert numbers == sorted(numbers)


async def test_without_redis_messages_are_still_accepted_and_read(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    settings = test_settings(
        tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", f"unix://{tmp_path / 'nobody.sock'}"
    )
    async with open_rig(settings) as rig:
        await accepted(rig, *(rig.chat(1, 2) for _ in range(5)))
        await accepted(rig, rig.chat(2, 1))
        assert seqs(await rig.engine.sync(BOB, after=0, limit=20)) == list(range(1, 7))
        assert await rig.engine.head(BOB) == 6


async def test_two_engines_on_one_database_agree_on_every_order(
    tmp_path: Path, ground: tuple[str, AnyRedis]
) -> None:
    database_url, redis = ground
    settings = test_settings(tmp_path, database_url, redis.url)
    async with open_rig(settings) as one, open_rig(settings, fresh=False) as two:
        group = await one.group(1, 2, 3)

        async def write(rig: Rig, sender: int) -> None:
            for n in range(40):
                await rig.engine.submit(rig.draft(ToConversation(group), sender=sender, text=f"{sender}-{n}"))

        await asyncio.gather(write(one, 1), write(two, 2), write(one, 3))
        await asyncio.sleep(settings.gap_grace.total_seconds() + 1.0)
        for user in (1, 2, 3):
            page = await two.engine.sync(UserKey(user), after=0, limit=500)
            while page.more or len(texts(page)) < 120:
                page = await two.engine.sync(UserKey(user), after=0, limit=500)
                await asyncio.sleep(0.1)
            orders = [message.seq for _, message in page.entries if message is not None]
            assert orders == sorted(orders)
            assert len(orders) == 120


async def test_a_cursor_from_nowhere_is_told_to_start_again(rig: Rig) -> None:
    await accepted(rig, rig.chat(1, 2))
    page = await rig.engine.sync(BOB, after=99, limit=10)
    assert (page.rebase, page.next) == (True, 1)


async def test_what_has_expired_is_a_closed_number(rig: Rig) -> None:
    await accepted(rig, rig.notice(1, policy=PUSH_ONLY, expires_in=timedelta(minutes=1)))
    rig.clock.advance(timedelta(minutes=2))
    page = await rig.engine.sync(ALICE, after=0, limit=10)
    assert [(e.user_seq, m) for e, m in page.entries] == [(1, None)]


async def test_committed_but_not_published_is_published_by_the_sweep(rig: Rig) -> None:
    rig.broker.away = True
    (answer,) = await accepted(rig, rig.chat(1, 2))
    rig.broker.away = False
    assert rig.broker.published == []
    later = rig.clock() + timedelta(seconds=1)
    assert await rig.engine.publisher.republish(before=later) == 1
    assert [item.message.id for item in rig.broker.published] == [answer.message]
    assert {entry.user for entry in rig.broker.published[0].entries} == {ALICE, BOB}
    assert await rig.engine.publisher.republish(before=later) == 0


async def test_after_a_failover_recent_batches_are_published_again(rig: Rig) -> None:
    answers = await accepted(rig, *(rig.chat(1, 2) for _ in range(3)))
    rig.broker.published.clear()
    assert await rig.engine.republish_recent() >= 1
    assert {item.message.id for item in rig.broker.published} == {answer.message for answer in answers}


async def test_reading_moves_forward_only_and_tells_the_sender(rig: Rig) -> None:
    answers = await accepted(rig, *(rig.chat(1, 2) for _ in range(3)))
    bob = EndUser(APP, BOB, "u2", rig.clock())
    await rig.engine.read(bob, answers[0].conversation, 2)
    await rig.engine.read(bob, answers[0].conversation, 1)
    await rig.engine.read(bob, answers[0].conversation, 99)
    both = frozenset({ALICE, BOB})
    assert [(users, frame["seq"]) for users, frame in rig.broker.signals] == [(both, 2), (both, 3)]


async def test_acks_are_written_together_and_never_move_back(rig: Rig) -> None:
    async with rig.store.database.writing() as connection:
        await connection.execute(
            text(
                "INSERT INTO device (id, user_id, device_id, platform, name, cursor, created_at) "
                "VALUES (7, 2, 'phone', 'app', '', 0, 0)"
            )
            if rig.store.database.dialect != "mysql"
            else text(
                "INSERT INTO device (id, user_id, device_id, platform, name, `cursor`, created_at) "
                "VALUES (7, 2, 'phone', 'app', '', 0, 0)"
            )
        )
    for seq in (1, 5, 3):
        rig.engine.ack(DeviceKey(7), BOB, seq)
    await rig.engine.cursors.flush()
    rig.engine.ack(DeviceKey(7), BOB, 2)
    await rig.engine.cursors.flush()
    column = "`cursor`" if rig.store.database.dialect == "mysql" else "cursor"
    async with rig.store.database.reading() as connection:
        assert (await connection.execute(text(f"SELECT {column} FROM device"))).scalar() == 5


async def test_too_many_waiting_is_said_at_once(rig: Rig) -> None:
    rig.engine.ingest._limits = replace(rig.engine.ingest._limits, backlog=2)
    answers = await rig.engine.submit_many([rig.chat(1, 2) for _ in range(3)])
    assert all(isinstance(answer, Unavailable) and answer.code == "overloaded" for answer in answers)
