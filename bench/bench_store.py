"""What the store costs: commits of many small messages, and of one message to many people.

python -m bench.bench_store sqlite+aiosqlite:////tmp/hub-bench.db [more URLs of empty databases]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import insert

from hub.core.conversation import Conversation, ConversationKind, Fanout, direct_id, inbox_id
from hub.core.message import (
    SYSTEM,
    AppId,
    Draft,
    Entry,
    Message,
    MessageId,
    Published,
    ToInbox,
    ToUser,
    UserKey,
)
from hub.core.ports import Batch
from hub.settings import Settings
from hub.store.migrate import upgrade
from hub.store.sql import SqlStore, open_store
from hub.store.tables import App, User

APP = AppId("app_bench")
PEOPLE = 1_000
PAIRS = 256
BODY = '{"text":"' + "字" * 60 + '"}'


def _now() -> datetime:
    return datetime.now(UTC)


def chat_batch(number: int) -> Batch:
    """256 messages, one in each of 256 direct conversations, to the other person."""
    at = _now()
    published, drafts, versions = [], [], {}
    for pair in range(PAIRS):
        sender, other = UserKey(pair * 2 + 1), UserKey(pair * 2 + 2)
        conversation = direct_id(APP, sender, other)
        versions[conversation] = 1
        id_ = MessageId(f"msg_{number:016x}{pair:016x}")
        draft = Draft(id_, APP, sender, f"u{sender}", ToUser(other), "text", BODY, at, client_msg_id=id_[4:])
        message = Message(
            id_, APP, conversation, number + 1, sender, f"u{sender}", "text", BODY, at, draft.client_msg_id
        )
        published.append(Published(message, (Entry(other, number + 1, id_),)))
        drafts.append(draft)
    conversations = (
        tuple(
            Conversation(c, APP, ConversationKind.DIRECT, Fanout.WRITE, 0, _pair(p))
            for c, p in zip(versions, published, strict=True)
        )
        if number == 0
        else ()
    )
    return Batch(
        f"bat_{number:032x}",
        at,
        tuple(published),
        tuple(drafts),
        conversations=conversations,
        versions={} if number == 0 else versions,
        published_batches=(f"bat_{number - 1:032x}",) if number else (),
    )


def _pair(item: Published) -> tuple[UserKey, ...]:
    return (item.message.sender, item.entries[0].user)


def lone_batch(number: int) -> Batch:
    """One message to one person."""
    whole = chat_batch(10_000 + number)
    item = whole.published[0]
    versions = {item.message.conversation: 1}
    return Batch(whole.id, whole.at, (item,), whole.drafts[:1], versions=versions)


def wide_batch(number: int) -> Batch:
    """One message to 1,000 people."""
    at = _now()
    inbox = inbox_id(APP)
    users = tuple(UserKey(u) for u in range(1, PEOPLE + 1))
    id_ = MessageId(f"msg_w{number:031x}")
    draft = Draft(id_, APP, SYSTEM, None, ToInbox(users), "notice", BODY, at)
    message = Message(id_, APP, inbox, number + 1, SYSTEM, None, "notice", BODY, at)
    entries = tuple(Entry(user, 1_000_000 + number, id_, number + 1) for user in users)
    made = (Conversation(inbox, APP, ConversationKind.INBOX, Fanout.WRITE, 0),) if number == 0 else ()
    return Batch(
        f"bat_w{number:031x}",
        at,
        (Published(message, entries),),
        (draft,),
        conversations=made,
        versions={} if number == 0 else {inbox: 1},
        published_batches=(f"bat_w{number - 1:031x}",) if number else (),
    )


@asynccontextmanager
async def prepared(url: str) -> AsyncIterator[SqlStore]:
    """A store with an app and its people."""
    settings = Settings(database_url=url)
    await asyncio.to_thread(upgrade, settings)
    async with open_store(settings) as store:
        async with store.database.writing() as connection:
            await connection.execute(insert(App).values(id=APP, name="bench", created_at=_now()))
            people = [
                {"id": u, "app_id": APP, "user_id": f"u{u}", "created_at": _now()}
                for u in range(1, PEOPLE + 1)
            ]
            await connection.execute(insert(User), people)
        yield store


async def timed(name: str, rounds: int, rows: int, once: Callable[[int], Awaitable[object]]) -> None:
    """Print rows a second by the clock and the process's CPU for each."""
    clock, cpu = time.perf_counter(), time.process_time()
    for number in range(rounds):
        await once(number)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    total = rounds * rows
    print(
        f"  {name:<34} {total / seconds:>9,.0f} rows/s  {cpu_seconds / total * 1e6:7.1f} µs CPU a row"
        f"  {seconds / rounds * 1e3:7.2f} ms a call"
    )


async def measure(url: str) -> None:
    """All cases on one empty database."""
    async with prepared(url) as store:
        print(url.partition(":")[0])
        chats = [chat_batch(number) for number in range(60)]
        wides = [wide_batch(number) for number in range(40)]
        await timed("commit 256 messages x 1", len(chats), PAIRS, lambda n: store.commit(chats[n]))
        await timed("commit 1 message x 1,000", len(wides), PEOPLE, lambda n: store.commit(wides[n]))
        lone = [lone_batch(number) for number in range(200)]
        await timed("commit 1 message x 1", len(lone), 1, lambda n: store.commit(lone[n]))
        drafts = chats[-1].drafts
        await timed("prior of 256, all found", 20, PAIRS, lambda _: store.prior(drafts))
        conversations = list(chats[-1].versions)
        await timed("conversations, 256", 20, PAIRS, lambda _: store.conversations(conversations))
        ids = [draft.id for draft in drafts]
        await timed("messages, 256", 20, PAIRS, lambda _: store.messages(ids))
        await timed(
            "entries of one user, 50", 100, 50, lambda _: store.entries(UserKey(2), after=5, limit=50)
        )
        await timed(
            "history of 50",
            100,
            50,
            lambda _: store.history(conversations[0], after=None, before=None, limit=50),
        )


async def measure_all(urls: Sequence[str]) -> None:
    """Measure each database named."""
    for url in urls:
        await measure(url)


def main() -> None:
    """Measure the databases named, or SQLite in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        asyncio.run(measure_all(sys.argv[1:] or [f"sqlite+aiosqlite:///{folder}/hub.db"]))


if __name__ == "__main__":
    main()
