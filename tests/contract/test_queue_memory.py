"""The counters and tails in memory keep what the ports promise."""

from __future__ import annotations

import pytest

from hub.core.ports import Sequencer, Tail
from hub.store.memory_queue import MemorySequencer, MemoryTail
from tests.contract.sequencer_contract import SequencerContract
from tests.contract.tail_contract import SIZE, TailContract


class TestMemorySequencer(SequencerContract):
    @pytest.fixture
    def sequencer(self) -> Sequencer:
        return MemorySequencer()


class TestMemoryTail(TailContract):
    @pytest.fixture
    def tail(self) -> Tail:
        return MemoryTail(size=SIZE)
