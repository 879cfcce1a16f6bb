"""A device without a socket: it pulls over HTTP, waits for news there, and acknowledges."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import httpx2

Frame = dict[str, Any]


@dataclass
class Puller:
    """`addresses` are base URLs of gateways, tried in turn; `applied` holds every message in q order."""

    addresses: list[str]
    token: str
    device: str
    wait: str = "PT5S"
    cursor: int = 0
    applied: list[Frame] = field(default_factory=list)
    pulls: int = 0
    empty: int = 0
    failures: int = 0
    gaps: int = 0
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Puller:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            for attempt in itertools.count():
                base = self.addresses[attempt % len(self.addresses)]
                with contextlib.suppress(httpx2.TransportError):
                    await self._pull(http, base)
                self.failures += 1
                await asyncio.sleep(random.uniform(0.05, 0.3))

    async def _pull(self, http: httpx2.AsyncClient, base: str) -> None:
        while True:
            query: dict[str, int | str] = {"after": self.cursor, "wait": self.wait, "limit": 200}
            answer = await http.get(f"{base}/v1/queue", params=query)
            if answer.status_code != 200:
                return
            self.pulls += 1
            page = answer.json()
            assert not page["rebase"]
            for entry in page["data"]:
                self._apply(entry)
            if not page["data"]:
                self.empty += 1
                continue
            body = {"seq": self.cursor, "device": {"id": self.device, "platform": "miniprogram"}}
            acked = await http.post(f"{base}/v1/queue/ack", json=body)
            if acked.status_code != 204:
                return

    def _apply(self, entry: Frame) -> None:
        if entry["q"] <= self.cursor:
            return
        if entry["q"] != self.cursor + 1:
            self.gaps += 1
        self.cursor = entry["q"]
        if entry["message"] is not None:
            self.applied.append({"q": entry["q"], **entry["message"]})
