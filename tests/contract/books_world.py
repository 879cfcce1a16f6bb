"""Books of each kind with two apps, a few accounts and a clock that a test turns: what their contract runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import insert

from hub.core.accounts import (
    Account,
    AccountId,
    AccountOptions,
    AccountSecrets,
    GrantKey,
    Sighting,
)
from hub.core.books import WeChatBooks
from hub.core.message import AppId, UserKey
from hub.settings import Settings
from hub.store.memory_accounts import memory_books
from hub.store.schema import metadata
from hub.store.secrets import SecretBox
from hub.store.sql_engine import Database, open_database
from hub.store.wechat_books import wechat_books
from tests.contract.store_world import APP, NOW, sql_world

OTHER_APP = AppId("app_2")
MP, MINI, ALONE, THEIRS = map(AccountId, ("acc_mp", "acc_mini", "acc_alone", "acc_theirs"))
SECRETS = AccountSecrets("s3cret-of-the-account", "token123", ("a" * 43,))
U1, U2, U3 = UserKey(1), UserKey(2), UserKey(3)
KEY = GrantKey(MP, "o_1", "tpl_1")


@dataclass
class Turning:
    """A clock that moves a little with each look, and as far as a test wants."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@dataclass
class BooksWorld:
    """`sibling` are the same books through another process's eyes (the same ones for memory)."""

    books: WeChatBooks
    sibling: WeChatBooks
    database: Database | None = None
    clock: Turning = field(default_factory=Turning)

    async def put(self, account: AccountId, **fields: Any) -> Account:
        """An account, made or changed."""
        made = an_account(account, **fields)
        await self.books.accounts.put_account(made, SECRETS, actor="test")
        return made

    async def note(self, account: AccountId, address: str, **fields: Any) -> None:
        """One sighting."""
        await self.books.bindings.note([Sighting(account, address, **{"source": "event", **fields})])

    async def user_of(self, account: AccountId, address: str) -> UserKey | None:
        """Whose address it is."""
        found = await self.books.bindings.binding(account, address)
        assert found is not None
        return found.user

    async def remaining(self, key: GrantKey = KEY) -> tuple[int, int]:
        """What is left and what is set aside."""
        balances = {b.key: b for b in await self.books.grants.balances(key.account, key.address)}
        return (balances[key].remaining, balances[key].reserved) if key in balances else (0, 0)


def an_account(
    account: AccountId,
    *,
    app: AppId = APP,
    channel: str = "wechat_mp",
    family: str = "",
    external_id: str = "",
    name: str = "公众号 🎉",
) -> Account:
    """One that no other has."""
    options = AccountOptions(original_id="gh_1", family=family, per_second=0.5)
    return Account(account, app, channel, name, external_id or f"wx{account}", options, NOW)


async def populate(world: BooksWorld) -> None:
    """An official account and a mini program of one family, an account on its own, and another app's of that name."""
    await world.put(MP, family="open")
    await world.put(MINI, family="open", channel="miniprogram")
    await world.put(ALONE)
    await world.put(THEIRS, app=OTHER_APP, family="open")


@asynccontextmanager
async def sql_books(url: str) -> AsyncIterator[BooksWorld]:
    """Over a migrated database, emptied first."""
    box = SecretBox(Fernet.generate_key().decode())
    clock = Turning()
    async with (
        sql_world(url) as store,
        open_database(Settings(database_url=url)) as database,
        open_database(Settings(database_url=url)) as other,
    ):
        row = {"id": OTHER_APP, "name": "", "settings": "{}", "created_at": NOW}
        async with store.database.writing() as connection:
            await connection.execute(insert(metadata.tables["app"]).values(row))
        books = wechat_books(database, box, clock=clock)
        yield BooksWorld(books, wechat_books(other, box, clock=clock), database, clock)


def memory_world() -> BooksWorld:
    """Over memory."""
    clock = Turning()
    books = memory_books(clock=clock)
    return BooksWorld(books, books, None, clock)
