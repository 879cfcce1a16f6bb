"""Sessions that stay while others come back: pings at fixed times, from a process of its own, and how long each took.

It is told on one line of JSON where to go, says `ready`, and pings until its input ends. Then it says, on one line,
when each ping was sent and how long its pong took, and when and by how much it was itself late: a prober that is late
for as long as its pings take has measured itself.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

import uvloop

from bench.storm import Client, Storm, hello_of

_EVERY = 0.05
"""Seconds between two pings of one session."""
_PATIENCE = 3.0
"""Seconds for the last pongs."""
_FIRST = -10
"""Niceness: whoever measures goes before those who only make load."""


async def probe(port: int, tokens: list[str]) -> dict[str, Any]:
    """Until the input ends."""
    loop = asyncio.get_running_loop()
    quiet, clients, stop = Storm(left=len(tokens)), [], asyncio.Event()
    for token in tokens:
        make = partial(Client, quiet, hello_of(token, 0), 0, 0)
        _, client = await loop.create_connection(make, "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.welcomed for client in clients))
    gc.disable()
    print("ready", flush=True)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    lags: list[tuple[float, float]] = []
    due, number = time.perf_counter(), 0
    while not stop.is_set():
        number += 1
        clients[number % len(clients)].ping(number)
        due += _EVERY / len(clients)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        lags.append((now, max(0.0, now - due)))
    loop.remove_reader(sys.stdin.fileno())
    if any(client.unanswered for client in clients):
        await asyncio.sleep(_PATIENCE)
    unanswered = sum(client.unanswered for client in clients)
    for client in clients:
        client.transport.close()
    return {"trips": quiet.trips, "lags": lags, "unanswered": unanswered}


def main() -> None:
    """Ping, and tell."""
    with suppress(PermissionError):
        os.nice(_FIRST)
    told = json.loads(sys.stdin.buffer.readline())
    print(json.dumps(uvloop.run(probe(told["port"], told["tokens"]))), flush=True)


if __name__ == "__main__":
    main()
