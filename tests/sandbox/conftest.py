"""One sandbox for all tests of this folder, as new for each."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.sandbox.post import Post
from tests.sandbox.rig import Lab, Receiver, open_lab, open_receiver
from tests.services import RedisServer


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    """Started once."""
    with open_lab() as lab:
        yield lab


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    """The demo world, real time, no chaos, an empty ledger."""
    running_lab.reset()
    return running_lab


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A callback URL."""
    with open_receiver() as receiver:
        yield receiver


@pytest.fixture
def unused_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def post(lab: Lab, redis_server: RedisServer) -> AsyncIterator[Post]:
    """The hub's two channels over the sandbox."""
    redis_server.flush()
    async with AsyncExitStack() as stack:
        office = Post(lab, redis_server.url, stack)
        await office.open()
        yield office
