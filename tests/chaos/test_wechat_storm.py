"""Thousands of sends to a WeChat that errs, hangs and forgets its tokens, by two workers that are killed all the time.

Every delivery ends; no template message arrives twice, no grant is overspent, every state follows from the one before.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.wechat_town import Town

PEOPLE = int(os.environ.get("HUB_STORM_PEOPLE", "500"))
OFFICIAL, PROGRAM = 7, 3
"""Notifications to everybody on each channel: with 500 people, 5,000 deliveries."""
DEADLINE = 420.0

SENDS = "/cgi-bin/message/*"
CHAOS = {
    "seed": 20,
    "rules": [
        {"effect": "kill_tokens", "path": SENDS, "every": 200},
        {"effect": "errcode", "path": SENDS, "errcode": -1, "rate": 0.2},
        # Half of what times out was sent: a client cannot tell which.
        {"effect": "delay", "path": SENDS, "after": True, "ms": 2500, "rate": 0.05},
        {"effect": "reset", "path": SENDS, "after": False, "rate": 0.05},
    ],
    "events": {"duplicate": 0.05, "late": 0.1, "late_ms": 1500, "early": 0.1},
}
LEGAL = {
    None: {"queued", "waiting", "skipped", "attempting", "planned"},
    "planned": {"queued", "waiting", "skipped", "canceled", "attempting"},
    "waiting": {"queued", "attempting", "skipped", "canceled", "waiting"},
    "queued": {"queued", "attempting", "skipped", "canceled", "waiting"},
    "attempting": {
        "attempting",
        "retry_wait",
        "accepted",
        "delivered",
        "unknown",
        "failed",
        "skipped",
        "waiting",
    },
    "retry_wait": {
        "queued",
        "retry_wait",
        "attempting",
        "accepted",
        "delivered",
        "failed",
        "skipped",
        "canceled",
        "unknown",
    },
    "unknown": {"unknown", "accepted", "delivered", "failed", "retry_wait", "skipped"},
    "accepted": {"accepted", "delivered", "failed"},
    "delivered": {"delivered"},
    "failed": {"failed"},
    "skipped": {"skipped"},
    "canceled": {"canceled"},
}
FINAL = {"delivered", "failed", "skipped", "canceled"}


@pytest.mark.chaos
@pytest.mark.worker
@pytest.mark.timeout(900)
async def test_a_storm_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    database = tmp_path / "hub.db"
    settings = {
        "HUB_DELIVERY_LEASE": "8",
        "HUB_WECHAT_TIMEOUT": "1.5",
        "HUB_WECHAT_READ_TIMEOUT": "1",
        "HUB_WECHAT_CONNECT_TIMEOUT": "1",
        "HUB_WECHAT_RECEIPT_WITHIN": "8",
        "HUB_WECHAT_PACE": "1000",
        "HUB_SQLITE_SYNCHRONOUS": "NORMAL",
    }
    with cluster(tmp_path, f"sqlite+aiosqlite:///{database}", **settings) as hub:
        town, people = await asyncio.to_thread(a_town, hub)
        town.control("POST", "/chaos", CHAOS)
        killing = asyncio.create_task(kill_workers(hub))
        try:
            for _ in range(OFFICIAL):
                await asyncio.to_thread(town.notify, people, "wechat_mp")
            for _ in range(PROGRAM):
                await asyncio.to_thread(town.notify, people, "miniprogram")
            await asyncio.wait_for(until_settled(database), DEADLINE)
        finally:
            killing.cancel()
        town.callbacks_done()
        await asyncio.wait_for(until_settled(database), 60)
        judge(database, town.control("GET", "/ledger"), town.control("GET", "/chaos"), people)


def a_town(hub: Cluster) -> tuple[Town, list[str]]:
    hub.start_node("a")
    town = Town.beside(hub)
    people = [f"村民{number}" for number in range(PEOPLE)]
    town.settle(people)
    for one in range(PROGRAM):
        # Every other person has one grant too few. WeChat's events tell whole seconds: a second yes is a second later.
        for person in people[:: 2 if one == PROGRAM - 1 else 1]:
            town.grant(person)
        town.callbacks_done()
        time.sleep(1.1)
    hub.start_beat()
    for name in ("worker1", "worker2"):
        hub.start_worker(name, beat=False)
    return town, people


async def kill_workers(hub: Cluster) -> None:
    """One of the two is killed every few seconds, and starts again."""
    dice = random.Random(7)
    while True:
        await asyncio.sleep(dice.uniform(4, 8))
        name = dice.choice(["worker1", "worker2"])
        await asyncio.to_thread(hub.kill, name)
        await asyncio.to_thread(hub.start_worker, name, beat=False)


async def until_settled(database: Path) -> None:
    """Until every delivery is there and has nothing left to wait for."""
    expected = PEOPLE * (OFFICIAL + PROGRAM)
    waiting = "SELECT count(*), sum(state NOT IN ({}) AND due_at IS NOT NULL) FROM delivery"
    statement = waiting.format(", ".join(f"'{state}'" for state in sorted(FINAL)))
    while True:
        ((there, open_),) = await asyncio.to_thread(query, database, statement)
        if there == expected and not open_:
            return
        await asyncio.sleep(1)


def query(database: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(statement).fetchall()


def judge(database: Path, ledger: dict[str, Any], chaos: dict[str, Any], people: list[str]) -> None:
    outcomes = Counter(query(database, "SELECT channel, state, reason FROM delivery"))
    states = Counter((channel, state) for channel, state, _ in outcomes.elements())
    # Settled without a last word: nobody will ever know more of them, and an operator may replay them.
    settled_only = outcomes["miniprogram", "accepted", "no_receipt"]
    unheard = outcomes["wechat_mp", "unknown", "no_receipt"]
    finals = sum(count for (_, state), count in states.items() if state in FINAL)
    assert finals + settled_only + unheard == sum(states.values()), outcomes
    by_api = ledger["messages"]["by_api"]
    assert ledger["doubles"] == []
    # With three of ten calls failing, one of thousands uses up all of its tries.
    exhausted = unheard + outcomes["wechat_mp", "failed", "attempts_exhausted"]
    arrived = states["wechat_mp", "delivered"]
    assert arrived + exhausted == PEOPLE * OFFICIAL, outcomes
    assert exhausted <= PEOPLE * OFFICIAL // 300 + 1, outcomes
    assert arrived <= by_api["template/send"] <= arrived + unheard

    granted = PEOPLE * PROGRAM - len(people) // 2
    spent, arrived = ledger["grants"]["spent"], states["miniprogram", "delivered"]
    assert ledger["grants"]["sends_past_grants"] == 0
    assert spent == by_api["subscribe/send"] <= granted
    # Who has no grant left hears so. What nobody ever told anything of is not called delivered: "accepted" where the
    # grant was found used up after it, "failed, unknown" after two silences.
    silent = settled_only + outcomes["miniprogram", "failed", "unknown"]
    assert outcomes["miniprogram", "failed", "quota_exhausted"] == len(people) // 2, outcomes
    assert arrived + silent == granted, outcomes
    assert silent <= granted // 10, outcomes
    assert arrived <= spent <= arrived + silent
    kills = chaos["rules"][0]["hit"]
    assert kills >= len(people) * (OFFICIAL + PROGRAM) // 200
    assert ledger["tokens"]["issued_stable"] <= kills + 2, "more tokens were fetched than invalidated"
    histories: dict[str, list[str]] = defaultdict(list)
    for delivery, state in query(
        database, "SELECT delivery_id, state FROM delivery_event ORDER BY delivery_id, version"
    ):
        histories[delivery].append(state)
    for delivery, history in histories.items():
        for before, after in zip([None, *history], history, strict=False):
            # A receipt of the try that got lost may come while the next one waits for its worker.
            told = before == "queued" and "attempting" in history and after in LEGAL["accepted"]
            assert told or after in LEGAL[before], f"{delivery}: {history}"
