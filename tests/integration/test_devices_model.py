"""One user with three devices on two real nodes: pushed to, hinted to, and polling. Others talk, change things, come
and go; each device keeps its conversation list by frames alone, and it is what the hub says."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.devices_of_test import Device, Kept, Line, OverHttp, PollDevice, SocketDevice, until
from tests.integration.devices_town import ME, Town
from tests.support.cluster import cluster
from tests.support.own_list import Frame, shown

pytestmark = [pytest.mark.timeout(400)]
ROUNDS = int(os.environ.get("HUB_TEST_ROUNDS", "12"))
SEED = int(os.environ.get("HUB_TEST_SEED", "1"))


class Desk:
    """Her devices, by name, and what they must agree upon."""

    def __init__(self, town: Town, devices: dict[str, Device], truth: OverHttp) -> None:
        self.town, self.devices, self.truth = town, devices, truth
        self.runners: list[asyncio.Task[None]] = []

    async def coming_and_going(self) -> None:
        """One in three goes away, or comes back."""
        for device in self.devices.values():
            if self.town.dice.random() < 0.35:
                if device.allowed.is_set():
                    await device.leave()
                else:
                    device.come_back()

    async def agree(self, within: float = 20.0) -> None:
        """Every device that is there shows what the hub says."""
        here = {name: one for name, one in self.devices.items() if one.allowed.is_set()}
        async with asyncio.timeout(within + 20):
            deadline = asyncio.get_running_loop().time() + within
            while True:
                served = await self.truth.all()
                expected = shown(served)
                ordered = [row["id"] for row in served] == [row["id"] for row in expected]
                lists = {name: device.line.list.shown() for name, device in here.items()}
                if ordered and all(shows == expected for shows in lists.values()):
                    return
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.2)
        assert ordered, [(row["id"], row["mine"]["pinned_at"], row["last_message"]) for row in served]
        for task in self.runners:
            assert not task.done() or task.result() is None
        for name, shows in lists.items():
            assert shows == expected, f"{name}: {_difference(shows, expected)}"

    async def same_messages(self) -> None:
        """What devices hold of the conversations that come by the queue is what histories show, in order. A change that
        the list does not show may still be on its way."""
        for row in await self.truth.all():
            if row["kind"] == "inbox" or row["fanout"] == "read":
                continue
            log = await self._history(row["id"])
            past = max(row["mine"]["cleared_seq"], await self._joined(row["id"]))
            for name, device in self.devices.items():
                kept = device.line.kept
                with suppress(TimeoutError):
                    await until(partial(_holds, kept, row["id"], past, log), within=10)
                assert kept.of(row["id"], past) == log, name
                numbers = kept.order.get(row["id"], [])
                assert numbers == sorted(set(numbers)), name

    async def _history(self, conversation: str) -> dict[str, tuple[str, Any]]:
        found: list[Frame] = []
        after = 0
        while True:
            path = f"/v1/conversations/{conversation}/messages"
            page = (await self.truth.get(path, after=after, limit=100)).json()
            found += page["data"]
            if page["page"]["next"] is None and page["gap"] is None:
                return {one["id"]: (one["kind"], one["body"]) for one in found if not one.get("control")}
            after = page["high"] or after
            await asyncio.sleep(0.1 if page["gap"] else 0)

    async def _joined(self, conversation: str) -> int:
        members = (await self.truth.get(f"/v1/conversations/{conversation}/members", limit=100)).json()
        return next(int(one["joined_seq"]) for one in members["data"] if one["user_id"] == ME)


def _holds(kept: Kept, conversation: str, past: int, log: dict[str, tuple[str, Any]]) -> bool:
    return kept.of(conversation, past) == log


def _difference(shows: list[Frame], expected: list[Frame]) -> str:
    by = {row["id"]: row for row in expected}
    lines = [f"order: {[r['id'][-5:] for r in shows]} expected {[r['id'][-5:] for r in expected]}"]
    for row in shows:
        other = by.pop(row["id"], None)
        if other is None:
            lines.append(f"too much: {row}")
            continue
        lines += [
            f"{row['id'][-5:]} {name}: {value!r}, expected {other[name]!r}"
            for name, value in row.items()
            if value != other[name]
        ]
    return "\n".join([*lines, *(f"missing: {row}" for row in by.values())])


async def test_the_list_that_devices_keep_by_frames_is_the_one_that_the_hub_computes(
    tmp_path: Path, database_url: str
) -> None:
    more = {
        "HUB_FANOUT_LIMIT": "5",
        "HUB_GAP_GRACE": "0.5",
        "HUB_FRAMES_PER_SECOND": "2000",
        "HUB_RATE_USER": "0",
    }
    with cluster(tmp_path, database_url, **more) as hub:
        await asyncio.gather(*(asyncio.to_thread(hub.start_node, node) for node in ("a", "b")))
        town = Town(hub, random.Random(SEED))
        await town.begin()
        bases = [hub.url("a"), hub.url("b")]
        sockets = [hub.socket_url("a"), hub.socket_url("b")]
        token = town.tokens[ME]

        def line() -> Line:
            return Line(ME, OverHttp(bases, token))

        async with AsyncExitStack() as stack:
            phone = SocketDevice(sockets, lambda: token, "phone").begin(line())
            watch = SocketDevice(sockets[::-1], lambda: token, "watch", mode="hint").begin(line())
            mini = PollDevice(bases, token, "mini", line())
            devices: dict[str, Device] = {"phone": phone, "watch": watch, "mini": mini}
            town.devices = [phone, watch]
            desk = Desk(town, devices, OverHttp(bases, token))
            runs = [*(device.line.run() for device in devices.values()), mini.run()]
            desk.runners = [asyncio.create_task(run) for run in runs]
            for socket in town.devices:
                await stack.enter_async_context(socket)
                await asyncio.wait_for(socket.live(), 20)
            for number in range(ROUNDS):
                if number % 4 == 3:
                    # Nodes do not hear each other for a moment, and what is not stored is lost.
                    hub.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                await town.play(town.dice.randint(5, 30))
                if number % 3 == 2:
                    await desk.coming_and_going()
                if town.dice.random() < 0.6:
                    await desk.agree()
            for one in devices.values():
                one.come_back()
            await desk.agree()
            await town.play(30)
            await desk.agree()
            await desk.same_messages()
            for task in desk.runners:
                assert not task.done()
                task.cancel()
            await asyncio.gather(*desk.runners, return_exceptions=True)
            print({n: (d.line.frames, d.line.list.fetched) for n, d in devices.items()}, dict(town.done))
