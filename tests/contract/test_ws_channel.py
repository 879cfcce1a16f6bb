"""The `ws` channel passes what every channel passes; who is online comes from presence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from hub.channels.ws.channel import WsChannel
from hub.core.errors import QueueUnavailable
from hub.core.message import UserKey
from hub.core.outcome import Accepted, Reason, Rejected, Retry
from tests.contract.channel_contract import ChannelContract, envelopes

ONLINE, OFFLINE = UserKey(1), UserKey(2)


class Sightings:
    """User 1 is online. The real one is tested against Redis; here the channel is."""

    def __init__(self) -> None:
        self.away = False

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[object]]:
        """Who is online."""
        if self.away:
            raise QueueUnavailable
        return {user: ["session"] if user == ONLINE else [] for user in users}


class TestWsChannel(ChannelContract):
    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        self.sightings = Sightings()
        self.channel = WsChannel(self.sightings)

    async def cut_the_network(self) -> None:
        self.sightings.away = True

    async def test_who_is_online_has_it_and_who_is_not_is_refused(self) -> None:
        there, away = envelopes(ONLINE, "alice", 1), envelopes(OFFLINE, "bob", 1)
        outcomes = await self.channel.deliver([*there, *away])
        assert isinstance(outcomes[0], Accepted)
        assert outcomes[1] == Rejected(Reason.OFFLINE)

    async def test_without_redis_a_session_on_this_node_counts_and_others_are_tried_again(self) -> None:
        self.sightings.away = True
        channel = WsChannel(self.sightings, here=lambda user: user == ONLINE)
        here, elsewhere = await channel.deliver(
            [*envelopes(ONLINE, "alice", 1), *envelopes(OFFLINE, "bob", 1)]
        )
        assert isinstance(here, Accepted)
        assert isinstance(elsewhere, Retry)
