"""The memory store's own ways beside the contract."""

from __future__ import annotations

from hub.core.message import Entry, MessageId, SeqKey, UserKey
from hub.core.ports import DeliveryStore, Housekeeping, MessageStore, Sequencer, Tail
from hub.store.memory import MemoryStore
from hub.store.memory_queue import MemorySequencer, MemoryTail
from hub.store.sql import SqlStore

ONE = UserKey(1)


def test_the_types_say_that_all_ports_are_there() -> None:
    """Checked by mypy."""

    def ports(
        store: SqlStore | MemoryStore, sequencer: MemorySequencer, tail: MemoryTail
    ) -> tuple[MessageStore, DeliveryStore, Housekeeping, Sequencer, Tail]:
        return store, store, store, sequencer, tail

    assert ports.__name__ == "ports"


async def test_what_is_lost_is_not_believed() -> None:
    sequencer, tail = MemorySequencer(), MemoryTail()
    await sequencer.raise_to({SeqKey.of_user(ONE): 3})
    await tail.rebuild(ONE, [Entry(ONE, 3, MessageId("m"))], head=3)
    sequencer.lose()
    tail.lose()
    assert await sequencer.draw({SeqKey.of_user(ONE): 1}) == {}
    assert await tail.heads([ONE]) == [None]
