"""What the directory remembers between queries: a little, for a short time, and what never changes for longer."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from hub.core.accounts import Account, AccountId, AccountSecrets, ProviderTemplate
from hub.core.identity import SocketPolicy
from hub.core.message import AppId, UserKey
from hub.core.records import ApiKeyRecord, NamedPolicy

K = TypeVar("K")
V = TypeVar("V")

FRESH = 3.0
"""Seconds for which an answer counts as true: a revocation is seen within five, on every node."""


NUMBERS_HOLD = timedelta(seconds=120)
"""How long another node may take a removed user's name for the old number."""


class Remembered(Generic[K, V]):
    """Answers of a query, for `ttl` seconds and at most `capacity` of them. Who asks at once shares one query."""

    def __init__(self, *, ttl: float = FRESH, capacity: int = 10_000) -> None:
        self._ttl = ttl
        self._capacity = capacity
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The answer, asked for if it is not fresh. An error is not remembered."""
        found = self._known.get(key)
        if found is not None and time.monotonic() - found[0] < self._ttl:
            return found[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, load))
            self._asking[key] = task
            task.add_done_callback(partial(self._asked, key))
        # Shielded: one caller who gives up must not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self, key: K) -> None:
        """It has changed. A query that is under way may be older: its answer goes to its askers only."""
        self._known.pop(key, None)
        self._asking.pop(key, None)

    def _asked(self, key: K, task: asyncio.Task[V]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # retrieved here too: all askers may have given up

    async def _ask(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        asked = time.monotonic()
        answer = await load()
        if self._asking.get(key) is asyncio.current_task():
            self._known[key] = (asked, answer)
            self._known.move_to_end(key)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return answer


class Numbers:
    """The hub's numbers of users, both ways. They change with the removal of a user only, of which another node may not
    have heard: a number is believed for `NUMBERS_HOLD` at most. What a number was called may be known for longer."""

    def __init__(self, capacity: int = 200_000) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[tuple[AppId, str], UserKey] = OrderedDict()
        self._older: OrderedDict[tuple[AppId, str], UserKey] = OrderedDict()
        self._since = time.monotonic()
        self._ids: OrderedDict[UserKey, str] = OrderedDict()

    def keys(self, app: AppId, user_ids: Collection[str]) -> dict[str, UserKey]:
        """The numbers that are known here."""
        if time.monotonic() - self._since > NUMBERS_HOLD.total_seconds() / 2:
            self._older, self._keys, self._since = self._keys, OrderedDict(), time.monotonic()
        found: dict[str, UserKey] = {}
        for user_id in user_ids:
            number = self._keys.get((app, user_id)) or self._older.get((app, user_id))
            if number is not None:
                found[user_id] = number
        return found

    def forget(self, app: AppId, user_id: str) -> None:
        """This name is somebody else's now, or nobody's."""
        for known in (self._keys, self._older):
            known.pop((app, user_id), None)

    def ids(self, keys: Collection[UserKey]) -> dict[UserKey, str]:
        """The product's ids that are known here."""
        known = self._ids
        return {key: known[key] for key in keys if key in known}

    def learn(self, app: AppId, found: Mapping[str, UserKey]) -> None:
        """These are committed."""
        for user_id, key in found.items():
            self._keys[app, user_id] = key
            self._ids[key] = user_id
        self._bound()

    def learn_ids(self, found: Mapping[UserKey, str]) -> None:
        """The same where the app is not known."""
        self._ids.update(found)
        self._bound()

    def _bound(self) -> None:
        while len(self._keys) > self._capacity:
            self._keys.popitem(last=False)
        while len(self._ids) > self._capacity:
            self._ids.popitem(last=False)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """An API key with the hash that its secret is checked against."""

    record: ApiKeyRecord
    hash: str


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A signing key ready for use: the alg is the row's, never the token's."""

    kid: str
    app: AppId
    alg: str
    material: Any
    """The secret, or a public key of `cryptography`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a user's tokens hold: the number, and the time before which they were all revoked."""

    key: UserKey
    tokens_after: datetime | None


@dataclass(slots=True)
class AccountCaches:
    """What is asked for with every message to a provider. Bindings and grants are never remembered."""

    accounts: Remembered[AccountId, Account | None] = field(default_factory=Remembered)
    secrets: Remembered[AccountId, AccountSecrets] = field(default_factory=Remembered)
    of_app: Remembered[AppId, tuple[Account, ...]] = field(default_factory=Remembered)
    templates: Remembered[AccountId, tuple[ProviderTemplate, ...]] = field(
        default_factory=lambda: Remembered(capacity=1_000)
    )

    def forget(self, account: AccountId, app: AppId) -> None:
        """An account has changed."""
        self.accounts.forget(account)
        self.secrets.forget(account)
        self.of_app.forget(app)
        self.templates.forget(account)


@dataclass(slots=True)
class Caches:
    """Shared by the directory, people and tokens of one process, so that a change here is seen here at once."""

    numbers: Numbers = field(default_factory=Numbers)
    api_keys: Remembered[str, HeldKey | None] = field(default_factory=Remembered)
    signing_keys: Remembered[str, VerifyingKey | None] = field(default_factory=Remembered)
    minting_keys: Remembered[AppId, VerifyingKey] = field(default_factory=Remembered)
    standings: Remembered[tuple[AppId, str], Standing] = field(
        default_factory=lambda: Remembered(capacity=100_000)
    )
    sockets: Remembered[AppId, SocketPolicy] = field(default_factory=Remembered)
    policies: Remembered[AppId, tuple[NamedPolicy, ...]] = field(default_factory=Remembered)
    webhooks: Remembered[AppId, tuple[str, ...]] = field(default_factory=Remembered)
    """What the enabled endpoints of an app subscribe to."""
    provider: AccountCaches = field(default_factory=AccountCaches)
