"""What every book of templates does: numbers that follow each other, contents that stay, names that can be retired."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from hub.core.accounts import AccountId
from hub.core.errors import NotFound
from hub.core.message import AppId
from hub.core.records import PageRequest
from hub.core.templates import (
    ChannelMapping,
    FieldMapping,
    LocaleText,
    Overflow,
    TemplateBook,
    TemplateVersion,
)
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.ids import new_id
from hub.store.sql_engine import open_database
from hub.store.templates_memory import MemoryTemplates
from hub.store.templates_sql import SqlTemplates
from tests.contract.conftest import SQL

ALL = PageRequest(limit=100)


@asynccontextmanager
async def _open(url: str | None) -> AsyncIterator[tuple[TemplateBook, TemplateBook]]:
    """A book, and the same one as another process sees it."""
    if url is None:
        memory = MemoryTemplates(clock=utc_now)
        yield memory, memory
        return
    async with open_database(Settings(database_url=url)) as database:
        yield (
            SqlTemplates(database, clock=utc_now, new_id=new_id),
            SqlTemplates(database, clock=utc_now, new_id=new_id),
        )


@pytest.fixture(params=["memory", *SQL])
async def books(
    request: pytest.FixtureRequest, migrated_urls: dict[str, str]
) -> AsyncIterator[tuple[TemplateBook, TemplateBook]]:
    kind = str(request.param)
    url = None if kind == "memory" else _migrated(request, kind, migrated_urls)
    async with _open(url) as made:
        yield made


def _migrated(request: pytest.FixtureRequest, kind: str, known: dict[str, str]) -> str:
    from hub.store.migrate import upgrade
    from tests.contract.conftest import _SERVERS

    if kind not in known:
        if kind == "sqlite":
            folder = request.getfixturevalue("tmp_path_factory").mktemp("store")
            url = f"sqlite+aiosqlite:///{folder / 'hub.db'}"
        else:
            url = request.getfixturevalue(_SERVERS[kind]).fresh_database()
        upgrade(Settings(database_url=url))
        known[kind] = url
    return known[kind]


@pytest.fixture
def app() -> AppId:
    return AppId(f"app_{uuid.uuid4().hex[:12]}")


def _todo(app: AppId, key: str = "approval-todo", title: str = "待审批:{{ title }} ✈️") -> TemplateVersion:
    return TemplateVersion(
        app=app,
        key=key,
        version=0,
        texts={"zh-CN": LocaleText(title, "{{ applicant }}"), "en": LocaleText("To approve: {{ title }}")},
        default_locale="zh-CN",
        mappings=(
            ChannelMapping(
                "wechat_mp",
                "tmpl-1",
                {"thing1": FieldMapping("{{ title }}", Overflow.ELLIPSIS), "time2": FieldMapping("{{ at }}")},
                AccountId("wxa_1"),
                page="pages/task?id={{ id }}",
            ),
        ),
        variables={"title": "text", "applicant": "text", "at": "datetime", "id": "text"},
    )


async def test_a_version_comes_back_as_it_was_published(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    here, there = books
    made = await here.publish(_todo(app), actor="key_1")
    assert (made.version, made.created_by) == (1, "key_1")
    assert made.created_at is not None
    assert replace(made, version=0, created_at=None, created_by="") == _todo(app)
    assert await there.version(app, "approval-todo", 1) == await there.latest(app, "approval-todo") == made


async def test_the_same_content_makes_no_new_version_and_another_one_does(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    here, _ = books
    one = await here.publish(_todo(app), actor="key_1")
    turned = replace(_todo(app), texts=dict(reversed(list(_todo(app).texts.items()))))
    assert await here.publish(turned, actor="key_2") == one
    two = await here.publish(_todo(app, title="改过的"), actor="key_2")
    assert two.version == 2
    assert (await here.latest(app, "approval-todo")) == two
    assert (await here.version(app, "approval-todo", 1)) == one
    back = await here.publish(_todo(app), actor="key_1")
    assert (back.version, back.texts) == (3, one.texts)
    assert [v.version for v in (await here.versions(app, "approval-todo", ALL)).items] == [3, 2, 1]


async def test_versions_published_at_once_have_consecutive_numbers(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    wanted = [_todo(app, title=f"第 {n} 稿") for n in range(8)]
    made = await asyncio.gather(
        *(book.publish(version, actor="k") for book, version in zip(books * 4, wanted, strict=True))
    )
    assert sorted(version.version for version in made) == list(range(1, 9))
    for version in made:
        assert await books[0].version(app, "approval-todo", version.version) == version


async def test_the_same_content_published_at_once_is_one_version(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    made = await asyncio.gather(*(book.publish(_todo(app), actor="k") for book in books * 3))
    assert {version.version for version in made} == {1}
    assert len((await books[0].versions(app, "approval-todo", ALL)).items) == 1


async def test_an_archived_template_is_gone_for_new_ones_and_stays_for_pinned_ones(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    here, _ = books
    made = await here.publish(_todo(app), actor="k")
    await here.archive(app, "approval-todo", actor="k")
    assert await here.latest(app, "approval-todo") is None
    assert (await here.keys(app, ALL)).items == []
    assert await here.version(app, "approval-todo", 1) == made
    with pytest.raises(NotFound, match="template_not_found"):
        await here.archive(app, "approval-todo", actor="k")
    assert (await here.publish(_todo(app), actor="k")).version == 1
    assert await here.latest(app, "approval-todo") == made


async def test_lists_go_page_by_page_and_stay_within_an_app(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    here, _ = books
    other = AppId(f"{app}x")
    for key in ("c", "a", "b"):
        await here.publish(_todo(app, key), actor="k")
    await here.publish(_todo(other, "d"), actor="k")
    first = await here.keys(app, PageRequest(limit=2))
    rest = await here.keys(app, PageRequest(limit=2, after=first.next))
    assert [v.key for v in [*first.items, *rest.items]] == ["a", "b", "c"]
    assert rest.next is None
    for n in range(3):
        await here.publish(_todo(app, "a", title=f"{n}"), actor="k")
    newest = await here.versions(app, "a", PageRequest(limit=3))
    older = await here.versions(app, "a", PageRequest(limit=3, after=newest.next))
    assert [v.version for v in [*newest.items, *older.items]] == [4, 3, 2, 1]
    assert await here.latest(other, "a") is None
    assert await here.version(other, "a", 1) is None


async def test_a_version_that_was_not_there_is_found_once_it_is(
    books: tuple[TemplateBook, TemplateBook], app: AppId
) -> None:
    here, there = books
    assert await there.version(app, "late", 1) is None
    assert await here.version(app, "late", 0) is None
    made = await here.publish(_todo(app, "late"), actor="k")
    assert await there.version(app, "late", 1) == made
