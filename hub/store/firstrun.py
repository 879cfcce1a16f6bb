"""The first key of a fresh hub, and keys made from the command line."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path

from hub.core.errors import NotFound, Refused
from hub.core.message import AppId
from hub.core.records import AppSettings, is_app_id
from hub.core.scopes import APP_SCOPES, EVERY_SCOPE
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import SqlDirectory, directory_rooms
from hub.store.ids import new_id
from hub.store.sql_engine import open_database

DEFAULT_APP = AppId("default")
_ACTOR = "command line"


def ensure_default_key(settings: Settings) -> str:
    """The key in the data folder's `api_key` file, if it still holds; else a new one, with every scope, for the app
    `default`, which is made if it is new. Needs a migrated database and must not be called in a running loop.
    """
    file = settings.data_dir / "api_key"
    kept = _kept(file)

    async def work(directory: SqlDirectory) -> str:
        if kept is not None:
            with suppress(Refused):
                await directory.api_caller(kept)
                return kept
        return await _issue(directory, DEFAULT_APP, "first key", EVERY_SCOPE)

    key = _run(settings, work)
    if key != kept:
        _keep(file, key)
    return key


def create_key(settings: Settings, app: str, scopes: Collection[str] = ()) -> str:
    """A new key for an app, which is made if it is new. No scopes are all scopes but `apps:admin`.

    Raises ValueError for an unknown scope or an app id that cannot be one.
    """
    wanted = frozenset(scopes) or frozenset(map(str, APP_SCOPES))
    for scope in sorted(wanted.difference(EVERY_SCOPE)):
        near = difflib.get_close_matches(scope, sorted(map(str, EVERY_SCOPE)), n=1)
        message = f"there is no scope {scope!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        raise ValueError(message)
    if not is_app_id(app):
        message = (
            f"{app!r} cannot be an app's id: it has 1 to 40 of a-z, 0-9, '-', '_' and begins with a letter"
        )
        raise ValueError(message)
    return _run(settings, lambda directory: _issue(directory, AppId(app), "command line", wanted))


async def _issue(directory: SqlDirectory, app: AppId, name: str, scopes: Collection[str]) -> str:
    known = True
    try:
        await directory.app(app)
    except NotFound:
        known = False
    async with directory.change(app, actor=_ACTOR) as change:
        if not known:
            await change.create_app(app, app, AppSettings())
        return (await change.issue_key(app, name, scopes, None)).secret


def _run(settings: Settings, work: Callable[[SqlDirectory], Awaitable[str]]) -> str:
    async def main() -> str:
        async with open_database(settings) as database:
            rooms = directory_rooms(
                database,
                settings,
                clock=utc_now,
                new_id=new_id,
            )
            return await work(rooms.directory)

    return asyncio.run(main())


def _kept(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None


def _keep(file: Path, key: str) -> None:
    """For its owner only, from the first byte on; the whole of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(key + "\n")
    fresh.replace(file)
