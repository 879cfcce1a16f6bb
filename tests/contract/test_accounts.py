"""What every book of accounts and of providers' templates promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from hub.core.accounts import (
    AccountId,
    AccountSecrets,
    ProviderTemplate,
    Sighting,
    TemplateKind,
    Ticket,
    TicketKind,
)
from hub.core.books import ACCOUNTS_PER_APP, TEMPLATES_KEPT
from hub.core.errors import Conflict, NotFound
from hub.store.schema import metadata
from tests.contract.books_world import (
    ALONE,
    KEY,
    MINI,
    MP,
    OTHER_APP,
    SECRETS,
    THEIRS,
    U1,
    BooksWorld,
    an_account,
    sql_books,
)
from tests.contract.store_world import APP, NOW


async def test_an_account_is_found_as_it_was_put(shelf: BooksWorld) -> None:
    accounts = shelf.books.accounts
    assert await accounts.account(MP) == an_account(MP, family="open")
    assert await accounts.secrets(MP) == SECRETS
    assert await accounts.account(AccountId("acc_none")) is None
    with pytest.raises(NotFound) as told:
        await accounts.secrets(AccountId("acc_none"))
    assert told.value.code == "account_not_found"


async def test_accounts_are_listed_by_app_and_channel(shelf: BooksWorld) -> None:
    accounts = shelf.books.accounts
    later = replace(an_account(AccountId("acc_0")), created_at=NOW + timedelta(days=1))
    await accounts.put_account(later, SECRETS, actor="test")
    assert [a.id for a in await accounts.accounts_of(APP)] == [ALONE, MINI, MP, later.id]
    assert [a.id for a in await accounts.accounts_of(APP, "miniprogram")] == [MINI]
    assert [a.id for a in await accounts.accounts_of(OTHER_APP)] == [THEIRS]


async def test_a_change_is_seen_at_once_here_and_keeps_the_secrets(shelf: BooksWorld) -> None:
    accounts = shelf.books.accounts
    await accounts.account(MP)
    changed = replace(an_account(MP), name="新名", enabled=False)
    assert await accounts.put_account(changed, None, actor="test") is False
    assert await accounts.account(MP) == changed
    assert await accounts.secrets(MP) == SECRETS
    await accounts.put_account(changed, AccountSecrets("new"), actor="test")
    assert await accounts.secrets(MP) == AccountSecrets("new")


async def test_one_external_id_is_one_account_of_an_app(shelf: BooksWorld) -> None:
    twin = an_account(AccountId("acc_twin"), external_id=f"wx{MP}")
    with pytest.raises(Conflict) as told:
        await shelf.books.accounts.put_account(twin, SECRETS, actor="test")
    assert told.value.code == "account_taken"
    assert await shelf.books.accounts.account(twin.id) is None
    assert await shelf.books.accounts.put_account(replace(twin, channel="other"), SECRETS, actor="test")
    assert await shelf.books.accounts.put_account(
        replace(twin, id=AccountId("acc_0"), app=OTHER_APP), SECRETS, actor="test"
    )


async def test_an_id_does_not_move_to_another_app(shelf: BooksWorld) -> None:
    with pytest.raises(Conflict):
        await shelf.books.accounts.put_account(an_account(MP, app=OTHER_APP), SECRETS, actor="test")
    found = await shelf.books.accounts.account(MP)
    assert found is not None
    assert found.app == APP


async def test_two_at_once_make_one_account(shelf: BooksWorld) -> None:
    twins = [an_account(AccountId(f"acc_{n}"), external_id="wxtwin") for n in range(4)]
    books = [shelf.books, shelf.sibling] * 2
    done = await asyncio.gather(
        *(b.accounts.put_account(twin, SECRETS, actor="test") for b, twin in zip(books, twins, strict=True)),
        return_exceptions=True,
    )
    assert done.count(True) == 1
    assert sum(isinstance(answer, Conflict) for answer in done) == 3


async def test_an_app_has_so_many_accounts_and_no_more(shelf: BooksWorld) -> None:
    there = len(await shelf.books.accounts.accounts_of(APP))
    for number in range(ACCOUNTS_PER_APP - there):
        await shelf.put(AccountId(f"acc_{number}"))
    with pytest.raises(Conflict) as told:
        await shelf.put(AccountId("acc_more"))
    assert told.value.code == "account_limit"
    await shelf.put(MP, name="changed all the same")
    await shelf.put(AccountId("acc_theirs2"), app=OTHER_APP)


async def test_what_depends_on_an_account_goes_with_it(shelf: BooksWorld) -> None:
    books = shelf.books
    await books.bindings.note([Sighting(MP, "o_1", "code", user=U1), Sighting(MINI, "p_1", "code", user=U1)])
    await books.grants.add(KEY, 2, once="a")
    await books.templates.replace(MP, [a_template("t")], now=NOW)
    ticket = Ticket("t" * 32, TicketKind.OAUTH_STATE, MP, U1, NOW + timedelta(days=1))
    await books.bindings.issue_ticket(ticket)
    await books.accounts.delete_account(MP, actor="test")
    assert await books.accounts.account(MP) is None
    assert await books.bindings.binding(MP, "o_1") is None
    assert await books.bindings.addresses([MP], [U1]) == {}
    assert [b.account for b in await books.bindings.bindings_of(APP, U1)] == [MINI]
    assert await books.grants.balances(MP, "o_1") == []
    assert not await books.templates.templates_of(MP)
    assert await books.bindings.redeem_ticket(ticket.token, ticket.kind, now=NOW) is None
    with pytest.raises(NotFound):
        await books.accounts.delete_account(MP, actor="test")
    await shelf.put(MP)
    assert await books.grants.add(KEY, 2, once="a")


async def test_secrets_are_sealed_and_the_audit_tells_of_changes_without_them(migrated_url: str) -> None:
    async with sql_books(migrated_url) as shelf:
        assert shelf.database is not None
        await shelf.put(MP)
        await shelf.books.accounts.put_account(an_account(MP, name="neu"), None, actor="key_1")
        ticket = Ticket("t" * 32, TicketKind.QR_SCENE, MP, U1, NOW)
        await shelf.books.bindings.issue_ticket(ticket)
        await shelf.books.accounts.delete_account(MP, actor="key_2")
        await shelf.put(MP)
        audit = metadata.tables["audit"]
        lines = await shelf.database.rows(select(audit).order_by(audit.c.id))
        assert [(line.action, line.actor) for line in lines] == [
            ("account.create", "test"),
            ("account.change", "key_1"),
            ("account.delete", "key_2"),
            ("account.create", "test"),
        ]
        assert '"secrets_changed":false' in lines[1].detail
        rows = [
            str(row)
            for name in ("wechat_account", "wechat_ticket", "audit")
            for row in await shelf.database.rows(select(metadata.tables[name]))
        ]
        for secret in (SECRETS.secret, SECRETS.callback_token, *SECRETS.aes_keys, ticket.token):
            assert not any(secret in row for row in rows)


def a_template(id_: str, title: str = "审批提醒") -> ProviderTemplate:
    return ProviderTemplate(
        account=MP,
        id=id_,
        kind=TemplateKind.ONE_TIME,
        title=title,
        content="{{thing1.DATA}} 🎉",
        fields=("thing1", "phrase2"),
        enums={"phrase2": ("同意", "拒绝")},
        example="差旅报销",
    )


async def test_a_synchronisation_marks_what_the_provider_no_longer_has(shelf: BooksWorld) -> None:
    templates = shelf.books.templates
    first = await templates.replace(MP, [a_template("t1", "b"), a_template("t2", "a")], now=NOW)
    assert [*first] == [*await templates.templates_of(MP)]
    assert [(t.id, t.gone, t.synced_at) for t in first] == [("t2", False, NOW), ("t1", False, NOW)]
    assert await templates.template(MP, "t1") == replace(a_template("t1", "b"), synced_at=NOW)
    later = NOW + timedelta(hours=1)
    second = await templates.replace(MP, [a_template("t1", "c")], now=later)
    assert [(t.id, t.title, t.gone, t.synced_at) for t in second] == [
        ("t2", "a", True, NOW),
        ("t1", "c", False, later),
    ]
    third = await templates.replace(MP, [a_template("t2", "a")], now=later)
    assert [(t.id, t.gone) for t in third] == [("t2", False), ("t1", True)]
    assert not await templates.templates_of(MINI)
    assert await templates.template(MP, "none") is None
    with pytest.raises(NotFound):
        await templates.replace(AccountId("acc_none"), [], now=NOW)


async def test_of_templates_that_are_gone_the_oldest_are_forgotten(shelf: BooksWorld) -> None:
    templates = shelf.books.templates
    await templates.replace(MP, [a_template("oldest")], now=NOW - timedelta(days=2))
    await templates.replace(MP, [a_template("older")], now=NOW - timedelta(days=1))
    many = [a_template(f"t{n}") for n in range(TEMPLATES_KEPT - 1)]
    kept = {t.id: t.gone for t in await templates.replace(MP, many, now=NOW)}
    assert len(kept) == TEMPLATES_KEPT
    assert kept["older"]
    assert "oldest" not in kept
