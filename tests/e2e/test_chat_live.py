"""Edits, recalls and reactions over real sockets: from node A to a session on B and to a device that was away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.test_two_nodes import Frame, device, fresh, until
from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster

pytestmark = [pytest.mark.timeout(120)]
TOLD = ["text", "edit", "reaction", "recall"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("chat-live")
    with cluster(directory, f"sqlite+aiosqlite:///{directory / 'hub.db'}", HUB_DRAIN_TIMEOUT="2") as running:
        running.start_node("a")
        running.start_node("b")
        yield running


async def asked(client: HubClient, frame: Frame) -> Frame:
    answer = await client.request(frame)
    assert answer is not None
    return answer


async def history(hub: Cluster, conversation: str, user: str) -> Frame:
    """The first message of a conversation as node B shows it."""
    url = f"{hub.url('b')}/v1/conversations/{conversation}/messages?user={user}"
    shown: Frame = (await asyncio.to_thread(hub.request, "GET", url))["data"][0]
    return shown


async def test_changes_reach_another_node_and_a_device_that_was_away_in_order(hub: Cluster) -> None:
    alice, bob, eve = fresh("alice"), fresh("bob"), fresh("eve")
    async with (
        device(hub, alice, "a") as sender,
        device(hub, bob, "b") as peer,
        device(hub, eve, "b") as stranger,
    ):
        ok = await sender.send({"user": bob}, "c-1", {"text": "alt"})
        said = ok["message"]
        await until(lambda: len(peer.applied) == 1)
        edit = {"type": "edit", "message": said, "body": {"text": "neu"}}
        for frame in (edit, {"type": "recall", "message": said}, {"type": "hide", "messages": [said]}):
            assert (await asked(stranger, frame))["code"] == "message_not_found"
        assert (await asked(peer, edit))["code"] == "not_the_sender"
        assert (await asked(sender, edit))["message"] == said
        assert (await asked(peer, {"type": "react", "message": said, "emoji": "👍"}))["type"] == "ok"
        shown = await history(hub, ok["conversation"], bob)
        assert (shown["body"], shown["reactions"]) == (
            {"text": "neu"},
            [{"emoji": "👍", "count": 1, "mine": True}],
        )
        assert (await asked(sender, {"type": "recall", "message": said}))["type"] == "ok"
        await until(lambda: [m["kind"] for m in peer.applied] == TOLD)
        assert (await history(hub, ok["conversation"], bob))["kind"] == "recalled"
        async with device(hub, bob, "a") as late:
            await until(lambda: len(late.applied) == len(TOLD))
            assert [m["kind"] for m in late.applied] == ["recalled", *TOLD[1:]]
            assert "neu" not in str(late.applied)
            assert [m["control"] for m in late.applied[1:]] == [True] * 3
            assert stranger.applied == []
