"""Sequences and queue tails in Redis: fast copies of what SQL holds, believed only while they can be."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from hub.core.message import Entry, MessageId, SeqKey, UserKey
from hub.partitions import Grouping, tag, user_tag
from hub.redis_link import RedisLink
from hub.redis_wire import Command, Script, load_script

_COUNTER_TTLS: Final = 4
"""Counters outlive tails by this factor: raising one costs a query, and costs it a whole batch."""
_COMPACT: Final = 128
"""Members, the mark included, up to which Redis keeps a sorted set compact (zset-max-listpack-entries)."""
_CLAIM_PATIENCE: Final = timedelta(seconds=60)
_CLAIMS: Final = 10_000
_STILL_TRUSTED: Final = "!"
"""No claim is called so: a rebuild that brings it is believed only while the tail is trusted anyway."""
_ENTRIES_PER_CALL: Final = 128
"""An entry of a full tail takes the server 10 microseconds: a call holds it for about one millisecond."""


class RedisSequencer:
    """core.ports.Sequencer. A draw is one call whatever its size: its keys agree in their order.

    What a counter is, and when it is believed, is told in seq_mark.lua. On a Cluster all counters share one
    partition, as the keys of a call must.
    """

    def __init__(self, link: RedisLink, *, tail_ttl: timedelta) -> None:
        self._link = link
        self.counter = _shared_counter if link.clustered else _counter
        """The key of a sequence's counter."""
        self._ttl = _milliseconds(tail_ttl * _COUNTER_TTLS)
        self._draw, self._raise, self._give_back = (
            load_script(__package__, "seq_mark", name) for name in ("seq_draw", "seq_raise", "seq_give_back")
        )

    async def draw(self, wants: Mapping[SeqKey, int]) -> Mapping[SeqKey, int]:
        """The first number of each range, or nothing at all where a key is not known."""
        if not wants:
            return {}
        keys = map(self.counter, wants)
        firsts = await self._link.ask(self._draw, len(wants), *keys, self._ttl, *wants.values())
        return dict(zip(wants, firsts, strict=True)) if firsts else {}

    def witness(self) -> str:
        """The server that was met last where the counters are."""
        return self._link.epoch_of(_ANY_SHARED)

    async def raise_to(self, heads: Mapping[SeqKey, int], *, witness: str = "") -> None:
        """Sets what is missing, lower or of another epoch; nothing, if the server is not the witness any more."""
        await self._each(self._raise, {key: (head,) for key, head in heads.items()}, witness)

    async def give_back(self, ranges: Mapping[SeqKey, tuple[int, int]]) -> None:
        """Turns a counter back if it still stands at the last number of the range."""
        await self._each(self._give_back, {key: (last, first - 1) for key, (first, last) in ranges.items()})

    async def _each(self, script: Script, arguments: Mapping[SeqKey, tuple[int, ...]], *more: str) -> None:
        keys = [self.counter(key) for key in arguments]
        values = list(arguments.values())
        await self._link.run(
            [
                (
                    script,
                    len(group),
                    *(keys[i] for i in group),
                    self._ttl,
                    *more,
                    *_flat(values[i] for i in group),
                )
                for group in self._link.grouping(keys)
            ]
        )


