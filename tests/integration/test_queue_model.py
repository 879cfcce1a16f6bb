"""Queue, cursors and sync against a model of three lists, while Redis forgets, goes back, and writers die."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.core.identity import EndUser
from hub.core.message import Accepted, SeqKey, ToConversation, UserKey
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

T = TypeVar("T")
USERS = (1, 2, 3)
users = st.sampled_from(USERS)


@dataclass
class ModelDevice:
    """What a client that follows the rules has."""

    cursor: int = 0
    received: list[str] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Everything acknowledged is in each member's queue, in the order of acknowledgement, once."""

    redis: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="hub-model-"))
        self.queues: dict[int, list[str]] = {user: [] for user in USERS}
        self.conversation: list[tuple[str, int]] = []
        self.read: dict[int, int] = dict.fromkeys(USERS, 0)
        self.devices = {user: (ModelDevice(), ModelDevice()) for user in USERS}
        self.sent = 0
        self.gaps = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        self.redis.flush()
        url = f"sqlite+aiosqlite:///{self.directory / 'hub.db'}"
        opened = open_rig(test_settings(self.directory, url, self.redis.url))
        self.rig: Rig = self.run(self.stack.enter_async_context(opened))
        self.group = self.run(self.rig.group(*USERS))

    @rule(sender=users, count=st.integers(1, 5))
    def send(self, sender: int, count: int) -> None:
        drafts = []
        for _ in range(count):
            self.sent += 1
            drafts.append(
                self.rig.draft(
                    ToConversation(self.group),
                    sender=sender,
                    text=str(self.sent),
                    client_msg_id=f"c{self.sent}",
                )
            )
        answers = self.run(self.rig.engine.submit_many(drafts))
        self.run(self.rig.published())  # a reader may be a moment behind an acknowledgement
        for answer in answers:
            assert isinstance(answer, Accepted)
            self.conversation.append((answer.message, sender))
            for user in USERS:
                self.queues[user].append(answer.message)

    @precondition(lambda self: self.sent > 0)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.sent))
        sender = self.conversation[number - 1][1]
        draft = self.rig.draft(ToConversation(self.group), sender=sender, client_msg_id=f"c{number}")
        answer = self.run(self.rig.engine.submit(draft))
        assert (answer.message, answer.duplicate) == (self.conversation[number - 1][0], True)

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
        seq = round(share * self.sent)
        reader = EndUser(APP, UserKey(user), f"u{user}", self.rig.clock())
        self.run(self.rig.engine.read(reader, self.group, seq))
        self.read[user] = max(self.read[user], seq)

    @rule()
    def redis_forgets_everything(self) -> None:
        self.redis.flush()

    @rule(user=users, back=st.integers(1, 3))
    def a_counter_goes_back(self, user: int, back: int) -> None:
        head = self.run(self.rig.engine.head(UserKey(user)))
        if head > back:
            stale = {SeqKey.of_user(UserKey(user)): (head - back + 1, head)}
            self.run(self.rig.engine.numbering._sequencer.give_back(stale))

    @rule(user=users, count=st.integers(1, 2))
    def a_writer_dies_between_drawing_and_committing(self, user: int, count: int) -> None:
        self.run(self.rig.engine.numbering.draw({SeqKey.of_user(UserKey(user)): count}))
        self.gaps = True

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
                            await asyncio.sleep(0.05)
                assert device.received == self.queues[user]
            membership = await self.rig.store.membership(self.group, UserKey(user))
            assert membership is not None
            assert membership.read_seq == self.read[user]


@pytest.mark.timeout(300)
def test_queues_keep_their_promises(redis_server: RedisServer) -> None:
    QueueMachine.redis = redis_server
    case = QueueMachine.TestCase
    case.settings = settings(
        max_examples=15,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    case("runTest").runTest()
