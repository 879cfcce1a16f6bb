"""What the client knows when an answer breaks: surely not carried out, or nobody knows."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from hub.channels._wechat.answers import Sent
from hub.channels._wechat.client import Credentials, WeChatClient, stable_token
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.shelf import LocalShelf
from hub.channels._wechat.tokens import TokenSource
from hub.channels._wechat.transport import HttpLimits, open_transport
from tests.services.redis import free_port
from tests.unit.wechat.fake_wechat import APPID, SECRET, Behaviour, answering, drip, half, hang, reset
from tests.unit.wechat.rig import MESSAGE, MSGID, QUICK, Rig, client_of, open_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened


@pytest.mark.parametrize(
    "behave",
    [
        hang,
        reset,
        half,
        drip,
        answering("<html>Bad gateway</html>", content_type="text/html"),
        answering(""),
        answering('{"errcode":0,"errmsg":"ok","ms'),
        answering("[]"),
        answering("{}"),
        answering('{"errcode":"zero"}'),
        answering("<html>", status=502),
        answering('{"errcode":0}', status=500),
        answering(b" " * 200_000),
        answering(b"[" * 90_000),
        answering(b"\xff\xfe\x00"),
    ],
)
async def test_what_may_have_been_carried_out_is_ambiguous(rig: Rig, behave: Behaviour) -> None:
    rig.fake.behave = behave
    failure = await rig.failed()
    assert (failure.kind, failure.sent) == (Kind.AMBIGUOUS, None)
    assert len(rig.fake.requests) == 1, "a send is not repeated by the transport"


@pytest.mark.parametrize("status", [301, 302, 307, 403, 404, 413, 429])
async def test_what_is_turned_away_at_the_door_is_not_carried_out(rig: Rig, status: int) -> None:
    rig.fake.behave = answering("<html>", status=status)
    failure = await rig.failed()
    assert (failure.kind, failure.sent) == (Kind.BUSY, False)


async def test_an_errcode_counts_whatever_the_status(rig: Rig) -> None:
    rig.fake.behave = answering('{"errcode":43101,"errmsg":"refused"}', status=500)
    assert (await rig.failed()).errcode == 43101


async def test_without_a_connection_nothing_was_sent(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        for base in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid", "http://[::1]:1"):
            rig.client = await client_of(stack, base)
            failure = await rig.failed()
            assert (failure.kind, failure.sent) == (Kind.BUSY, False)


async def test_without_a_connection_a_send_was_not_sent_even_with_a_token(rig: Rig) -> None:
    """The token comes from one place, the send goes to another that does not answer its door."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        async with AsyncExitStack() as stack:
            good = await stack.enter_async_context(open_transport(rig.fake.base, QUICK))
            deaf = await stack.enter_async_context(
                open_transport(f"http://127.0.0.1:{full.getsockname()[1]}", QUICK)
            )
            account = Credentials(APPID, SECRET)
            tokens = TokenSource(APPID, stable_token(good, account), LocalShelf())
            rig.client = WeChatClient(deaf, account, tokens)
            failure = await rig.failed()
        for client in waiting:
            client.close()
    assert (failure.kind, failure.sent) == (Kind.BUSY, False)


async def test_waiting_for_a_connection_of_the_pool_is_not_sending(rig: Rig) -> None:
    narrow = HttpLimits(connections=1, read=timedelta(seconds=5), total=timedelta(milliseconds=300))
    async with AsyncExitStack() as stack:
        rig.client = await client_of(stack, rig.fake.base, narrow)
        assert await rig.client.send_template(MESSAGE) == Sent(MSGID)
        rig.fake.behave = hang
        results = await asyncio.gather(*(rig.failed() for _ in range(3)))
    assert sorted(failure.kind.value for failure in results) == ["ambiguous", "busy", "busy"]


async def test_a_read_is_never_ambiguous(rig: Rig) -> None:
    await rig.client.send_template(MESSAGE)
    for behave in (hang, reset, half, answering("<html>"), answering("{}"), answering("x", status=500)):
        rig.fake.behave = behave
        result = await rig.client.private_templates()
        assert isinstance(result, Failure)
        assert result.kind is Kind.BUSY


async def test_connections_are_used_again_and_survive_a_break(rig: Rig) -> None:
    rig.fake.behave = reset
    await rig.failed()
    rig.fake.behave = None
    for _ in range(5):
        assert await rig.client.send_template(MESSAGE) == Sent(MSGID)


async def test_nothing_secret_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    for behave in (None, hang, reset, half, answering(f'{{"errcode":-1,"errmsg":"{rig.fake.token}"}}')):
        rig.fake.behave = behave
        await rig.client.send_template(MESSAGE)
    await rig.client.mini_login("code")
    loop.set_debug(False)
    shown = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in (SECRET, rig.fake.token, "oAnn", "差旅报销"):
        assert secret not in shown
