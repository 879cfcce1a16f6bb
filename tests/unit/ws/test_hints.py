"""Hint mode: the hub says that there is news, once, and the client pulls."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.channels.ws.session import Phase, Rules, Session
from tests.unit.ws.rig import a_rig, types


def heads(frames: list[Any]) -> list[int]:
    return [frame["head"] for frame in frames if isinstance(frame, dict) and frame["type"] == "news"]


async def test_many_messages_are_one_hint_and_no_body() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann", mode="hint")
        for _ in range(5):
            rig.hub.write("ann")
        assert [types(frames := await socket.after()), heads(frames)] == [["news"], [1]]


async def test_pulling_and_acknowledging_answer_a_hint() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann", mode="hint")
        rig.hub.write("ann")
        rig.hub.write("ann")
        assert heads(await socket.after()) == [1]
        socket.say({"type": "sync", "id": 1, "after": 0})
        frames = await socket.after()
        assert types(frames) == ["batch"]
        assert [entry["q"] for entry in frames[0]["entries"]] == [1, 2]
        socket.say({"type": "ack", "seq": 2})
        assert await socket.after() == []
        rig.hub.write("ann")
        assert heads(await socket.after()) == [3]
        socket.say({"type": "ack", "seq": 3})  # pulled over HTTP
        rig.hub.write("ann")
        assert heads(await socket.after()) == [4]


async def test_what_comes_while_a_hint_is_unanswered_is_told_after_the_answer() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann", mode="hint")
        rig.hub.write("ann")
        rig.hub.write("ann")
        assert heads(await socket.after()) == [1]
        socket.say({"type": "ack", "seq": 1})
        assert heads(await socket.after()) == [2]


async def test_a_client_that_was_away_hears_of_what_it_missed() -> None:
    async with a_rig() as rig:
        for _ in range(3):
            rig.hub.write("ann")
        socket = rig.socket()
        frames = await socket.hello("ann", cursor=1, mode="hint")
        assert types(frames) == ["welcome", "news"]
        assert heads(frames) == [3]


async def test_a_cursor_beyond_the_queue_is_told_to_rebase() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        socket = rig.socket()
        frames = await socket.hello("ann", cursor=9, mode="hint")
        assert types(frames) == ["welcome", "rebase"]
        rig.hub.write("ann")
        assert heads(await socket.after()) == [2]


async def test_what_was_lost_on_the_way_is_found_by_a_heartbeat() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann", mode="hint")
        rig.hub.write("ann", push=False)
        assert await socket.after() == []
        socket.say({"type": "ping", "id": 1})
        assert types(await socket.after()) == ["pong", "news"]


async def test_a_hint_for_what_is_not_readable_yet_is_repeated_when_it_is() -> None:
    """A number is heard of before those below it are committed: the pull finds nothing, and the hint comes again."""
    async with a_rig() as rig:
        socket = await rig.user("ann", mode="hint")
        rig.hub.write("ann")
        assert heads(await socket.after()) == [1]
        kept, rig.hub.queues[rig.hub.key("ann")] = rig.hub.queues[rig.hub.key("ann")], []
        socket.say({"type": "sync", "id": 1, "after": 0})
        frames = socket.frames()
        while not frames:
            frames = await socket.after(0.01)
        assert [frames[0]["entries"], len(frames)] == [[], 1]
        rig.hub.queues[rig.hub.key("ann")] = kept
        found: list[Any] = []
        while not found:
            found = await socket.after(0.05)
        assert heads(found) == [1]


async def test_push_and_hint_sessions_of_one_user_do_not_disturb_each_other() -> None:
    async with a_rig() as rig:
        push = await rig.user("ann", "phone")
        hint = await rig.user("ann", "watch", mode="hint")
        for _ in range(3):
            rig.hub.write("ann")
        assert types(await push.after()) == ["message"] * 3
        assert types(await hint.after()) == ["news"]


async def test_an_unknown_mode_is_refused() -> None:
    async with a_rig() as rig:
        frames = await rig.socket().hello("ann", mode="smoke signals")
        assert types(frames)[:2] == ["error", "bye"]


def a_session(cursor: int, head: int) -> Session:
    session = Session(Rules(100, 100), now=0)
    session.phase = Phase.GREETING
    session.begin(cursor=cursor, head=head, hint=True)
    session.settle()
    return session


STEPS = st.lists(st.one_of(st.just("push"), st.just("pull"), st.just("ack")), max_size=40)


@given(STEPS)
def test_hints_never_stop_and_never_pile_up(steps: list[str]) -> None:
    """Whatever the order: at most one hint is unanswered, and a client that answers hints ends with the head."""
    session, head, applied, open_hints = a_session(0, 0), 0, 0, 0

    def hear() -> None:
        nonlocal open_hints
        if session.announce():
            open_hints += 1
        assert open_hints <= 1

    for step in [*steps, "pull", "pull"]:
        if step == "push":
            head += 1
            assert not session.offer(head)
        else:
            applied = head
            if step == "pull":
                session.pulled(head, more=False)
            else:
                session._ack(head)
            open_hints = 0
        hear()
    assert applied == head
    assert not session.behind
