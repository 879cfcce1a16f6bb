"""What something costs a hub: statements, rows written, commands of Redis, and steps of SQLite's machine."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import event, func, literal, select, union_all
from sqlalchemy.engine import Engine

from hub.store.columns import to_micros
from hub.store.schema import metadata
from hub.store.sql_bulk import Insertion
from tests.integration.group_town import Town
from tests.support.engine import APP

_users = Insertion(
    metadata.tables["user"],
    ("id", "app_id", "user_id", "name", "locale", "timezone", "preferences", "created_at"),
)
_GRAIN = 100
"""Steps of SQLite's machine between two looks at them."""


@dataclass(frozen=True)
class Cost:
    """Of one thing. `steps` are SQLite's own, which see what statements hide: rows that are read and passed over."""

    statements: int
    rows: dict[str, int]
    commands: int
    steps: int


class Meter:
    """Counts while it is asked to. Made before any database is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._steps = itertools.count()
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            opened: sqlite3.Connection = connect(*args, **options)
            opened.set_progress_handler(self._step, _GRAIN)
            return opened

        monkeypatch.setattr(sqlite3, "connect", watched)

    def _step(self) -> int:
        next(self._steps)
        return 0

    async def cost(self, town: Town, doing: Callable[[], Awaitable[object]]) -> Cost:
        """What it costs until all of it is published. The engine's chores must be held."""
        await _settled(town)
        before, asked = await rows(town), await commands(town)
        with statements() as heard:
            began = next(self._steps)
            await doing()
            await town.rig.published()
            steps = next(self._steps) - began
            sent = len([one for one in heard if not one.startswith(("BEGIN", "COMMIT"))])
        asked = await commands(town) - asked
        await _settled(town)
        after = await rows(town)
        changed = {name: after[name] - n for name, n in before.items() if after[name] != n}
        return Cost(sent, changed, asked, steps * _GRAIN)


async def _settled(town: Town) -> None:
    """Nothing is left over that the next thing would do beside its own."""
    await town.rig.published()
    await town.rig.engine.publisher.flush_marks()


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that goes through SQLAlchemy meanwhile."""
    heard: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        heard.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", note)


_COUNTS = union_all(
    *(
        select(literal(name).label("name"), func.count().label("rows")).select_from(table)
        for name, table in metadata.tables.items()
    )
)


async def rows(town: Town) -> dict[str, int]:
    """How many rows each table has."""
    return {row.name: row.rows for row in await town.rig.store.database.rows(_COUNTS)}


async def commands(town: Town) -> int:
    """How many commands Redis has done."""
    told = await town.rig.link.ask("INFO", "stats")
    text = told.decode() if isinstance(told, bytes) else str(told)
    (line,) = [line for line in text.splitlines() if line.startswith("total_commands_processed:")]
    return int(line.split(":")[1])


async def crowd(town: Town, first: int, count: int) -> None:
    """Users, straight into their table."""
    at = to_micros(town.rig.clock())
    rows_ = [
        (number, APP, f"u{number}", "", "zh-CN", "Asia/Shanghai", "{}", at)
        for number in range(first, first + count)
    ]
    database = town.rig.store.database
    async with database.writing() as connection:
        for start in range(0, count, 5_000):
            await _users.run(connection, database.dialect, rows_[start : start + 5_000])
