"""Which Sentinel is believed when they say different things."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as Refused

from hub.redis_address import Host, Sentinels, read_address
from hub.redis_link import LinkLimits
from hub.redis_sentinel import MasterPlace, NoMaster

OLD, NEW = Host("old", 1), Host("new", 2)
Answer = tuple[int, Host] | None


class Place(MasterPlace):
    """Sentinels that say what the test lets them say; None is one that is dead."""

    def __init__(self, *answers: Answer) -> None:
        address = read_address("redis+sentinel://s0,s1,s2/hub")
        assert isinstance(address, Sentinels)
        super().__init__(address, LinkLimits())
        self.answers = list(answers)
        self.asked: list[str] = []

    async def _ask(self, sentinel: Host) -> tuple[int, Host]:
        self.asked.append(sentinel.name)
        answer = self.answers[int(sentinel.name[1:])]
        if answer is None:
            raise Refused("nobody is there")
        return answer


async def test_the_first_that_answers_is_believed_and_asked_first_again() -> None:
    place = Place(None, (1, OLD), (1, OLD))
    assert [await place.find(), await place.find()] == [OLD, OLD]
    assert place.asked == ["s0", "s1", "s1"]


async def test_one_that_missed_the_failover_is_passed_over() -> None:
    place = Place((1, OLD), (2, NEW), (2, NEW))
    assert await place.find() == OLD, "nothing else is known yet"
    place.doubt()
    assert await place.find() == NEW
    place.doubt()
    place.doubt()
    assert await place.find() == NEW
    assert place.asked[-2:] == ["s0", "s1"]


async def test_where_all_know_less_the_most_of_them_counts() -> None:
    place = Place((7, OLD), (7, OLD), (7, OLD))
    await place.find()
    place.answers = [(0, OLD), (1, NEW), None]  # set up anew
    assert [await place.find(), await place.find()] == [NEW, NEW]


async def test_none_that_answers_is_said_with_the_last_reason() -> None:
    with pytest.raises(NoMaster, match="the last, s2:26379: nobody is there"):
        await Place(None, None, None).find()
