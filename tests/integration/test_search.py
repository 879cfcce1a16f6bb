"""Full-text search over REST on each kind of database: scripts, injections, and what may not be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import func, select, update

from hub.store.schema import metadata
from hub.store.sql_housekeeping import SqlHousekeeping
from tests.unit.api.harness import World, open_world

TERMS = metadata.tables["message_terms"]
BATCH = metadata.tables["publish_batch"]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """The API on an empty database of each kind."""
    async with open_world(database_url) as opened:
        await opened.users("ann", "bob", "eve")
        yield opened


async def _indexed(world: World) -> None:
    while await world.hub.search.index(limit=3):
        pass


async def _say(world: World, to: str, body: object, sender: str = "bob", **more: Any) -> str:
    said = await world.post(f"/v1/conversations/{to}/messages", {"body": body, "sender": sender, **more})
    return str(said["id"])


async def _find(world: World, q: str, token: str | None = None, **query: str) -> list[str]:
    """The texts of all hits, page by page."""
    found: list[str] = []
    after = ""
    while True:
        extra = "".join(f"&{name.rstrip('_')}={quote(value)}" for name, value in query.items())
        page = await world.get(f"/v1/search/messages?q={quote(q)}&limit=2{extra}{after}", token)
        found += [hit["message"]["id"] for hit in page["data"]]
        for hit in page["data"]:
            assert hit["snippet"]["places"]
        if page["page"]["next"] is None:
            return found
        after = f"&after={page['page']['next']}"


async def test_every_script_is_found_newest_first(world: World) -> None:
    group = await world.group("ann", "bob")
    texts = [
        "差旅报销单已经批了",
        "The quarterly Report is a draft",
        "请用 Redis 集群部署",
        "ＦＵＬＬ　ｗｉｄｔｈ　１２３",
        "发布成功 🎉🎉",
        "报销还没有提交",
        "报告销毁了",
    ]
    ids = [await _say(world, group, {"text": text}) for text in texts]
    file = await _say(world, group, {"name": "三月报销.pdf", "media_note": "无关"}, kind="document")
    ann = await world.token("ann")
    assert await _find(world, "报销", ann) == []
    await _indexed(world)
    assert await _find(world, "报销", ann) == [file, ids[5], ids[0]]
    assert await _find(world, "报", ann) == [file, ids[6], ids[5], ids[0]]
    assert await _find(world, "report", ann) == [ids[1]]
    assert await _find(world, "a", ann) == [ids[1]]
    assert await _find(world, "full 123", ann) == [ids[3]]
    assert await _find(world, "集群 redis", ann) == [ids[2]]
    assert await _find(world, "🎉", ann) == [ids[4]]
    assert await _find(world, "报销", ann, kind="document") == [file]
    assert await _find(world, "报销", ann, sender="ann") == []
    assert await _find(world, "报销", ann, sender="nobody") == []
    later = (world.clock() + timedelta(hours=1)).isoformat()
    assert await _find(world, "report", ann, from_=later) == []
    assert await _find(world, "report", ann, to=later) == [ids[1]]
    assert await _find(world, "无关", ann) == []


async def test_what_has_expired_is_not_found(world: World) -> None:
    group = await world.group("ann", "bob")
    said = await _say(world, group, {"text": "会过期"})
    await _indexed(world)
    ann = await world.token("ann")
    message = metadata.tables["message"]
    for later, found in ((timedelta(minutes=1), [said]), (timedelta(0), [])):
        values = update(message).where(message.c.id == said).values(expires_at=world.clock() + later)
        async with world.database.writing() as connection:
            await connection.execute(values)
        assert await _find(world, "过期", ann) == found


_ATTACKS = (
    "' OR 1=1 --",
    '" OR "x',
    "报销 NOT 差旅",
    "text:报销*",
    "+报销 -x ~y <z >w (a",
    "NEAR(报销 差旅)",
    "a' & 'b | !c",
    "\\",
    "报销%' UNION SELECT 1",
    "💥" * 40,
)


async def test_signs_of_any_query_language_are_only_text(world: World) -> None:
    group = await world.group("ann", "bob")
    await _say(world, group, {"text": "报销"})
    await _indexed(world)
    ann = await world.token("ann")
    for attack in _ATTACKS:
        answer = await world.call("GET", f"/v1/search/messages?q={quote(attack)}", ann)
        if answer.status_code == 422:
            assert answer.json()["code"] == "search_empty"
        else:
            assert (answer.status_code, answer.json()["data"]) == (200, []), attack


async def test_nobody_finds_what_they_may_not_see(world: World) -> None:
    await world.users("ann", "eve", key=world.their_key)
    group = await world.group("ann", "bob")
    before = await _say(world, group, {"text": "机密 plan"})
    direct = await world.post(
        "/v1/messages", {"to": {"user": "ann"}, "sender": "bob", "body": {"text": "机密 direct"}}
    )
    await world.post("/v1/notifications", {"to": [{"user_id": "ann"}], "content": {"title": "机密 notice"}})
    await world.post(f"/v1/conversations/{group}/members", {"members": [{"user_id": "eve"}]})
    since = await _say(world, group, {"text": "机密 later"})
    await _indexed(world)
    ann, eve = await world.token("ann"), await world.token("eve")
    assert len(await _find(world, "机密", ann)) == 4
    assert await _find(world, "机密", eve) == [since]
    assert await _find(world, "机密", eve, conversation=direct["conversation"]) == []
    assert len(await _find(world, "机密")) == 4
    assert await _find(world, "机密", user="eve") == [since]
    assert await _find(world, "机密", world.their_key) == []
    assert await _find(world, "机密", world.their_key, conversation=group) == []
    assert await _find(world, "机密", await world.token("ann", world.their_key)) == []
    answer = await world.call("GET", "/v1/search/messages?q=机密&user=ann", eve)
    assert answer.json()["code"] == "not_yourself"
    await world.call("DELETE", f"/v1/conversations/{group}/members/eve")
    assert await _find(world, "机密", eve) == []
    await world.call("PATCH", f"/v1/conversations/{group}/me", ann, json={"cleared": True})
    found = await _find(world, "机密", ann)
    assert before not in found
    assert since not in found
    assert direct["id"] in found


async def test_what_is_taken_back_is_not_found_and_leaves_no_words(world: World) -> None:
    accepted = await world.post(
        "/v1/notifications", {"to": [{"user_id": "ann"}], "content": {"title": "作废的通知"}}
    )
    await _indexed(world)
    ann = await world.token("ann")
    assert len(await _find(world, "作废", ann)) == 1
    await world.post(f"/v1/notifications/{accepted['id']}/recall", {})
    assert await _find(world, "作废", ann) == []
    await _indexed(world)
    rows = await world.database.rows(select(TERMS.c.terms).where(TERMS.c.terms != ""))
    assert rows == []


async def test_a_batch_is_remembered_until_it_is_indexed(world: World) -> None:
    group = await world.group("ann", "bob")
    await _say(world, group, {"text": "不能丢"})
    await world.hub.engine.publisher.idle()
    await world.hub.engine.publisher.flush_marks()
    async with world.database.writing() as connection:
        await connection.execute(update(BATCH).values(published=True))
    store = SqlHousekeeping(world.database)
    assert await store.forget_batches(world.clock() + timedelta(days=1)) == 0
    await _indexed(world)
    waiting = select(func.count()).select_from(BATCH).where(BATCH.c.indexed.is_(False))
    assert (await world.database.rows(waiting))[0][0] == 0
    assert await store.forget_batches(world.clock() + timedelta(days=1)) > 0
    assert len(await _find(world, "不能丢", await world.token("ann"))) == 1


async def test_who_is_late_does_not_put_old_words_back(world: World) -> None:
    group = await world.group("ann", "bob")
    message = await _say(world, group, {"text": "旧话"})
    await _indexed(world)
    async with world.database.writing() as connection:
        changed = metadata.tables["message"]
        await connection.execute(
            update(changed).where(changed.c.id == message).values(body='{"text":"新话"}', changed_seq=9)
        )
        await connection.execute(update(BATCH).values(indexed=False))
    await _indexed(world)
    async with world.database.writing() as connection:
        await connection.execute(
            update(changed).where(changed.c.id == message).values(body='{"text":"旧话"}', changed_seq=0)
        )
        await connection.execute(update(BATCH).values(indexed=False))
    await _indexed(world)
    (row,) = await world.database.rows(select(TERMS).where(TERMS.c.message_id == message))
    assert row.version == 9
