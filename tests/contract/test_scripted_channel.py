"""The test double is a channel too: it passes what it stands in for."""

from __future__ import annotations

import pytest

from tests.contract.channel_contract import ChannelContract
from tests.fakes.channel import ScriptedChannel


class TestScriptedChannel(ChannelContract):
    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        self.scripted = ScriptedChannel()
        self.channel = self.scripted

    async def cut_the_network(self) -> None:
        self.scripted.network_cut = True
