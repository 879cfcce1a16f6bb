"""Two nodes, many users on real sockets; a node is killed, Redis is killed and restarted, then emptied.

Every acknowledged message reaches every recipient, in order, once after the client's own de-duplication.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest

from tests.services import KIND
from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster

USERS = int(os.environ.get("HUB_CHAOS_USERS", "200"))
MESSAGES = int(os.environ.get("HUB_CHAOS_MESSAGES", "20000"))
GROUPS = 20
GROUP_SIZE = 8


class Story:
    """What was acknowledged, and to whom it must go."""

    def __init__(self) -> None:
        self.expected: dict[str, dict[str, str]] = defaultdict(dict)
        """user -> message id -> client_msg_id"""
        self.by_conversation: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.acknowledged = 0

    def note(self, members: list[str], client_msg_id: str, answer: dict[str, object]) -> None:
        self.acknowledged += 1
        message = str(answer["message"])
        self.by_conversation[str(answer["conversation"])].append((int(str(answer["seq"])), message))
        for member in members:
            self.expected[member][message] = client_msg_id


@pytest.mark.chaos
@pytest.mark.worker
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    KIND not in {"", "standalone"}, reason="kills the one server; for masters see test_redis_failover.py"
)
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    with cluster(tmp_path, database, HUB_HEARTBEAT="10", HUB_FRAMES_PER_SECOND="2000") as hub:
        for node in ("a", "b"):
            await asyncio.to_thread(hub.start_node, node)
        await asyncio.to_thread(hub.start_worker)
        users = [f"用户{number}" for number in range(USERS)]
        tokens = await asyncio.to_thread(mint, hub, users)
        groups = await asyncio.to_thread(make_groups, hub, users)
        addresses = [hub.socket_url("a"), hub.socket_url("b")]
        clients = {
            user: HubClient(addresses, partial(tokens.__getitem__, user), device=f"phone-{number}")
            for number, user in enumerate(users)
        }
        story = Story()
        async with contextlib.AsyncExitStack() as stack:
            for client in clients.values():
                await stack.enter_async_context(client)
            await asyncio.wait_for(asyncio.gather(*(c.live() for c in clients.values())), 60)
            trouble = asyncio.create_task(make_trouble(hub, story))
            await asyncio.gather(*(talk(user, users, groups, clients[user], story) for user in users))
            await trouble
            await settled(clients, story)
        assert sum(client.connects for client in clients.values()) > USERS, "nobody had to come back"
        check(clients, story)
        await asyncio.to_thread(check_unread, hub, tokens, users[:10], story, clients)


def mint(hub: Cluster, users: list[str]) -> dict[str, str]:
    url = f"{hub.url('a')}/v1/tokens"
    return {user: hub.request("POST", url, {"user": user})["token"] for user in users}


def make_groups(hub: Cluster, users: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for number in range(GROUPS):
        members = [users[(number * 7 + i) % len(users)] for i in range(GROUP_SIZE)]
        made = hub.request(
            "POST",
            f"{hub.url('b')}/v1/conversations",
            {"title": f"群 {number}", "members": [{"user_id": m} for m in members]},
        )
        groups[made["id"]] = members
    return groups


async def talk(
    user: str,
    users: list[str],
    groups: dict[str, list[str]],
    client: HubClient,
    story: Story,
    count: int = MESSAGES // USERS,
) -> None:
    dice = random.Random(user)
    mine = [group for group, members in groups.items() if user in members]
    for number in range(count):
        if mine and dice.random() < 0.2:
            group = dice.choice(mine)
            target, members = {"conversation": group}, groups[group]
        else:
            peer = dice.choice([u for u in users[:50] if u != user] or users)
            target, members = {"user": peer}, [user, peer]
        client_msg_id = f"{users.index(user)}-{number}"
        answer = await client.send(target, client_msg_id, {"text": f"你好 {client_msg_id}"})
        story.note(members, client_msg_id, answer)


async def make_trouble(hub: Cluster, story: Story) -> None:
    async def reached(share: float) -> None:
        while story.acknowledged < MESSAGES * share:
            await asyncio.sleep(0.05)

    await reached(0.2)
    await asyncio.to_thread(hub.kill, "b")
    await reached(0.35)
    await asyncio.to_thread(hub.start_node, "b")
    await reached(0.5)
    await asyncio.to_thread(hub.one_redis.kill)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(hub.one_redis.start)
    await reached(0.65)
    await asyncio.to_thread(hub.redis.flush)
    await reached(0.8)
    await asyncio.to_thread(hub.kill, "worker")
    await asyncio.to_thread(hub.start_worker)


async def settled(clients: dict[str, HubClient], story: Story) -> None:
    """Wait until everybody has everything, or time is up: then the checks say what is missing."""
    for _ in range(300):
        missing = sum(
            len(story.expected[user].keys() - {m["id"] for m in client.applied})
            for user, client in clients.items()
        )
        if not missing:
            return
        await asyncio.sleep(0.2)


def check(clients: dict[str, HubClient], story: Story, count: int = MESSAGES // USERS) -> None:
    assert story.acknowledged == count * len(clients)
    for conversation, acknowledged in story.by_conversation.items():
        numbers = [seq for seq, _ in acknowledged]
        assert len(numbers) == len(set(numbers)), f"{conversation}: a number was given twice"
    for user, client in clients.items():
        received = [message["id"] for message in client.applied]
        assert len(received) == len(set(received)), f"{user}: seen twice"
        missing = story.expected[user].keys() - set(received)
        assert not missing, f"{user}: {len(missing)} acknowledged messages lost (cursor {client.cursor})"
        last: dict[str, int] = defaultdict(int)
        for message in client.applied:
            assert message["seq"] > last[message["conversation"]], f"{user}: out of order"
            last[message["conversation"]] = message["seq"]


def check_unread(
    hub: Cluster, tokens: dict[str, str], users: list[str], story: Story, clients: dict[str, HubClient]
) -> None:
    """Before reading, everything of others is unread; after reading up to the middle, what lies beyond is."""
    for user in users:
        theirs: dict[str, list[int]] = defaultdict(list)
        for message in clients[user].applied:
            if message["sender"] != user and not message.get("control"):
                theirs[message["conversation"]].append(message["seq"])
        for conversation, seqs in list(theirs.items())[:3]:
            url = f"{hub.url('a')}/v1/conversations/{conversation}"
            assert unread(hub, url, tokens[user]) == len(seqs)
            middle = seqs[len(seqs) // 2]
            hub.request("POST", f"{url}/read", {"seq": middle}, token=tokens[user])
            assert unread(hub, url, tokens[user]) == sum(seq > middle for seq in seqs)


def unread(hub: Cluster, url: str, token: str) -> int:
    return int(hub.request("GET", url, token=token)["mine"]["unread"])
