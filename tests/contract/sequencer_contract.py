"""What a Sequencer promises. An implementation's test class supplies the `sequencer` fixture, empty."""

from __future__ import annotations

import asyncio

from hub.core.message import ConversationId, SeqKey, UserKey
from hub.core.ports import Sequencer

ONE = SeqKey.of_user(UserKey(1))
TWO = SeqKey.of_user(UserKey(2))
ROOM = SeqKey.of_conversation(ConversationId("cnv_1"))


class SequencerContract:
    """Run by subclassing."""

    async def test_numbers_follow_the_head_and_each_other(self, sequencer: Sequencer) -> None:
        await sequencer.raise_to({ONE: 0, TWO: 41, ROOM: 7})
        assert await sequencer.draw({ONE: 1, TWO: 3, ROOM: 1}) == {ONE: 1, TWO: 42, ROOM: 8}
        assert await sequencer.draw({ONE: 2, TWO: 1, ROOM: 1}) == {ONE: 2, TWO: 45, ROOM: 9}

    async def test_a_key_that_it_does_not_know_is_left_out(self, sequencer: Sequencer) -> None:
        assert await sequencer.draw({ONE: 1}) == {}
        await sequencer.raise_to({ONE: 5})
        first = await sequencer.draw({ONE: 2, TWO: 1})
        assert TWO not in first
        drawn = 2 if ONE in first else 0
        await sequencer.raise_to({TWO: 0})
        assert await sequencer.draw({ONE: 1, TWO: 1}) == {ONE: 6 + drawn, TWO: 1}

    async def test_counters_never_move_back_by_raising(self, sequencer: Sequencer) -> None:
        await sequencer.raise_to({ONE: 10})
        await sequencer.draw({ONE: 5})
        await sequencer.raise_to({ONE: 12})
        assert await sequencer.draw({ONE: 1}) == {ONE: 16}
        await sequencer.raise_to({ONE: 100})
        assert await sequencer.draw({ONE: 1}) == {ONE: 101}

    async def test_who_kept_the_counters_before_the_store_was_asked_still_keeps_them(
        self, sequencer: Sequencer
    ) -> None:
        assert await sequencer.draw({ONE: 1}) == {}
        witness = sequencer.witness()
        await sequencer.raise_to({ONE: 5}, witness=witness)
        assert await sequencer.draw({ONE: 1}) == {ONE: 6}

    async def test_what_was_drawn_last_can_be_given_back(self, sequencer: Sequencer) -> None:
        await sequencer.raise_to({ONE: 0, ROOM: 0})
        await sequencer.draw({ONE: 2, ROOM: 3})
        await sequencer.give_back({ONE: (1, 2), ROOM: (1, 3)})
        assert await sequencer.draw({ONE: 1, ROOM: 1}) == {ONE: 1, ROOM: 1}

    async def test_what_others_have_drawn_past_is_not_given_back(self, sequencer: Sequencer) -> None:
        await sequencer.raise_to({ONE: 0})
        await sequencer.draw({ONE: 2})
        await sequencer.draw({ONE: 1})
        await sequencer.give_back({ONE: (1, 2)})
        assert await sequencer.draw({ONE: 1}) == {ONE: 4}
        await sequencer.give_back({TWO: (1, 2)})
        assert await sequencer.draw({TWO: 1}) == {}

    async def test_no_number_is_handed_out_twice(self, sequencer: Sequencer) -> None:
        await sequencer.raise_to({ONE: 0, ROOM: 0})
        draws = await asyncio.gather(*(sequencer.draw({ONE: 3, ROOM: 1}) for _ in range(50)))
        numbers = [draw[ONE] + n for draw in draws for n in range(3)]
        assert sorted(numbers) == list(range(1, 151))
        assert sorted(draw[ROOM] for draw in draws) == list(range(1, 51))

    async def test_a_thousand_keys_are_drawn_at_once(self, sequencer: Sequencer) -> None:
        keys = [SeqKey.of_user(UserKey(n)) for n in range(1, 1_001)]
        await sequencer.raise_to(dict.fromkeys(keys, 9))
        assert await sequencer.draw(dict.fromkeys(keys, 1)) == dict.fromkeys(keys, 10)

    async def test_nothing_is_asked_for_nothing(self, sequencer: Sequencer) -> None:
        assert await sequencer.draw({}) == {}
        await sequencer.raise_to({})
        await sequencer.give_back({})
