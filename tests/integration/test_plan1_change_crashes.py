"""Plan 1: whoever dies at any step between Redis and SQL, with whatever change, leaves what would be there without."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hub.core.chat_rules import Doer
from hub.core.errors import NotFound, Unavailable
from hub.core.message import (
    SYSTEM,
    ConversationId,
    IdempotencyClaim,
    MessageId,
    ToConversation,
    ToUser,
    UserKey,
)
from hub.core.policy import Hop, Policy
from hub.store import plan1_wire as wire
from hub.store.plan1 import Plan1Store
from hub.store.plan1_commit import Plan1Commit
from hub.store.plan1_pending import Pending
from hub.store.schema import metadata
from tests.fakes.channel import ScriptedChannel
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

ALICE, BOB = (Doer(APP, UserKey(n), f"u{n}") for n in (1, 2))
BUSINESS = Doer(APP, SYSTEM, None)
AT_ONCE = timedelta(0)
Rigs = tuple[Rig, Rig]
Do = Callable[[Rig, ConversationId, MessageId], Awaitable[object]]


class Died(Exception):
    """The process, at this place."""


@pytest.fixture
async def rigs(tmp_path: Path, database_url: str, plan1_redis: RedisServer) -> AsyncIterator[Rigs]:
    """Two nodes: one that dies, and one that goes on."""
    settings = test_settings(tmp_path, database_url, plan1_redis.url)
    settings = settings.model_copy(update={"store": "redis"})
    channels = ScriptedChannel("sms"), ScriptedChannel("sms")
    async with open_rig(settings, channels[0]) as one, open_rig(settings, channels[1], fresh=False) as two:
        yield one, two


async def mention(rig: Rig, group: ConversationId, said: MessageId) -> None:
    draft = rig.draft(ToConversation(group), sender=1, client_msg_id=f"m:{said}")
    await rig.engine.chat.send(replace(draft, mentions=("u2",), reply_to=said))


async def edit(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.edit(ALICE, said, '{"text":"neu"}', client_msg_id=f"e:{said}")


async def recall(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.recall(ALICE, said)


async def react(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.react(BOB, said, "👍", added=True)


async def unreact(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.react(ALICE, said, "👍", added=False)


async def pin(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.pin(BUSINESS, said, added=True)


async def unpin(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.pin(BUSINESS, said, added=False)


async def hide(rig: Rig, group: ConversationId, said: MessageId) -> None:
    with contextlib.suppress(NotFound):  # hidden already
        await rig.engine.chat.hide(BOB, [said])


async def forward(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.chat.forward(
        BOB, [said], ToConversation(group), client_msg_id=f"f:{said}", most_bytes=9_999
    )


async def first_word(rig: Rig, group: ConversationId, said: MessageId) -> None:
    """A direct conversation begins."""
    number = 10 if group.endswith("crashed") else 12
    await rig.engine.submit(rig.draft(ToUser(UserKey(number)), sender=number + 1, client_msg_id=f"d:{said}"))


async def claim(rig: Rig, group: ConversationId, said: MessageId) -> None:
    draft = rig.draft(ToConversation(group), sender=1)
    await rig.engine.submit(replace(draft, idempotency=IdempotencyClaim(f"k:{said}", "print")))


async def notify(rig: Rig, group: ConversationId, said: MessageId) -> None:
    await rig.engine.submit(rig.notice(2, policy=Policy((Hop("sms"),)), dedupe_key=f"oa:{said}"))


KINDS: list[Do] = [
    mention, edit, recall, react, unreact, pin, unpin, hide, forward, first_word, claim, notify,
]  # fmt: skip
STEPS = ["before redis", "before sql", "before it is noted", "after it is noted", "while completing"]


async def dies_in(
    rig: Rig, step: str, do: Callable[[], Awaitable[object]], patch: pytest.MonkeyPatch
) -> None:
    """This node takes the request as far as the step."""
    batches: list[Any] = []
    commit = rig.store.commit

    async def take(batch: Any) -> None:
        batches.append(batch)
        raise Unavailable("taken", "")

    rig.store.commit = take
    with pytest.raises(Unavailable):
        await do()
    rig.store.commit = commit
    place = "_let_go" if "noted" in step else "_decide"
    real: Callable[..., Awaitable[Any]] = getattr(Plan1Commit, place)

    async def deadly(self: Plan1Commit, *words: Any) -> None:
        if step not in ("before redis", "before it is noted"):
            await real(self, *words)
            if place == "_decide":
                words[1].decided = False  # nobody is there to know it
        raise Died

    with patch.context() as patched:
        patched.setattr(Plan1Commit, place, deadly)
        with contextlib.suppress(Died):  # of some there is nothing in SQL, and nothing to be noted
            await commit(batches[0])


async def complete(rig: Rig, *, dies: bool, patch: pytest.MonkeyPatch) -> None:
    """What the sweep does, once by somebody who dies before noting it, if asked for."""
    assert isinstance(rig.store, Plan1Store)
    if dies and await rig.link.ask("HLEN", wire.PENDING):

        async def forget(self: Pending, batches: object) -> None:
            raise Died

        with patch.context() as patched:
            patched.setattr(Pending, "forget", forget)
            with pytest.raises(Died):
                await rig.store.pending.complete(older_than=AT_ONCE)
    await rig.store.pending.complete(older_than=AT_ONCE)
    assert await rig.link.ask("HLEN", wire.PENDING) == 0


async def room(rig: Rig, name: str) -> tuple[ConversationId, MessageId]:
    """A group with a message that mentions Bob, that Alice has reacted to and that is pinned."""
    group = await rig.group(1, 2, 3, conversation=f"cnv_{name}")
    draft = replace(rig.draft(ToConversation(group), sender=1), mentions=("u2",))
    said = (await rig.engine.chat.send(draft)).message
    await rig.engine.chat.react(ALICE, said, "👍", added=True)
    return group, said


async def state(rig: Rig, group: ConversationId, said: MessageId) -> dict[str, Any]:
    """All that people can see of a room, and its rows."""
    page = await rig.store.history(group, after=0, before=None, limit=99)
    found: dict[str, Any] = {
        "history": [
            (m.seq, m.kind, m.body.replace(said, "…"), m.mentions, m.reply_to == said, m.edited_at is None)
            for m in page
        ],
        "reactions": await rig.engine.chat._chat.reactions([said], reader=BOB.key),
        "pins": [p.seq for p in await rig.engine.chat._chat.pins(group, limit=9)],
        "hidden": await rig.engine.chat._chat.hidden(BOB.key, group, low=0, high=99),
    }
    found["reactions"] = list(found["reactions"].values())
    queue = await rig.store.entries(BOB.key, after=0, limit=999)
    bodies = await rig.store.messages({e.message for e in queue if e.message is not None})
    mine = [bodies[e.message] for e in queue if e.message is not None and e.message in bodies]
    found["queue"] = [m.kind for m in mine if m.conversation == group or said in (m.client_msg_id or m.body)]
    for table in ("mention", "pin"):
        rows = metadata.tables[table]
        query = select(rows).where(rows.c.conversation_id == group)
        kept = ("user_id", "seq", "added", "by_id")
        found[table] = sorted(
            [getattr(row, name) for name in kept if hasattr(row, name)]
            for row in await rig.store.database.rows(query)
        )
    for table, column in (("notification", "dedupe_key"), ("idempotency", "key")):
        rows = metadata.tables[table]
        query = select(rows).where(rows.c[column].like(f"%{said}"))
        found[table] = len(await rig.store.database.rows(query))
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("do", KINDS, ids=lambda do: do.__name__)
async def test_a_crash_and_a_repeat_leave_what_one_without_a_crash_leaves(
    rigs: Rigs, do: Do, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    crashed, calm = await room(one, "crashed"), await room(one, "calm")
    if do is unpin:
        for place in (crashed, calm):
            await pin(one, *place)
    for _ in range(2):
        await do(two, *calm)
    await dies_in(one, step, lambda: do(one, *crashed), monkeypatch)
    once: dict[str, Any] | None = None
    if step != "before redis":
        await complete(two, dies=step == "while completing", patch=monkeypatch)
        once = await state(two, *crashed)
    await do(two, *crashed)
    expected = await state(two, *calm)
    assert json.dumps(await state(two, *crashed), default=str) == json.dumps(expected, default=str)
    if once is not None:
        assert once == expected, "before it is repeated, too"


@pytest.mark.parametrize("do", KINDS, ids=lambda do: do.__name__)
async def test_a_repeat_at_once_is_no_second_one(rigs: Rigs, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody has completed what the first one left."""
    one, two = rigs
    crashed, calm = await room(one, "crashed"), await room(one, "calm")
    if do is unpin:
        for place in (crashed, calm):
            await pin(one, *place)
    for _ in range(2):
        await do(two, *calm)
    await dies_in(one, "before sql", lambda: do(one, *crashed), monkeypatch)
    await do(two, *crashed)
    await complete(two, dies=False, patch=monkeypatch)
    assert await state(two, *crashed) == await state(two, *calm)


