"""Queue, cursors and sync against a model of three lists, while Redis forgets, goes back or is away and writers die."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.core.identity import EndUser
from hub.core.message import Accepted, ConversationId, SeqKey, ToConversation, UserKey
from hub.settings import Settings
from hub.store.queue_redis import RedisSequencer
from tests.integration.queue_of_test import TTL, another_life, back, copy_of, fail_over
from tests.services import AnyRedis
from tests.support.away import refuse
from tests.support.engine import APP, Rig, open_rig, test_settings

T = TypeVar("T")
USERS = (1, 2, 3)
GROUPS = (("cnv_all", (1, 2, 3)), ("cnv_ours", (1, 2)), ("cnv_theirs", (1, 3)))
"""Two that share one queue can be brought up to date by each other, in part."""
users = st.sampled_from(USERS)
groups = st.integers(0, len(GROUPS) - 1)
AN_EARLIER_LIFE = "0" * 16
GRACE = timedelta(milliseconds=10)


@dataclass
class ModelDevice:
    """What a client that follows the rules has."""

    cursor: int = 0
    received: list[str] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Everything acknowledged is in each member's queue and in its conversation, in the order of acknowledgement, once.

    One sends at a time, so that this order is known.
    """

    redis: ClassVar[AnyRedis]
    template: ClassVar[Path]
    """A database with the people and the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="hub-model-"))
        self.queues: dict[int, list[str]] = {user: [] for user in USERS}
        self.sent: list[tuple[str, int, int]] = []
        """Message, sender, group."""
        self.last = [0 for _ in GROUPS]
        """Of each group the newest number."""
        self.read: dict[int, int] = dict.fromkeys(USERS, 0)
        self.devices = {user: (ModelDevice(), ModelDevice()) for user in USERS}
        self.copy: Mapping[bytes, bytes] | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        self.redis.flush()
        shutil.copytree(self.template, self.directory, dirs_exist_ok=True)
        self.rig: Rig = self.run(self.stack.enter_async_context(open_model_rig(self.directory, self.redis)))

    @rule(group=groups, member=st.integers(0, 2), count=st.integers(1, 5))
    def send(self, group: int, member: int, count: int) -> None:
        conversation, members = GROUPS[group]
        sender = members[member % len(members)]
        drafts = [
            self.rig.draft(
                ToConversation(ConversationId(conversation)),
                sender=sender,
                text=str(len(self.sent) + n),
                client_msg_id=f"c{len(self.sent) + n}",
            )
            for n in range(count)
        ]
        answers = self.run(self.rig.engine.submit_many(drafts))
        self.run(self.rig.published())  # a reader may be a moment behind an acknowledgement
        for answer in answers:
            assert isinstance(answer, Accepted)
            assert answer.seq > self.last[group]
            self.last[group] = answer.seq
            self.sent.append((answer.message, sender, group))
            for user in members:
                self.queues[user].append(answer.message)

    @rule(group=groups, count=st.integers(1, 3))
    def send_while_redis_is_away(self, group: int, count: int) -> None:
        refuse(self.rig.link, True)
        self.send(group, 0, count)
        refuse(self.rig.link, False)
        self.rig.clock.advance(timedelta(seconds=5))
        self.run(self.rig.engine.republish_unpublished())
        self.run(self.rig.published())

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.sent) - 1))
        message, sender, group = self.sent[number]
        to = ToConversation(ConversationId(GROUPS[group][0]))
        draft = self.rig.draft(to, sender=sender, client_msg_id=f"c{number}")
        answer = self.run(self.rig.engine.submit(draft))
        assert (answer.message, answer.duplicate) == (message, True)

    @rule(user=users, which=st.integers(0, 1), limit=st.integers(1, 7))
    def sync(self, user: int, which: int, limit: int) -> None:
        device = self.devices[user][which]
        page = self.run(self.rig.engine.sync(UserKey(user), after=device.cursor, limit=limit))
        assert not page.rebase
        expected = list(range(device.cursor + 1, device.cursor + 1 + len(page.entries)))
        assert [entry.user_seq for entry, _ in page.entries] == expected
        device.received += [message.id for _, message in page.entries if message is not None]
        device.cursor = page.next

    @rule(user=users, share=st.floats(0, 1))
    def mark_read(self, user: int, share: float) -> None:
        seq = round(share * self.last[0])
        reader = EndUser(APP, UserKey(user), f"u{user}", self.rig.clock())
        self.run(self.rig.engine.read(reader, ConversationId(GROUPS[0][0]), seq))
        self.read[user] = max(self.read[user], seq)

    @rule()
    def redis_forgets_everything(self) -> None:
        self.redis.flush()

    @rule()
    def redis_is_copied(self) -> None:
        self.copy = self.run(copy_of(self.rig.link))

    @rule()
    def redis_restarts(self) -> None:
        another_life(self.redis)

    @precondition(lambda self: self.copy is not None)
    @rule()
    def redis_fails_over_to_the_copy(self) -> None:
        self.run(fail_over(self.redis, self.rig.link, self.copy or {}))

    @rule(
        group=groups,
        dead=st.integers(1, 3),
        count=st.integers(1, 3),
        later=st.lists(st.tuples(groups, st.integers(1, 3)), min_size=1, max_size=4),
    )
    def redis_fails_over_to_before_a_gap(
        self, group: int, dead: int, count: int, later: list[tuple[int, int]]
    ) -> None:
        """Where what the old counters give is free: chance alone would seldom come here."""
        for any_group in range(len(GROUPS)):
            self.send(any_group, 0, 1)
        self.redis_is_copied()
        self.a_writer_to_a_group_dies(group, dead)
        self.send(group, 0, count)
        self.redis_fails_over_to_the_copy()
        for next_group, some in later:
            self.send(next_group, 0, some)

    @rule(user=users, by=st.integers(1, 3))
    def a_counter_goes_back(self, user: int, by: int) -> None:
        """One part of a Cluster fails over: others stay as they are."""
        self._turn_back(SeqKey.of_user(UserKey(user)), by)

    @rule(group=groups, by=st.integers(1, 3))
    def a_conversation_goes_back(self, group: int, by: int) -> None:
        self._turn_back(SeqKey.of_conversation(ConversationId(GROUPS[group][0])), by)

    def _turn_back(self, key: SeqKey, by: int) -> None:
        head = self.run(self.rig.store.heads([key]))[key]
        stale = f"{AN_EARLIER_LIFE}:{max(0, head - by)}"
        self.run(back(self.rig.link))
        sequencer = RedisSequencer(self.rig.link, tail_ttl=TTL)
        self.run(self.rig.link.ask("SET", sequencer.counter(key), stale))

    @rule(user=users, count=st.integers(1, 2))
    def a_writer_dies_between_drawing_and_committing(self, user: int, count: int) -> None:
        self.run(self.rig.engine.numbering.draw({SeqKey.of_user(UserKey(user)): count}))

    @rule(group=groups, count=st.integers(1, 2))
    def a_writer_to_a_group_dies(self, group: int, count: int) -> None:
        conversation, members = GROUPS[group]
        keys = [SeqKey.of_conversation(ConversationId(conversation))]
        keys += [SeqKey.of_user(UserKey(user)) for user in members]
        self.run(self.rig.engine.numbering.draw(dict.fromkeys(keys, count)))

    @invariant()
    def nobody_has_seen_anything_twice_or_out_of_order(self) -> None:
        for user in USERS:
            for device in self.devices[user]:
                assert device.received == self.queues[user][: len(device.received)]

    def teardown(self) -> None:
        try:
            if hasattr(self, "rig"):
                self.run(self.in_the_end_everybody_has_everything())
        finally:
            self.run(self.stack.aclose())
            self.run(asyncio.sleep(0.05))  # the driver's threads answer what was cancelled
            self.loop.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def in_the_end_everybody_has_everything(self) -> None:
        for user in USERS:
            head = await self.rig.engine.head(UserKey(user))
            for device in self.devices[user]:
                async with asyncio.timeout(10):
                    while device.cursor < head:
                        page = await self.rig.engine.sync(UserKey(user), after=device.cursor, limit=100)
                        device.received += [m.id for _, m in page.entries if m is not None]
                        device.cursor = page.next
                        if device.cursor < head:
                            await asyncio.sleep(GRACE.total_seconds())
                            await self.rig.engine.close_gaps()
                assert device.received == self.queues[user]
            membership = await self.rig.store.membership(ConversationId(GROUPS[0][0]), UserKey(user))
            assert membership is not None
            assert membership.read_seq == self.read[user]


def open_model_rig(
    directory: Path, redis: AnyRedis, *, fresh: bool = False
) -> AbstractAsyncContextManager[Rig]:
    url = f"sqlite+aiosqlite:///{directory / 'hub.db'}"
    return open_rig(replace_grace(test_settings(directory, url, redis.url)), fresh=fresh)


def replace_grace(given: Settings) -> Settings:
    return given.model_copy(update={"gap_grace": GRACE})


async def make_template(directory: Path, redis: AnyRedis) -> None:
    async with open_model_rig(directory, redis, fresh=True) as rig:
        for conversation, members in GROUPS:
            await rig.group(*members, conversation=conversation)


@pytest.mark.timeout(300)
def test_queues_keep_their_promises(any_redis: AnyRedis, tmp_path: Path) -> None:
    QueueMachine.redis = any_redis
    QueueMachine.template = tmp_path
    asyncio.run(make_template(tmp_path, any_redis))
    case = QueueMachine.TestCase
    case.settings = settings(
        max_examples=int(os.environ.get("HUB_TEST_EXAMPLES", "25")),
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    case("runTest").runTest()
