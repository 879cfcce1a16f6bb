"""Gateways restarted one after another under load: nothing acknowledged is lost, everybody comes back by the hint."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest

from tests.support.client import HubClient
from tests.support.cluster import Cluster, cluster
from tests.support.puller import Puller

USERS = int(os.environ.get("HUB_ROLLING_USERS", "60"))
ROUNDS = int(os.environ.get("HUB_ROLLING_ROUNDS", "1"))
GATEWAYS = ("gateway-1", "gateway-2")


@pytest.mark.chaos
@pytest.mark.worker
@pytest.mark.timeout(600)
async def test_a_rolling_restart_loses_nothing_and_nobody(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    limits = {"HUB_FRAMES_PER_SECOND": "2000", "HUB_RATE_USER": "0", "HUB_DRAIN_TIMEOUT": "3"}
    with cluster(tmp_path, database, **limits) as hub:
        for gateway in GATEWAYS:
            hub.start_node(gateway, "--role", "gateway")
        hub.start_node("api", "--role", "api")
        users = [f"用户{number}" for number in range(USERS)]
        tokens = await asyncio.to_thread(mint, hub, users)
        addresses = [hub.socket_url(gateway) for gateway in GATEWAYS]
        clients = {
            user: HubClient(
                addresses[:: 1 if number % 2 else -1],
                partial(tokens.__getitem__, user),
                device=f"phone-{number}",
                mode="hint" if number % 3 == 0 else "push",
            )
            for number, user in enumerate(users)
        }
        bases = [hub.url(gateway) for gateway in GATEWAYS]
        pullers = [Puller(bases, tokens[user], "mini") for user in users[:5]]
        async with contextlib.AsyncExitStack() as stack:
            for client in clients.values():
                await stack.enter_async_context(client)
            for puller in pullers:
                await stack.enter_async_context(puller)
            await asyncio.wait_for(asyncio.gather(*(c.live() for c in clients.values())), 60)
            over = asyncio.Event()
            talks = [asyncio.create_task(talk(user, users, clients[user], over)) for user in users]
            for _ in range(ROUNDS):
                for gateway in GATEWAYS:
                    await asyncio.sleep(1.0)
                    # From the main thread: Linux ends a child with the thread that made it.
                    stopping = asyncio.create_task(asyncio.to_thread(hub.stop_node, gateway))
                    await asyncio.wait_for(stopping, 20)
                    await all_live(clients)
                    hub.start_node(gateway, "--role", "gateway")
            await asyncio.sleep(1.0)
            over.set()
            sent = dict(zip(users, await asyncio.gather(*talks), strict=True))
            await settled(clients, pullers, users, sent)
        check(clients, pullers, users, sent)
        farewells = [bye for client in clients.values() for bye in client.farewells]
        assert farewells, "nobody had to come back"
        assert {(bye["code"], bye["reconnect"]) for bye in farewells} == {(1012, True)}
        hints = [bye["retry_after_s"] for bye in farewells]
        assert len(set(hints)) > len(hints) // 2, "everybody was told the same moment"
        assert sum(client.connects for client in clients.values()) >= USERS + len(farewells)


Sent = list[tuple[str, str, str, int]]
"""(recipient, message id, conversation, seq), in the order of the acknowledgements."""


def mint(hub: Cluster, users: list[str]) -> dict[str, str]:
    url = f"{hub.url('api')}/v1/tokens"
    return {user: hub.request("POST", url, {"user": user})["token"] for user in users}


async def talk(user: str, users: list[str], client: HubClient, over: asyncio.Event) -> Sent:
    """One message after another, each until it is acknowledged."""
    sent: Sent = []
    own = users.index(user)
    number = 0
    while not over.is_set():
        peer = users[(own + 1 + number % 3) % len(users)]
        answer = await client.send({"user": peer}, f"{own}-{number}", {"text": f"{own}-{number}"})
        sent.append((peer, answer["message"], answer["conversation"], answer["seq"]))
        number += 1
        await asyncio.sleep(0.05)
    return sent


async def all_live(clients: dict[str, HubClient]) -> None:
    async with asyncio.timeout(30):
        await asyncio.gather(*(client.live() for client in clients.values()))


def expected(users: list[str], sent: dict[str, Sent]) -> dict[str, set[str]]:
    due: dict[str, set[str]] = {user: set() for user in users}
    for user, each in sent.items():
        for peer, message, _, _ in each:
            due[user].add(message)
            due[peer].add(message)
    return due


def readers(
    clients: dict[str, HubClient], pullers: list[Puller], users: list[str]
) -> list[tuple[str, HubClient | Puller]]:
    return [*clients.items(), *zip(users, pullers, strict=False)]


async def settled(
    clients: dict[str, HubClient], pullers: list[Puller], users: list[str], sent: dict[str, Sent]
) -> None:
    """Wait until everybody has everything, or time is up: then the checks say what is missing."""
    due = expected(users, sent)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while any(
                due[user] - {m["id"] for m in reader.applied}
                for user, reader in readers(clients, pullers, users)
            ):
                await asyncio.sleep(0.1)


def check(
    clients: dict[str, HubClient], pullers: list[Puller], users: list[str], sent: dict[str, Sent]
) -> None:
    due = expected(users, sent)
    for user, reader in readers(clients, pullers, users):
        got = [frame["id"] for frame in reader.applied]
        assert len(got) == len(set(got)), f"{user} saw something twice"
        assert due[user] == set(got), f"{user}: lost {due[user] - set(got)}, unknown {set(got) - due[user]}"
        orders: dict[str, list[int]] = defaultdict(list)
        for frame in reader.applied:
            orders[frame["conversation"]].append(frame["seq"])
        for seqs in orders.values():
            assert seqs == sorted(seqs), f"{user}: out of order"
    for each in sent.values():
        by_conversation: dict[str, list[int]] = defaultdict(list)
        for _, _, conversation, seq in each:
            by_conversation[conversation].append(seq)
        for seqs in by_conversation.values():
            assert seqs == sorted(seqs), "acknowledged out of order"
