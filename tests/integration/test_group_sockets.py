"""A group on two real nodes and real sockets: rounds in which members speak while others come and go, over the fan-out
threshold and back, a node is killed and Redis is emptied. What everybody has at the end is what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import HubClient, Refused
from tests.support.cluster import Cluster, cluster

ROUNDS = int(os.environ.get("HUB_TEST_ROUNDS", "8"))
SEED = int(os.environ.get("HUB_TEST_SEED", "1"))
LIMIT = 4
USERS = [f"用户{number}" for number in range(7)]


@dataclass
class Round:
    """What was acknowledged in it, who was a member before and after, and whether every message has references."""

    before: frozenset[str]
    after: frozenset[str]
    write: bool
    said: dict[str, int] = field(default_factory=dict)
    """Message and its seq."""


class Play:
    """One group, its clients and what has happened."""

    def __init__(self, hub: Cluster, group: str, clients: dict[str, HubClient], dice: random.Random) -> None:
        self.hub, self.group, self.clients, self.dice = hub, group, clients, dice
        self.members = frozenset(USERS[:3])
        self.rounds: list[Round] = []
        self.number = 0

    def url(self, node: str = "a") -> str:
        return f"{self.hub.url(node)}/v1/conversations/{self.group}"

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.hub.request, method, f"{self.url()}{path}", body)

    async def play(self) -> None:
        """One round: up to six messages while up to four people come or go."""
        before, write = self.members, await self.write_diffused()
        owner = USERS[0]
        others = [user for user in USERS if user != owner]
        moving = self.dice.sample(others, self.dice.choice([0, 1, 1, 2, 4]))
        if self.dice.random() < 0.3:  # a crowd: over the threshold, or back
            moving = [u for u in others if (u in before) == (len(before) > LIMIT)]
        self.members = frozenset(before ^ set(moving))
        speakers = self.dice.choices(sorted(before), k=self.dice.randint(1, 6))
        here = Round(before, self.members, write=False)
        self.rounds.append(here)
        await asyncio.gather(*(self.say(user, here) for user in speakers), self.move(moving, before))
        low = len(before | self.members) <= LIMIT
        here.write = write and low and await self.write_diffused()

    async def write_diffused(self) -> bool:
        return bool((await self.ask("GET", ""))["fanout"] == "write")

    async def say(self, user: str, here: Round) -> None:
        self.number += 1
        key = f"c{self.number}"
        try:
            answer = await self.clients[user].send({"conversation": self.group}, key, {"text": key})
        except Refused:
            assert user not in here.before & here.after, "a member was refused"
            return
        here.said[answer["message"]] = answer["seq"]

    async def move(self, moving: list[str], before: frozenset[str]) -> None:
        coming = [{"user_id": user} for user in moving if user not in before]
        if coming:
            await self.ask("POST", "/members", {"members": coming})
        for user in moving:
            if user in before:
                await self.ask("DELETE", f"/members/{quote(user)}")

    # What everybody has

    def owed(self, user: str) -> set[str]:
        """What the queue alone must have brought."""
        rounds = (r for r in self.rounds if r.write and user in r.before & r.after)
        return {message for r in rounds for message in r.said}

    def forbidden(self, user: str) -> set[str]:
        rounds = (r for r in self.rounds if user not in r.before | r.after)
        return {message for r in rounds for message in r.said}

    async def settled(self) -> None:
        """Until everybody has what the queue must bring, or time is up: then the checks say what is missing."""
        for _ in range(200):
            got = {user: {m["id"] for m in client.applied} for user, client in self.clients.items()}
            if all(self.owed(user) <= got[user] for user in USERS):
                return
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        """Nothing lost, nothing doubled, nothing that was not theirs, everything in order."""
        said = {message: seq for r in self.rounds for message, seq in r.said.items()}
        log = {m["id"]: m["seq"] for m in await self.history(None)}
        assert said.items() <= log.items(), "something acknowledged is not there"
        for user, client in self.clients.items():
            mine = [frame for frame in client.applied if frame["conversation"] == self.group]
            ids = [frame["id"] for frame in mine]
            assert len(ids) == len(set(ids))
            assert self.owed(user) <= set(ids), f"{user} lacks something"
            assert not self.forbidden(user) & set(ids), f"{user} has what was not for them"
            seqs = [frame["seq"] for frame in mine]
            assert seqs == sorted(seqs), f"{user}: {seqs}"
            if user in self.members:
                await self.check_history(user)
            else:
                with pytest.raises(AssertionError, match="conversation_not_found"):
                    await self.history(user)

    async def check_history(self, user: str) -> None:
        since = next((n for n in reversed(range(len(self.rounds))) if user not in self.rounds[n].before), -1)
        shown = {message["id"] for message in await self.history(user)}
        owed = {message for r in self.rounds[since + 1 :] for message in r.said}
        assert owed <= shown, f"{user} does not see everything"
        earlier = {message for r in self.rounds[: max(since, 0)] for message in r.said}
        assert not earlier & shown, f"{user} sees what was said before"

    async def history(self, user: str | None) -> list[dict[str, Any]]:
        token = None if user is None else self.clients[user].token()
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            url = f"{self.url()}/messages?after={after}&limit=100"
            page = await asyncio.to_thread(self.hub.request, "GET", url, None, token)
            found += page["data"]
            if page["page"]["next"] is None and page["gap"] is None:
                return found
            after = page["high"] or after
            await asyncio.sleep(0.1 if page["gap"] else 0)


async def trouble(play: Play, number: int) -> None:
    """What befalls the hub before a round."""
    third = max(1, ROUNDS // 4)
    if number == third:
        await asyncio.to_thread(play.hub.kill, "b")
    elif number == 2 * third:
        await asyncio.to_thread(play.hub.start_node, "b")
    elif number == 3 * third:
        await asyncio.to_thread(play.hub.redis.flush)


@pytest.mark.timeout(300)
async def test_a_group_on_real_sockets_keeps_its_promises(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    more = {"HUB_FANOUT_LIMIT": str(LIMIT), "HUB_GAP_GRACE": "0.5", "HUB_FRAMES_PER_SECOND": "2000"}
    with cluster(tmp_path, database, **more) as hub:
        await asyncio.gather(*(asyncio.to_thread(hub.start_node, node) for node in ("a", "b")))
        mint = f"{hub.url('a')}/v1/tokens"
        tokens = {user: hub.request("POST", mint, {"user": user})["token"] for user in USERS}
        members = [{"user_id": u, "role": "owner" if u == USERS[0] else "member"} for u in USERS[:3]]
        made = hub.request("POST", f"{hub.url('b')}/v1/conversations", {"title": "群", "members": members})
        addresses = [hub.socket_url("a"), hub.socket_url("b")]
        clients = {
            user: HubClient(addresses, partial(tokens.__getitem__, user), device=f"phone-{number}")
            for number, user in enumerate(USERS)
        }
        async with contextlib.AsyncExitStack() as stack:
            for client in clients.values():
                await stack.enter_async_context(client)
            await asyncio.wait_for(asyncio.gather(*(client.live() for client in clients.values())), 30)
            play = Play(hub, made["id"], clients, random.Random(SEED))
            for number in range(ROUNDS):
                await trouble(play, number)
                await play.play()
            await play.settled()
            await play.check()
