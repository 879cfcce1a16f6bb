"""Sequences and tails on a real engine: what they keep, and what makes them trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.core.message import Entry, MessageId, SeqKey, UserKey
from hub.partitions import Grouping, by_partition
from hub.redis_link import RedisLink, open_redis
from hub.store.queue_redis import RedisSequencer, RedisTail
from tests.integration.queue_of_test import ANN, KEY, TAIL, TTL, entries, entry, tail_of, trusted
from tests.services import AnyRedis


@pytest.fixture
def server(any_redis: AnyRedis) -> AnyRedis:
    return any_redis


@pytest.fixture
async def link(server: AnyRedis) -> AsyncIterator[RedisLink]:
    async with open_redis(server.url) as link:
        yield link


class TestWhatATailKeeps:
    async def test_entries_come_back_as_they_were(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await trusted(tail, 3)
        await tail.append(entries(4, 11))
        assert await tail.read(ANN, after=0, limit=100) == entries(1, 11)
        assert await tail.read(ANN, after=4, limit=3) == entries(5, 7)
        assert await tail.read(ANN, after=11, limit=3) == []

    async def test_a_full_tail_keeps_its_newest_and_stays_one_allocation(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await trusted(tail, 1)
        for first in range(2, 300, 7):
            await tail.append(entries(first, first + 6))
        assert await link.ask("OBJECT", "ENCODING", TAIL) == b"listpack"
        assert await link.ask("ZCARD", TAIL) == 128
        head = (await tail.heads([ANN]))[0]
        assert head is not None
        assert await tail.read(ANN, after=head - 127, limit=500) == entries(head - 126, head)
        assert await tail.read(ANN, after=head - 128, limit=500) is None

    async def test_the_largest_member_stays_compact(self, link: RedisLink) -> None:
        tail = tail_of(link)
        large = Entry(ANN, 99_999_999, MessageId("msg_" + "f" * 32), 9_999_999)
        await tail.rebuild(ANN, [large], head=99_999_999)
        assert await link.ask("OBJECT", "ENCODING", TAIL) == b"listpack"
        assert await tail.read(ANN, after=99_999_998, limit=9) == [large]

    async def test_appending_again_or_out_of_order_changes_nothing(self, link: RedisLink) -> None:
        tail = tail_of(link, size=16)
        await trusted(tail, 10)
        for batch in (entries(13, 14), entries(11, 12), entries(9, 14), entries(20, 25), entries(15, 21)):
            await tail.append(batch)
        assert await tail.read(ANN, after=9, limit=99) == entries(10, 25)
        await tail.append(entries(1, 5))
        assert await tail.read(ANN, after=9, limit=99) == entries(10, 25)

    async def test_a_gap_is_not_answered_and_may_be_filled(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await trusted(tail, 5)
        await tail.append([entry(7)])
        assert await tail.read(ANN, after=4, limit=9) is None
        assert await tail.read(ANN, after=6, limit=9) == [entry(7)]
        await tail.append([entry(6)])
        assert await tail.read(ANN, after=4, limit=9) == entries(5, 7)

    @pytest.mark.parametrize("grouping", [None, by_partition])
    async def test_many_users_at_once(self, link: RedisLink, grouping: Grouping | None) -> None:
        tail = RedisTail(link, size=128, ttl=TTL, grouping=grouping)
        users = [UserKey(number) for number in range(100, 1_400)]
        await tail.append([entry(1, user) for user in users])
        assert set(await tail.heads(users)) == {None}
        for user in users:
            await tail.rebuild(user, [entry(1, user)], head=1)
        await tail.append([entry(2, user) for user in users])
        assert list(await tail.heads([*users, ANN])) == [2] * len(users) + [None]

    async def test_everything_has_an_end(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await tail.append([entry(1)])
        await tail.read(UserKey(2), after=0, limit=9)  # leaves a claim
        await RedisSequencer(link, tail_ttl=TTL).raise_to({KEY: 3})
        for key in await link.ask("KEYS", "*"):
            assert 0 < await link.ask("PTTL", key) <= TTL.total_seconds() * 4_000


class TestWhatATailIsTrustedWith:
    async def test_appends_alone_make_no_trust_not_even_from_the_first(self, link: RedisLink) -> None:
        # After a loss an old entry may be published again, below newer ones that nobody appends a second time.
        tail = tail_of(link)
        await tail.append(entries(1, 3))
        assert await tail.read(ANN, after=0, limit=9) is None
        assert list(await tail.heads([ANN])) == [None]

    async def test_an_empty_queue_can_be_trusted(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await tail.rebuild(ANN, [], head=0)
        assert list(await tail.heads([ANN])) == [0]
        assert await tail.read(ANN, after=0, limit=9) == []
        await tail.append([entry(1)])
        assert await tail.read(ANN, after=0, limit=9) == [entry(1)]

    async def test_what_does_not_reach_the_head_makes_no_trust(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await tail.rebuild(ANN, entries(1, 4), head=5)
        await tail.rebuild(ANN, [], head=5)
        assert list(await tail.heads([ANN])) == [None]
        await tail.rebuild(ANN, [entry(1), entry(2), entry(4), entry(5)], head=5)
        assert await tail.read(ANN, after=3, limit=9) == entries(4, 5)
        assert await tail.read(ANN, after=1, limit=9) is None

    async def test_what_came_while_the_store_was_read_stays(self, link: RedisLink) -> None:
        tail = tail_of(link)
        assert await tail.read(ANN, after=0, limit=9) is None
        await tail.append(entries(5, 7))
        await tail.rebuild(ANN, entries(1, 5), head=5)
        assert await tail.read(ANN, after=0, limit=9) == entries(1, 7)

    async def test_a_tail_filled_while_the_store_was_read_keeps_its_newest(self, link: RedisLink) -> None:
        tail = tail_of(link, size=16)
        assert await tail.read(ANN, after=0, limit=9) is None
        await tail.append(entries(6, 40))
        await tail.rebuild(ANN, entries(1, 5), head=5)
        assert await tail.read(ANN, after=24, limit=99) == entries(25, 40)
        assert await tail.read(ANN, after=23, limit=99) is None

    async def test_who_read_the_store_before_a_loss_cannot_vouch_for_what_is_there_after(
        self, link: RedisLink, server: AnyRedis
    ) -> None:
        tail = tail_of(link)
        assert await tail.read(ANN, after=0, limit=9) is None
        await tail.append([entry(6)])  # committed after the store was read, and lost:
        server.flush()
        await tail.rebuild(ANN, entries(1, 5), head=5)
        assert list(await tail.heads([ANN])) == [None]
        await tail.rebuild(ANN, entries(1, 6), head=6)
        assert list(await tail.heads([ANN])) == [6]

    async def test_nor_if_somebody_else_asked_in_between(self, link: RedisLink, server: AnyRedis) -> None:
        tail = tail_of(link)
        assert await tail.read(ANN, after=0, limit=9) is None
        await tail.append([entry(6)])
        server.flush()
        assert list(await tail.heads([ANN])) == [None]
        await tail.rebuild(ANN, entries(1, 5), head=5)
        assert list(await tail.heads([ANN])) == [None]


class TestSequences:
    async def test_draws_are_consecutive_and_all_or_nothing(self, link: RedisLink) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        other = SeqKey.of_user(UserKey(2))
        assert await sequencer.draw({KEY: 1}) == {}
        await sequencer.raise_to({KEY: 7})
        assert await sequencer.draw({KEY: 3, other: 1}) == {}
        assert await sequencer.draw({KEY: 3}) == {KEY: 8}
        await sequencer.raise_to({KEY: 2, other: 0})
        assert await sequencer.draw({KEY: 1, other: 2}) == {KEY: 11, other: 1}

    async def test_only_what_nobody_drew_past_is_given_back(self, link: RedisLink) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        await sequencer.raise_to({KEY: 0})
        await sequencer.draw({KEY: 3})
        await sequencer.give_back({KEY: (1, 3)})
        assert await sequencer.draw({KEY: 2}) == {KEY: 1}
        await sequencer.draw({KEY: 1})
        await sequencer.give_back({KEY: (1, 2)})
        await sequencer.give_back({SeqKey.of_user(UserKey(9)): (1, 2)})
        assert await sequencer.draw({KEY: 1}) == {KEY: 4}

    async def test_a_thousand_keys_in_one_draw(self, link: RedisLink) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        keys = [SeqKey.of_user(UserKey(number)) for number in range(1_000)]
        await sequencer.raise_to(dict.fromkeys(keys, 5))
        assert await sequencer.draw(dict.fromkeys(keys, 2)) == dict.fromkeys(keys, 6)

    async def test_rivals_agree_in_the_order_of_all_keys(self, link: RedisLink) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        keys = [SeqKey.of_user(UserKey(number)) for number in range(50)]
        await sequencer.raise_to(dict.fromkeys(keys, 0))
        draws = await asyncio.gather(*(sequencer.draw(dict.fromkeys(keys, 1)) for _ in range(40)))
        assert sorted(draw[KEY] for draw in draws) == list(range(1, 41))
        assert all(len(set(draw.values())) == 1 for draw in draws)