class RedisTail:
    """core.ports.Tail. What a tail is, and when it is believed, is told in tail_mark.lua.

    `size` is cut to one less than what Redis keeps compact: the mark needs a place.
    """

    def __init__(
        self, link: RedisLink, *, size: int, ttl: timedelta, grouping: Grouping | None = None
    ) -> None:
        self._link = link
        self._keep = min(size, _COMPACT - 1)
        self._ttl = _milliseconds(ttl)
        self._patience = _milliseconds(_CLAIM_PATIENCE)
        self._grouping = grouping or link.grouping
        self._append = load_script(__package__, "tail_append")
        self._read, self._heads, self._rebuild = (
            load_script(__package__, "tail_mark", name)
            for name in ("tail_read", "tail_heads", "tail_rebuild")
        )
        self._claims: OrderedDict[UserKey, str] = OrderedDict()
        self._unknown = ""
        """The claim of who never asked: none is needed, until some had to be forgotten."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Adds committed entries; a tail keeps its newest."""
        users: dict[UserKey, dict[int, bytes]] = {}
        for entry in entries:
            users.setdefault(entry.user, {})[entry.user_seq] = _member(entry)
        await self._link.run(list(self._append_calls(users)))

    def _append_calls(self, users: Mapping[UserKey, Mapping[int, bytes]]) -> Iterable[Command]:
        keys = [_tail(user) for user in users]
        rows = [sorted(members.items())[-self._keep :] for members in users.values()]
        for group in self._grouping(keys):
            for part in _portions(group, rows):
                arguments = [word for i in part for word in (len(rows[i]), *_flat(rows[i]))]
                yield (self._append, len(part), *(keys[i] for i in part), self._keep, self._ttl, *arguments)

    async def read(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry] | None:
        """Entries past `after` without a gap; None where the tail is not trusted, too short or not contiguous."""
        trusted, answer = await self._link.ask(
            self._read, 1, _tail(user), after, limit, _nonce(), self._keep, self._patience
        )
        if not trusted:
            self._remember(user, answer.decode())
            return None
        entries = [_entry(user, member) for member in answer]
        if any(entry.user_seq != number for number, entry in enumerate(entries, after + 1)):
            self._remember(user, _STILL_TRUSTED)
            return None
        return entries

    async def heads(self, users: Sequence[UserKey]) -> Sequence[int | None]:
        """The newest number of each queue, None where the tail is not trusted."""
        keys = [_tail(user) for user in users]
        groups = list(self._grouping(keys))
        nonce = _nonce()
        answers = await self._link.run(
            [
                (self._heads, len(group), *(keys[i] for i in group), nonce, self._keep, self._patience)
                for group in groups
            ]
        )
        heads: list[int | None] = [None] * len(users)
        for group, answer in zip(groups, answers, strict=True):
            for i, head in zip(group, answer, strict=True):
                if isinstance(head, int):
                    heads[i] = head
                else:
                    self._remember(users[i], head.decode())
        return heads

    async def rebuild(self, user: UserKey, entries: Sequence[Entry], *, head: int) -> None:
        """Trusts the tail again, if the entries reach contiguously up to `head` and the tail has not been lost
        since it last said None: what was appended in between may be lost then, and the next reader tries again.
        """
        claim = self._claims.pop(user, self._unknown)
        rows: list[tuple[int, bytes]] = []
        for entry in sorted(entries, key=lambda entry: entry.user_seq, reverse=True):
            if entry.user_seq == head - len(rows):
                rows.append((entry.user_seq, _member(entry)))
        if head and not rows:
            return
        newest = rows[: self._keep][::-1]
        await self._link.ask(
            self._rebuild, 1, _tail(user), self._keep, self._ttl, claim, head, *_flat(newest)
        )

    def _remember(self, user: UserKey, claim: str) -> None:
        """Where another claim is still open, the tail was lost meanwhile: whoever read the store for the first must
        not vouch for the second."""
        known = self._claims.get(user, claim)
        self._claims[user] = claim if known == claim else _STILL_TRUSTED
        self._claims.move_to_end(user)
        while len(self._claims) > _CLAIMS:
            self._claims.popitem(last=False)
            self._unknown = _STILL_TRUSTED


_SHARED: Final = tag("n:counters")
_ANY_SHARED: Final = f"hub:count:{_SHARED}:"


def _shared_counter(key: SeqKey) -> str:
    return f"{_ANY_SHARED}{key.kind.value}:{key.id}"


def _counter(key: SeqKey) -> str:
    name = f"{key.kind.value}:{key.id}"
    return f"hub:count:{tag(name)}:{name}"


def _tail(user: UserKey) -> str:
    return f"hub:tail:{user_tag(user)}:{user}"


def _member(entry: Entry) -> bytes:
    inbox = "" if entry.inbox_seq is None else entry.inbox_seq
    return f"{entry.user_seq}:{entry.message or '-'}:{inbox}".encode()


def _entry(user: UserKey, member: bytes) -> Entry:
    seq, message, inbox = member.decode().split(":")
    return Entry(
        user, int(seq), MessageId(message) if message != "-" else None, int(inbox) if inbox else None
    )


def _portions(group: Sequence[int], rows: Sequence[Sequence[object]]) -> Iterable[list[int]]:
    """Cuts a group where a call would carry too many entries."""
    part: list[int] = []
    weight = 0
    for i in group:
        if part and weight + len(rows[i]) > _ENTRIES_PER_CALL:
            yield part
            part, weight = [], 0
        part.append(i)
        weight += len(rows[i])
    if part:
        yield part


def _flat(rows: Iterable[Iterable[int | bytes]]) -> list[int | bytes]:
    return [word for row in rows for word in row]


def _milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)


def _nonce() -> str:
    return secrets.token_hex(4)