async def test_what_was_taken_back_meanwhile_is_not_put_again(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reaction that waits for its rows does not undo a later one that has them."""
    one, two = rigs
    group, said = await room(one, "crashed")
    await dies_in(one, "before sql", lambda: react(one, group, said), monkeypatch)
    reaction = metadata.tables["reaction"]
    control = rowed(two, group, said)
    await two.store.commit(control)
    await complete(two, dies=False, patch=monkeypatch)
    (counted,) = (await two.engine.chat._chat.reactions([said], reader=BOB.key))[said]
    assert (counted.count, counted.mine) == (1, False)
    rows = await two.store.database.rows(select(reaction).where(reaction.c.user_id == BOB.key))
    assert [(row.added, row.seq) for row in rows] == [(False, 4)]


def rowed(rig: Rig, group: ConversationId, said: MessageId) -> Any:
    """Bob's later word on it, as the batch of a node that has not seen the first."""
    from hub.core.message import Entry, Message, Published, Reacted
    from hub.core.ports import Batch

    draft = replace(
        rig.draft(ToConversation(group), sender=2),
        kind="reaction", control=True, reply_to=said, change=Reacted(said, BOB.key, "👍", added=False),
    )  # fmt: skip
    message = Message(
        draft.id, APP, group, 4, BOB.key, "u2", "reaction", draft.body, draft.created_at, control=True
    )
    published = Published(message, (Entry(BOB.key, 40, draft.id),))
    return Batch("bat_late", draft.created_at, (published,), (draft,), versions={group: 1})


async def test_what_was_left_long_ago_is_not_written_twice(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A marker is not forgotten before it is known that nobody asks for it."""
    one, two = rigs
    group, said = await room(one, "crashed")
    await dies_in(one, "before it is noted", lambda: react(one, group, said), monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr("hub.store.plan1._LEFT_BEHIND", AT_ONCE)
        await two.store.forget_batches(two.clock() + timedelta(hours=1))
    await complete(two, dies=False, patch=monkeypatch)
    (counted,) = (await two.engine.chat._chat.reactions([said], reader=BOB.key))[said]
    assert (counted.count, counted.mine) == (2, True)


async def test_a_part_that_sql_never_takes_stands_in_nobodys_way(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = rigs
    assert isinstance(two.store, Plan1Store)
    group, said = await room(one, "crashed")
    await two.link.ask("HSET", wire.PENDING, "bat_0", BROKEN)
    await dies_in(one, "before sql", lambda: react(one, group, said), monkeypatch)
    assert await two.store.pending.complete(older_than=AT_ONCE) == 1
    assert await two.link.ask("HKEYS", wire.PENDING) == [b"bat_0"]
    with pytest.raises(Unavailable):
        await two.store.pending.complete(older_than=AT_ONCE, strict=True)


_ROW = {
    "id": "cnv_x", "app_id": "no_app", "kind": "group", "title": "", "fanout": "write", "version": 1,
    "member_count": 0, "metadata": "{}", "created_at": 1,
}  # fmt: skip
BROKEN = json.dumps(
    {
        "when": 0.0,
        "at": 1,
        "rows": [["conversation", list(_ROW), [list(_ROW.values())]]],
        "mentioned": [],
        "changes": [],
    }
)
"""Rows that break a rule of the database."""
