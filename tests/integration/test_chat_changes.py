"""What people do with messages, through real engines: two nodes on one database, with caches of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hub.core.body_cache import changed_bodies
from hub.core.chat_rules import MAX_EMOJI, Doer
from hub.core.errors import Conflict, Forbidden, HubError, NotFound, Refused
from hub.core.identity import EndUser
from hub.core.message import (
    MENTION_ALL,
    RECALLED,
    SYSTEM,
    AppId,
    ConversationId,
    MessageId,
    ToConversation,
    ToUser,
    UserKey,
)
from hub.store.schema import metadata
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

ALICE, BOB, CAROL, EVE = (Doer(APP, UserKey(n), f"u{n}") for n in (1, 2, 3, 9))
BUSINESS = Doer(APP, SYSTEM, None)


@dataclass
class Town:
    """Two nodes, and a group of Alice, Bob and Carol."""

    here: Rig
    there: Rig
    group: ConversationId

    async def say(self, doer: Doer = ALICE, text: str = "你好", **more: Any) -> MessageId:
        draft = self.here.draft(ToConversation(self.group), sender=doer.key, text=text)
        done = await self.here.engine.chat.send(replace(draft, **more))
        await self.here.published()
        return done.message

    async def tell(self) -> None:
        """What the broker does: the other node hears of what was published here."""
        await self.here.published()
        self.there.engine.forget(changed_bodies(self.here.broker.published))

    async def queue(self, doer: Doer, rig: Rig | None = None) -> list[tuple[str, Any]]:
        """(kind, body) of everything in a queue."""
        page = await (rig or self.there).engine.sync(doer.key, after=0, limit=100)
        return [(m.kind, json.loads(m.body)) for _, m in page.entries if m is not None]

    async def history(self, doer: Doer) -> list[tuple[str, Any]]:
        page = await self.there.engine.history(self.group, reader=doer.key, after=None, before=None, limit=50)
        return [(m.kind, json.loads(m.body)) for m in page.messages if not m.control]


@pytest.fixture(params=["write", "read"])
async def town(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    storage: tuple[str, dict[str, Any]],
    redis_server: RedisServer,
) -> AsyncIterator[Town]:
    redis_server.flush()
    settings = test_settings(tmp_path, storage[0], redis_server.url).model_copy(update=storage[1])
    async with open_rig(settings) as here, open_rig(settings, fresh=False) as there:
        yield Town(here, there, await here.group(1, 2, 3, fanout=request.param))


async def test_an_edit_reaches_everybody_in_order_and_the_history_says_the_new(town: Town) -> None:
    said = await town.say(text="alt")
    await town.history(BOB)
    done = await town.here.engine.chat.edit(ALICE, said, '{"text":"neu"}')
    await town.tell()
    assert (done.message, done.seq) == (said, 2)
    assert await town.history(BOB) == [("text", {"text": "neu"})]
    page = await town.there.engine.history(town.group, reader=BOB.key, after=None, before=None, limit=9)
    control = page.messages[-1]
    assert (control.kind, control.control, control.reply_to) == ("edit", True, said)
    assert json.loads(control.body) == {"message": said, "seq": 1, "by": "u1", "body": {"text": "neu"}}


async def test_a_recall_is_gone_from_rows_caches_queues_and_edits(town: Town) -> None:
    said = await town.say(text="geheim")
    await town.here.engine.chat.edit(ALICE, said, '{"text":"auch geheim"}')
    await town.tell()
    for doer in (ALICE, BOB):
        await town.queue(doer, town.here)
        await town.queue(doer)
    await town.here.engine.chat.recall(ALICE, said)
    await town.tell()
    for rig in (town.here, town.there):
        assert "geheim" not in json.dumps(await town.queue(BOB, rig))
    assert await town.history(BOB) == [(RECALLED, {})]
    with pytest.raises(Conflict, match="message_recalled"):
        await town.here.engine.chat.edit(ALICE, said, '{"text":"doch"}')
    with pytest.raises(Conflict, match="message_recalled"):
        await town.here.engine.chat.react(BOB, said, "👍", added=True)


async def test_changes_by_two_nodes_at_once_leave_one_truth(town: Town) -> None:
    said = await town.say()
    rigs = (town.here, town.there)
    await asyncio.gather(
        *(rigs[n % 2].engine.chat.edit(ALICE, said, f'{{"text":"{n}"}}') for n in range(6)),
        *(rigs[n % 2].engine.chat.react(doer, said, "👍", added=True) for n, doer in enumerate((ALICE, BOB))),
        *(rig.engine.chat.pin(BUSINESS, said, added=True) for rig in rigs),
    )
    page = await town.there.engine.history(town.group, reader=None, after=None, before=None, limit=50)
    edits = [m for m in page.messages if m.kind == "edit"]
    assert page.messages[0].body == json.dumps(json.loads(edits[-1].body)["body"], separators=(",", ":"))
    (counted,) = page.reactions[said]
    assert (counted.emoji, counted.count) == ("👍", 2)
    assert len(await town.there.engine.chat.pins(BUSINESS, town.group)) == 1
    await asyncio.gather(*(rig.engine.chat.recall(ALICE, said) for rig in rigs))
    assert (await town.history(BOB))[0] == (RECALLED, {})


async def test_a_change_asked_for_twice_is_one(town: Town) -> None:
    said = await town.say()
    chat = town.here.engine.chat
    first = [
        await chat.react(BOB, said, "👍", added=True),
        await chat.pin(BUSINESS, said, added=True),
        await chat.edit(ALICE, said, '{"text":"x"}', client_msg_id="e-1"),
        await chat.hide(BOB, [said]),
        await chat.recall(ALICE, said),
    ]
    assert not any(done.duplicate for done in first)
    assert (await chat.recall(ALICE, said)).duplicate
    other = await town.say()
    await chat.react(CAROL, other, "👍", added=True)
    assert (await chat.react(CAROL, other, "👍", added=True)).duplicate
    assert not (await chat.react(CAROL, other, "👍", added=False)).duplicate
    assert not (await chat.react(CAROL, other, "👍", added=True)).duplicate


async def test_windows_and_roles_are_kept(town: Town) -> None:
    said = await town.say()
    chat = town.here.engine.chat
    for attempt in (chat.edit(BOB, said, '{"text":"x"}'), chat.recall(BOB, said)):
        with pytest.raises(Forbidden):
            await attempt
    with pytest.raises(Forbidden, match="role_too_low"):
        await chat.pin(BOB, said, added=True)
    town.here.clock.advance(timedelta(minutes=3))
    with pytest.raises(Forbidden, match="recall_window_over"):
        await chat.recall(ALICE, said)
    town.here.clock.advance(timedelta(hours=24))
    with pytest.raises(Forbidden, match="edit_window_over"):
        await chat.edit(ALICE, said, '{"text":"x"}')
    await chat.recall(BUSINESS, said)
    assert (await town.history(BOB))[0] == (RECALLED, {})


async def test_what_one_cannot_see_is_not_there(town: Town) -> None:
    said = await town.say()
    chat = town.here.engine.chat
    stranger = Doer(AppId("app_other"), SYSTEM, None)
    for doer in (EVE, stranger):
        for attempt in (
            chat.message(doer, said),
            chat.edit(doer, said, '{"text":"x"}'),
            chat.recall(doer, said),
            chat.pin(doer, said, added=True),
            chat.readers(doer, said, read=True, after=(0, 0), limit=9),
            chat.reader_counts(doer, said),
            chat.reacted(doer, said, "👍", after=0, limit=9),
            chat.forward(doer, [said], ToUser(BOB.key), client_msg_id="f", most_bytes=9_999),
        ):
            with pytest.raises(NotFound, match="message_not_found"):
                await attempt
        with pytest.raises(NotFound):
            await chat.pins(doer, town.group)
    for attempt in (chat.react(EVE, said, "👍", added=True), chat.hide(EVE, [said])):
        with pytest.raises(NotFound, match="message_not_found"):
            await attempt
    assert await town.history(ALICE) == [("text", {"text": "你好"})]


async def test_what_is_hidden_is_hidden_for_one_and_learned_by_their_devices(town: Town) -> None:
    said, kept = await town.say(text="weg"), await town.say(text="da")
    await town.here.engine.chat.hide(BOB, [said])
    await town.tell()
    assert await town.history(BOB) == [("text", {"text": "da"})]
    assert len(await town.history(ALICE)) == 2
    told = (await town.queue(BOB))[-1]
    assert told == ("hidden", {"conversation": town.group, "messages": [said], "seqs": [1]})
    assert all(kind != "hidden" for kind, _ in await town.queue(ALICE))
    with pytest.raises(NotFound):
        await town.here.engine.chat.message(BOB, said)
    assert (await town.here.engine.chat.message(BOB, kept)).message.id == kept


async def test_an_answer_quotes_what_it_answers_and_nothing_else_can_be_answered(town: Town) -> None:
    said = await town.say(text="Frage")
    await town.say(BOB, "Antwort", reply_to=said)
    page = await town.there.engine.history(town.group, reader=CAROL.key, after=1, before=None, limit=9)
    assert [m.reply_to for m in page.messages] == [said]
    assert [m.id for m in page.quoted] == [said]
    private = await town.here.engine.submit(town.here.chat(1, 2))
    for target in (private.message, MessageId("msg_none")):
        with pytest.raises(Refused, match="reply_invalid"):
            await town.say(ALICE, reply_to=target)


async def test_members_are_mentioned_and_nobody_else(town: Town) -> None:
    said = await town.say(ALICE, mentions=("u2", "u9", "nobody", "u2"))
    assert (await town.here.engine.chat.message(BOB, said)).message.mentions == ("u2",)
    with pytest.raises(Forbidden, match="role_too_low"):
        await town.say(ALICE, mentions=(MENTION_ALL,))
    everybody = await town.say(BUSINESS, mentions=(MENTION_ALL, "u3"), as_member=False, sender_id=None)
    assert (await town.here.engine.chat.message(BOB, everybody)).message.mentions == (MENTION_ALL, "u3")


async def test_forwards_are_copied_by_the_hub(town: Town) -> None:
    ids = [await town.say(text=str(n)) for n in range(3)]
    chat = town.here.engine.chat
    one_by_one = await chat.forward(BOB, ids, ToUser(EVE.key), client_msg_id="f-1", most_bytes=9_999)
    again = await chat.forward(BOB, ids, ToUser(EVE.key), client_msg_id="f-1", most_bytes=9_999)
    assert [done.message for done in again] == [done.message for done in one_by_one]
    (merged,) = await chat.forward(
        BOB, ids, ToUser(EVE.key), client_msg_id="f-2", merged=True, title="群聊记录", most_bytes=9_999
    )
    await town.tell()
    queue = await town.queue(EVE)
    assert [body for kind, body in queue if kind == "text"] == [{"text": str(n)} for n in range(3)]
    body = queue[-1][1]
    assert (body["title"], body["count"], body["depth"]) == ("群聊记录", 3, 1)
    assert [(part["sender"], part["body"]) for part in body["messages"]] == [
        ("u1", {"text": str(n)}) for n in range(3)
    ]
    assert (await chat.message(EVE, merged.message)).message.forward_of == ids[0]
    with pytest.raises(Conflict, match="message_not_editable"):
        await chat.edit(BOB, merged.message, '{"text":"forged"}')
    with pytest.raises(Refused, match="content_too_large"):
        await chat.forward(BOB, ids, ToUser(EVE.key), client_msg_id="f-3", merged=True, most_bytes=64)


async def test_readers_are_counted_from_cursors(town: Town) -> None:
    said = await town.say()
    bob = EndUser(APP, BOB.key, "u2", town.here.clock())
    await town.here.engine.read(bob, town.group, 1)
    counts = await town.here.engine.chat.reader_counts(ALICE, said)
    assert (counts.read, counts.unread) == (1, 1)
    page = await town.here.engine.chat.readers(CAROL, said, read=True, after=(0, 0), limit=9)
    assert ([person.user_id for person in page.people], page.next) == (["u2"], None)


async def test_a_node_that_missed_the_news_forgets_by_itself(town: Town) -> None:
    said = await town.say(text="geheim")
    for _ in range(2):
        await town.queue(BOB)
    await town.here.engine.chat.recall(ALICE, said)
    await town.here.published()
    cache = town.there.engine._bodies
    cache._monotonic = lambda: asyncio.get_running_loop().time() + 1e9
    assert "geheim" not in json.dumps(await town.queue(BOB))


async def test_a_refused_change_leaves_no_trace(town: Town) -> None:
    said = await town.say()
    attempts = [
        town.here.engine.chat.edit(ALICE, said, '{"text":7}'),
        town.here.engine.chat.react(BOB, said, "words", added=True),
        town.here.engine.chat.hide(BUSINESS, [said]),
    ]
    for attempt in attempts:
        with pytest.raises(HubError):
            await attempt
    page = await town.there.engine.history(town.group, reader=None, after=None, before=None, limit=50)
    assert [m.id for m in page.messages] == [said]


async def test_many_new_emojis_at_once_are_no_more_than_the_bound(town: Town) -> None:
    said = await town.say()
    chat = town.here.engine.chat
    wanted = [f":e{number}:" for number in range(MAX_EMOJI + 8)]
    done = await asyncio.gather(
        *(chat.react(BOB, said, emoji, added=True) for emoji in wanted), return_exceptions=True
    )
    assert sum(isinstance(one, Refused) and one.code == "reaction_limit" for one in done) == 8
    assert len((await chat.message(BOB, said)).reactions) == MAX_EMOJI


async def test_who_only_reads_reacts_unless_silenced(town: Town) -> None:
    said = await town.say()
    chat = town.here.engine.chat
    member, place = metadata.tables["member"], metadata.tables["conversation"]

    async def make(**values: object) -> None:
        async with town.here.store.database.writing() as connection:
            await connection.execute(update(member).where(member.c.user_id == BOB.key).values(values))
            await connection.execute(update(place).values(version=place.c.version + 1))
        town.here.engine.roster.forget([town.group])

    await make(role="readonly")
    await chat.react(BOB, said, "👍", added=True)
    await make(silenced_until=town.here.clock() + timedelta(hours=1))
    with pytest.raises(Forbidden, match="member_silenced"):
        await chat.react(BOB, said, "🎉", added=True)
