"""The first key, keys from the command line, and secrets at rest."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.core.errors import Refused, Unavailable
from hub.core.scopes import APP_SCOPES, EVERY_SCOPE
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_cache import Numbers, Remembered
from hub.store.directory_sql import directory_rooms
from hub.store.firstrun import create_key, ensure_default_key
from hub.store.secrets import SecretBox, bearer_of, key_id_of, new_secret
from hub.store.sql_engine import make_engine, open_database
from hub.store.tables import metadata
from tests.unit.api.harness import SECRET, new_id


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with an empty, migrated database."""
    chosen = Settings(data_dir=tmp_path, secret_key=SECRET)

    async def prepare() -> None:
        engine = make_engine(chosen)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    asyncio.run(prepare())
    return chosen


def _scopes(settings: Settings, key: str) -> tuple[str, frozenset[str]]:
    async def ask() -> tuple[str, frozenset[str]]:
        async with open_database(settings) as database:
            rooms = directory_rooms(database, settings, clock=utc_now, new_id=new_id)
            caller = await rooms.directory.api_caller(key)
            return caller.app, caller.scopes

    return asyncio.run(ask())


def test_the_first_key_is_kept_for_its_owner_and_found_again(settings: Settings) -> None:
    key = ensure_default_key(settings)
    file = settings.data_dir / "api_key"
    assert file.read_text().strip() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ensure_default_key(settings) == key
    assert _scopes(settings, key) == ("default", EVERY_SCOPE)


def test_a_lost_or_broken_file_means_a_new_key(settings: Settings) -> None:
    first = ensure_default_key(settings)
    (settings.data_dir / "api_key").unlink()
    second = ensure_default_key(settings)
    assert second != first
    (settings.data_dir / "api_key").write_text("hub_of_another_database\n")
    third = ensure_default_key(settings)
    assert third not in {first, second}
    assert _scopes(settings, first)[0] == "default"


def test_a_key_is_made_for_an_app_that_is_made_with_it(settings: Settings) -> None:
    assert _scopes(settings, create_key(settings, "shop", ["users:read"])) == (
        "shop",
        frozenset({"users:read"}),
    )
    assert _scopes(settings, create_key(settings, "shop")) == ("shop", APP_SCOPES)
    with pytest.raises(ValueError, match="did you mean 'users:read'"):
        create_key(settings, "shop", ["user:read"])
    with pytest.raises(ValueError, match="cannot be an app's id"):
        create_key(settings, "商店")


def test_what_is_sealed_opens_with_old_keys_too() -> None:
    old, new = SecretBox(SECRET.get_secret_value()), "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="
    sealed = old.seal("秘密".encode())
    assert "秘密" not in sealed
    assert SecretBox(f"{new},{SECRET.get_secret_value()}").open(sealed).decode() == "秘密"
    with pytest.raises(Unavailable, match="secret_unreadable"):
        SecretBox(new).open(sealed)
    with pytest.raises(Unavailable):
        old.open("é")
    for wrong in ("", "short", ",", "x" * 44):
        with pytest.raises(ValueError, match="HUB_SECRET_KEY must be 32 random bytes"):
            SecretBox(wrong)


def test_without_a_secret_key_nothing_opens(settings: Settings) -> None:
    bare = Settings(data_dir=settings.data_dir, secret_key=SecretStr(""))
    with pytest.raises(ValueError, match="HUB_SECRET_KEY"):
        ensure_default_key(bare)


def test_a_bearer_token_names_its_key() -> None:
    secret = new_secret()
    assert len(secret) == 52
    assert key_id_of(bearer_of("key_0195a1", secret)) == "key_0195a1"
    assert key_id_of(bearer_of("key_a_b", secret)) == "key_a_b"
    for wrong in ("", "hub_", "hub__x", "hub_x_", "x_y_z", "hub_é_x"):
        assert key_id_of(wrong) is None


async def test_who_asks_at_once_shares_one_query() -> None:
    asked: list[str] = []
    gate = asyncio.Event()

    async def load() -> str:
        asked.append("x")
        await gate.wait()
        return "answer"

    memory: Remembered[str, str] = Remembered(ttl=60, capacity=2)
    askers = [asyncio.create_task(memory.get("k", load)) for _ in range(5)]
    await asyncio.sleep(0)
    askers[0].cancel()
    gate.set()
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert answers[1:] == ["answer"] * 4
    assert isinstance(answers[0], asyncio.CancelledError)
    assert await memory.get("k", load) == "answer"
    assert asked == ["x"]
    memory.forget("k")
    assert await memory.get("k", load) == "answer"
    assert asked == ["x", "x"]


async def test_an_answer_that_was_forgotten_meanwhile_is_not_remembered() -> None:
    gate = asyncio.Event()
    values = iter(["old", "new"])

    async def load() -> str:
        value = next(values)
        await gate.wait()
        return value

    memory: Remembered[str, str] = Remembered(ttl=60)
    first = asyncio.create_task(memory.get("k", load))
    await asyncio.sleep(0)
    memory.forget("k")
    gate.set()
    assert await first == "old"
    assert await memory.get("k", load) == "new"


async def test_an_error_is_not_remembered_and_the_oldest_is_forgotten() -> None:
    memory: Remembered[int, int] = Remembered(ttl=60, capacity=2)

    async def fail() -> int:
        raise Refused("x", "y")

    with pytest.raises(Refused):
        await memory.get(1, fail)
    asked: list[int] = []

    async def load(value: int) -> int:
        asked.append(value)
        return value

    for value in (1, 2, 3, 1):
        assert await memory.get(value, lambda value=value: load(value)) == value  # type: ignore[misc]
    assert asked == [1, 2, 3, 1]


def test_numbers_are_bounded() -> None:
    numbers = Numbers(capacity=2)
    numbers.learn("a", {"x": 1, "y": 2, "z": 3})  # type: ignore[arg-type,dict-item]
    assert numbers.keys("a", ["x", "y", "z"]) == {"y": 2, "z": 3}  # type: ignore[arg-type]
    assert numbers.ids([1, 2, 3]) == {2: "y", 3: "z"}  # type: ignore[list-item]
