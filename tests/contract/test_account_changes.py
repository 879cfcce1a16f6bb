"""Accounts and bindings in a transaction of the directory, on every database: all or nothing, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import insert, select

from hub.core.accounts import AccountId, AccountSecrets, Sighting
from hub.core.errors import NotFound, Unavailable
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.schema import metadata
from hub.store.sql_engine import open_database
from tests.contract.books_world import MINI, MP, OTHER_APP, SECRETS, THEIRS, U1, an_account
from tests.contract.store_world import APP, NOW, sql_world
from tests.unit.api.harness import SECRET


@pytest.fixture
async def rooms(migrated_url: str) -> AsyncIterator[DirectoryRooms]:
    """The directory with two apps, an account of each, and people."""
    settings = Settings(database_url=migrated_url, secret_key=SECRET)
    async with sql_world(migrated_url), open_database(settings) as database:
        row = {"id": OTHER_APP, "name": "", "settings": "{}", "created_at": NOW}
        async with database.writing() as connection:
            await connection.execute(insert(metadata.tables["app"]).values(row))
        made = directory_rooms(database, settings, clock=utc_now, new_id=new_id)
        for account in (
            an_account(MP, family="open"),
            an_account(MINI, family="open", channel="miniprogram"),
            an_account(THEIRS, app=OTHER_APP),
        ):
            async with made.directory.change(account.app, actor="test") as change:
                await change.put_account(account, SECRETS)
        yield made


async def test_changes_at_once_lose_nothing(rooms: DirectoryRooms) -> None:
    async def grow(family: bool) -> None:
        async with rooms.directory.change(APP, actor="test") as change:
            account, secrets = await change.locked_account(MP)
            assert secrets == SECRETS
            options = account.options
            options = (
                replace(options, family=options.family + "x")
                if family
                else replace(options, original_id=options.original_id + "x")
            )
            await change.put_account(replace(account, options=options), None)

    await asyncio.gather(*(grow(bool(n % 2)) for n in range(10)))
    found = await rooms.books.accounts.account(MP)
    assert found is not None
    assert (found.options.family, found.options.original_id) == ("openxxxxx", "gh_1xxxxx")
    assert await rooms.books.accounts.secrets(MP) == SECRETS


async def test_a_change_that_fails_changes_nothing(rooms: DirectoryRooms) -> None:
    async def failing() -> None:
        async with rooms.directory.change(APP, actor="test") as change:
            await change.put_account(an_account(AccountId("acc_new")), SECRETS)
            await change.import_bindings([Sighting(MP, "o_1", "import", U1)])
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert await rooms.books.accounts.account(AccountId("acc_new")) is None
    assert await rooms.books.bindings.binding(MP, "o_1") is None


async def test_an_import_at_once_with_logins_links_everybody(rooms: DirectoryRooms) -> None:
    async def imported(n: int) -> None:
        async with rooms.directory.change(APP, actor="test") as change:
            await change.import_bindings([Sighting(MINI, f"p_{n}", "import", U1, f"un_{n}")])

    followers = [Sighting(MP, f"o_{n}", "event", union_id=f"un_{n}") for n in range(10)]
    await asyncio.gather(
        *(imported(n) for n in range(10)), *(rooms.books.bindings.note([one]) for one in followers)
    )
    for n in range(10):
        found = await rooms.books.bindings.binding(MP, f"o_{n}")
        assert found is not None
        assert found.user == U1


async def test_another_apps_account_is_not_there(rooms: DirectoryRooms) -> None:
    stranger = [Sighting(THEIRS, "x_1", "import", U1)]
    async with rooms.directory.change(APP, actor="test") as change:
        for refused in (
            lambda: change.locked_account(THEIRS),
            lambda: change.import_bindings(stranger),
            lambda: change.unbind(THEIRS, U1),
        ):
            with pytest.raises(NotFound) as told:
                await refused()
            assert told.value.code == "account_not_found"


async def test_an_unbinding_is_told_by_the_persons_id(rooms: DirectoryRooms, migrated_url: str) -> None:
    await rooms.books.bindings.note([Sighting(MP, "o_1", "code", U1)])
    async with rooms.directory.change(APP, actor="key_1") as change:
        await change.unbind(MP, U1)
    audit = metadata.tables["audit"]
    async with open_database(Settings(database_url=migrated_url)) as database:
        rows = await database.rows(select(audit).where(audit.c.action == "binding.remove"))
    assert [(row.actor, row.target, row.detail) for row in rows] == [("key_1", MP, f'{{"user_id":"u{U1}"}}')]
    async with rooms.directory.change(APP, actor="key_1") as change:
        with pytest.raises(NotFound) as told:
            await change.unbind(MP, U1)
    assert told.value.code == "binding_not_found"


async def test_secrets_that_cannot_be_opened_can_be_put_in_anew(
    rooms: DirectoryRooms, migrated_url: str
) -> None:
    settings = Settings(database_url=migrated_url, secret_key=SecretStr(Fernet.generate_key().decode()))
    async with open_database(settings) as database:
        other = directory_rooms(database, settings, clock=utc_now, new_id=new_id)
        with pytest.raises(Unavailable) as told:
            await other.books.accounts.secrets(MP)
        assert told.value.code == "secret_unreadable"
        async with other.directory.change(APP, actor="test") as change:
            account, known = await change.locked_account(MP)
            assert known == AccountSecrets("")
            await change.put_account(account, replace(known, secret="new"))
        assert await other.books.accounts.secrets(MP) == AccountSecrets("new")
