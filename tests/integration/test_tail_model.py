"""Any history of appends, losses, old files and rebuilds by two nodes: what a tail answers is true, or None."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub import redis_wire
from hub.core.message import Entry, MessageId, UserKey
from hub.partitions import user_tag
from hub.redis_link import RedisLink, open_redis
from hub.store.queue_redis import RedisTail
from tests.services import AnyRedis

ANN = UserKey(1)
KEY = f"hub:tail:{user_tag(ANN)}:{ANN}"
SIZE = 16
NODES = st.sampled_from([0, 1])


def entry(seq: int) -> Entry:
    return Entry(ANN, seq, MessageId(f"msg_{seq}"), None)


class TailHistory(RuleBasedStateMachine):
    """`committed` entries exist in the store. `published` are those whose append has returned: a tail that says
    less than these is lying, whatever happened to Redis since."""

    redis: AnyRedis
    epoch = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.committed = 0
        self.on_their_way: list[int] = []
        self.published = 0
        self.snapshot: bytes | None = None
        self.rebuilds: dict[int, int | None] = {0: None, 1: None}

    @initialize()
    def open(self) -> None:
        async def fresh() -> list[RedisLink]:
            return [await self.stack.enter_async_context(open_redis(self.redis.url)) for _ in range(2)]

        self.redis.flush()
        self.links = self.runner.run(fresh())
        self.tails = [RedisTail(link, size=SIZE, ttl=timedelta(hours=1)) for link in self.links]

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(count=st.integers(1, 6), node=NODES)
    def commit_and_publish(self, count: int, node: int) -> None:
        self._append(node, list(range(self.committed + 1, self.committed + count + 1)))
        self.committed += count

    @rule(count=st.integers(1, 6))
    def commit(self, count: int) -> None:
        """A publisher that is slow, or dead until the sweep does it."""
        self.on_their_way += range(self.committed + 1, self.committed + count + 1)
        self.committed += count

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data(), node=NODES)
    def publish_late(self, data: st.DataObject, node: int) -> None:
        some = data.draw(st.lists(st.sampled_from(self.on_their_way), min_size=1, unique=True))
        self.on_their_way = [seq for seq in self.on_their_way if seq not in some]
        self._append(node, some)

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), node=NODES)
    def publish_again(self, data: st.DataObject, node: int) -> None:
        first = data.draw(st.integers(1, self.committed))
        self._append(node, list(range(first, min(first + 20, self.committed) + 1)))

    @rule()
    def flush(self) -> None:
        self.redis.flush()

    @rule()
    def evict(self) -> None:
        self._ask("DEL", KEY)

    @rule()
    def save(self) -> None:
        self.snapshot = self._ask("DUMP", KEY)

    @rule()
    def restart(self) -> None:
        """With its newest file: nothing is lost, which nobody can know."""
        type(self).epoch += 1
        self.redis.command("SCRIPT", "FLUSH")

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def fail_over(self) -> None:
        """To a server that has an old copy."""
        self.restart()
        self._ask("RESTORE", KEY, "0", self.snapshot or b"", "REPLACE")

    @rule(node=NODES, behind=st.integers(0, 25), limit=st.integers(1, 30))
    def read(self, node: int, behind: int, limit: int) -> None:
        after = max(0, self.committed - behind)
        found = self.runner.run(self.tails[node].read(ANN, after=after, limit=limit))
        if found is None:
            self._read_store(node)
            return
        assert list(found) == [entry(after + 1 + i) for i in range(len(found))]
        assert after + len(found) <= self.committed
        if len(found) < limit:
            assert after + len(found) >= self.published, "a published entry was denied"

    @rule(node=NODES)
    def ask_head(self, node: int) -> None:
        (head,) = self.runner.run(self.tails[node].heads([ANN]))
        if head is None:
            self._read_store(node)
        else:
            assert self.published <= head <= self.committed

    @rule(node=NODES)
    def finish_rebuild(self, node: int) -> None:
        head, self.rebuilds[node] = self.rebuilds[node], None
        if head is not None:
            newest = [entry(seq) for seq in range(max(1, head - SIZE + 1), head + 1)]
            self.runner.run(self.tails[node].rebuild(ANN, newest, head=head))

    @rule(node=NODES)
    def rebuild_at_once(self, node: int) -> None:
        """Undisturbed, it brings trust."""
        self.finish_rebuild(node)
        for _ in range(2):  # the first may only clear up what an earlier reader left behind
            self.ask_head(node)
            self.finish_rebuild(node)
        assert self.runner.run(self.tails[node].heads([ANN])) != [None]

    @invariant()
    def it_stays_compact(self) -> None:
        if hasattr(self, "links"):
            assert int(self._ask("ZCARD", KEY)) <= SIZE + 1

    def _read_store(self, node: int) -> None:
        """A node reads the store once at a time for one user."""
        if self.rebuilds[node] is None:
            self.rebuilds[node] = self.committed

    def _append(self, node: int, numbers: list[int]) -> None:
        self.runner.run(self.tails[node].append([entry(seq) for seq in numbers]))
        self.published = max([self.published, *numbers])

    def _ask(self, *words: bytes | str) -> bytes:
        answer: bytes = self.runner.run(self.links[0].ask(*words))
        return answer


@pytest.fixture
def another_server_at_will(monkeypatch: pytest.MonkeyPatch) -> None:
    """INFO as if the server had been restarted: scripts are flushed, and it is another."""
    real = redis_wire._epoch
    monkeypatch.setattr(redis_wire, "_epoch", lambda fields: f"{real(fields)[:12]}{TailHistory.epoch:04d}")


@pytest.mark.usefixtures("another_server_at_will")
def test_a_tail_never_lies(redis_server: AnyRedis) -> None:
    TailHistory.redis = redis_server
    run_state_machine_as_test(
        TailHistory,
        settings=settings(
            max_examples=int(os.environ.get("HUB_TEST_EXAMPLES", "60")),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
