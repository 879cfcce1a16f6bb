"""Every code of WeChat, and every trouble on the way, through both channels: the outcome, the ledger, the binding."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.accounts import BindingState
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry, Unknown
from tests.sandbox.post import OFFICIAL, PROGRAM, Post, Worker, envelope, one

PATHS = {
    "wechat_mp": "/cgi-bin/message/template/send",
    "miniprogram": "/cgi-bin/message/subscribe/send",
}
R = Reason
RETRY: dict[int, Reason] = {
    -1: R.PROVIDER_DOWN,
    200001: R.PROVIDER_DOWN,
    45066: R.PROVIDER_DOWN,
    43108: R.PROVIDER_RATE_LIMITED,
    45011: R.PROVIDER_RATE_LIMITED,
    45009: R.QUOTA_EXHAUSTED,
    99999: R.UNKNOWN,
    **dict.fromkeys((40001, 40014, 42001), R.AUTH_FAILED),
    **dict.fromkeys((40002, 40013, 40125, 41002, 41004, 40164, 40243, 50004, 50007), R.AUTH_FAILED),
    **dict.fromkeys((*range(89501, 89508), 61004, 61007, 48001, 48004, 48006), R.AUTH_FAILED),
}
REJECTED: dict[int, Reason] = {
    **dict.fromkeys((40003, 46004), R.NOT_BOUND),
    **dict.fromkeys((43004, 50005), R.UNSUBSCRIBED),
    **dict.fromkeys((43019, 48002, 50002, 40226), R.USER_BLOCK),
    **dict.fromkeys((43101, 45015, 45047, 45080, 50006), R.OPT_IN_REQUIRED),
    **dict.fromkeys((40036, 40037, 40176, 48011, 41030, 40165, 40166, 40039, 45005), R.TEMPLATE_INVALID),
    **dict.fromkeys((47001, 44002, 40035, 47003, 45168, 40249, 43116, 43107, 43102), R.TEMPLATE_INVALID),
    **dict.fromkeys((40246, 40247, 45026, 45027, 46101, 45109, 40008, 40062, 45067), R.TEMPLATE_INVALID),
    **dict.fromkeys((40029, 40163, 42003), R.NOT_BOUND),
    **dict.fromkeys((41001, 43001, 43002, 43003), R.ADAPTER_BUG),
}
STATES: dict[int, BindingState] = {
    **dict.fromkeys((40003, 46004), BindingState.INVALID),
    **dict.fromkeys((43004, 50005), BindingState.UNFOLLOWED),
    **dict.fromkeys((43019, 48002, 50002), BindingState.BLOCKED),
}
TOKENS = (40001, 40014, 42001)
CHANNELS = sorted(PATHS)


async def prepared(post: Post, channel: str) -> str:
    """Somebody who can be reached; their openid."""
    if channel == "wechat_mp":
        return await post.follower()
    return (await post.subscriber()).address


async def sent(worker: Worker, channel: str, **more: Any) -> Outcome:
    return await one(worker.mp if channel == "wechat_mp" else worker.mini, envelope(channel=channel, **more))


async def balance(post: Post) -> tuple[int, int]:
    openid = await post.control("openid", "alice", "wx7c1b9e4d2a8f6035")
    (found,) = await post.books.grants.balances(PROGRAM, openid)
    return found.remaining, found.reserved


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("code", [*RETRY, *REJECTED])
async def test_every_code_has_its_outcome(post: Post, channel: str, code: int) -> None:
    openid = await prepared(post, channel)
    worker = await post.worker()
    await post.control("chaos", {"effect": "errcode", "errcode": code, "path": PATHS[channel]})
    outcome = await sent(worker, channel)
    assert isinstance(outcome, Retry | Rejected)
    assert isinstance(outcome, Retry if code in RETRY else Rejected)
    assert outcome.reason is {**RETRY, **REJECTED}[code]
    assert outcome.code == str(code)
    assert not isinstance(outcome, Retry) or outcome.tried
    calls = (await post.ledger())["calls"][PATHS[channel]]
    assert calls == (2 if code in TOKENS else 1)
    binding = await post.books.bindings.binding(OFFICIAL if channel == "wechat_mp" else PROGRAM, openid)
    assert binding is not None
    assert binding.state is STATES.get(code, BindingState.ACTIVE)
    if channel == "miniprogram":
        assert await balance(post) == ((0, 0) if code == 43101 else (1, 0))


@pytest.mark.parametrize("channel", CHANNELS)
async def test_what_wechat_has_already_is_accepted(post: Post, channel: str) -> None:
    await prepared(post, channel)
    await post.control("chaos", {"effect": "errcode", "errcode": 45065, "path": PATHS[channel]})
    assert isinstance(await sent(await post.worker(), channel), Accepted)
    if channel == "miniprogram":
        assert await balance(post) == (0, 0)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_unknown_code_is_refused_at_the_second_try(post: Post, channel: str) -> None:
    await prepared(post, channel)
    await post.control("chaos", {"effect": "errcode", "errcode": 99999, "path": PATHS[channel]})
    outcome = await sent(await post.worker(), channel, attempts=2)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.UNKNOWN


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "trouble",
    [
        {"effect": "html"},
        {"effect": "empty"},
        {"effect": "status", "status": 502},
        {"effect": "reset"},
        {"effect": "reset", "after": True},
        {"effect": "delay", "ms": 1300, "after": True},
        {"effect": "delay", "ms": 1300},
    ],
    ids=lambda trouble: "-".join(str(value) for value in trouble.values()),
)
async def test_what_may_have_arrived_is_unknown(post: Post, channel: str, trouble: dict[str, Any]) -> None:
    await prepared(post, channel)
    worker = await post.worker()
    await post.control("chaos", {**trouble, "path": PATHS[channel], "times": 1})
    assert isinstance(await sent(worker, channel), Unknown)
    if channel == "miniprogram":
        assert await balance(post) == (0, 1)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_refusal_at_the_door_was_no_send(post: Post, channel: str) -> None:
    await prepared(post, channel)
    await post.control("chaos", {"effect": "status", "status": 413, "path": PATHS[channel], "times": 1})
    worker = await post.worker()
    assert isinstance(await sent(worker, channel), Retry)
    assert isinstance(await sent(worker, channel), Accepted)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_without_a_connection_nothing_was_sent(post: Post, channel: str, unused_port: int) -> None:
    await prepared(post, channel)
    worker = await post.worker(base=f"http://127.0.0.1:{unused_port}")
    outcome = await sent(worker, channel)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.PROVIDER_DOWN
    if channel == "miniprogram":
        assert await balance(post) == (1, 0)


@pytest.mark.parametrize("code", [40001, 40013, 40125, 40164, 40243, 50004, 50007, 89503, 89506, 89507])
async def test_a_token_that_is_not_given_out_breaks_the_account(post: Post, code: int) -> None:
    await post.follower()
    await post.control("control", "POST", "/accounts/wx5a6d0c8b1e2f3a47/kill_tokens")
    await post.control("control", "PATCH", "/accounts/wx5a6d0c8b1e2f3a47", {"token_fault": code})
    worker = await post.worker()
    outcome = await sent(worker, "wechat_mp")
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.code) == (Reason.AUTH_FAILED, str(code))
    official = await post.books.accounts.account(OFFICIAL)
    assert official is not None
    health = await worker.board.health(official)
    assert (health.ok, health.circuit, health.code) == (False, "open", str(code))


async def test_a_template_message_that_timed_out_is_repeated_without_doubling(post: Post) -> None:
    await post.follower()
    worker = await post.worker()
    path = PATHS["wechat_mp"]
    await post.control("chaos", {"effect": "delay", "ms": 1300, "after": True, "path": path, "times": 1})
    message = envelope()
    assert isinstance(await one(worker.mp, message), Unknown)
    assert isinstance(await one(worker.mp, message), Accepted)
    ledger = await post.ledger()
    # Not `accepted`: a call that an earlier test gave up may have been carried out meanwhile.
    assert (ledger["messages"]["suppressed_duplicates"], ledger["doubles"]) == (1, [])
    await post.control("settings", duplicate_answer="error")
    assert isinstance(await one(worker.mp, message), Accepted)
