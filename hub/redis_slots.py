"""Which of a Cluster's 16,384 slots a command belongs to, and which node serves a slot."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from hub.redis_address import Host
from hub.redis_wire import Command, Script

SLOTS: Final = 16_384

EVERYWHERE: Final = frozenset({"PING", "KEYS", "FLUSHALL"})
"""Commands without a key that go to every master."""
_ANYWHERE: Final = frozenset({"INFO", "TIME", "ECHO", "COMMAND"})
_KEY_COUNT_FIRST: Final = frozenset({"EVAL", "EVALSHA"})
_KEY_SECOND: Final = frozenset({"OBJECT", "MEMORY", "XINFO"})


def slot_of(key: str | bytes) -> int:
    """CRC16 (XMODEM) of the key, or of what stands between its first braces, if something does."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            return _tag_slot(raw[start + 1 : end])
    return crc_hqx(raw, 0) % SLOTS


@lru_cache(maxsize=4_096)
def _tag_slot(tag: bytes) -> int:
    return crc_hqx(tag, 0) % SLOTS


def key_of(command: Command) -> str | bytes | None:
    """The first key of a command; None where it has none. All its keys are in one slot, or the server refuses it."""
    first = command[0]
    if isinstance(first, Script):
        return _word(command[2]) if command[1] else None
    name = first.upper() if isinstance(first, str) else str(first)
    if name in EVERYWHERE or name in _ANYWHERE:
        return None
    if name in _KEY_COUNT_FIRST:
        return _word(command[3]) if int(_word(command[2])) else None
    return _word(command[2 if name in _KEY_SECOND else 1])


def goes_everywhere(command: Command) -> bool:
    """Whether every master is asked."""
    return isinstance(command[0], str) and command[0].upper() in EVERYWHERE


def gathered(command: Command, replies: Sequence[Any]) -> Any:
    """One answer of all masters' answers; a refusal of one is the refusal of all."""
    refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if refused is not None:
        return refused
    if str(command[0]).upper() == "KEYS":
        return [key for reply in replies for key in reply]
    return replies[0]


def _word(word: Any) -> str | bytes:
    return str(word) if isinstance(word, int) else word


@dataclass(frozen=True, slots=True)
class SlotMap:
    """The master of each slot (None where there is none), and every node that was named with them."""

    owners: list[Host | None] = field(default_factory=lambda: [None] * SLOTS)
    nodes: tuple[Host, ...] = ()

    @property
    def masters(self) -> tuple[Host, ...]:
        """Each master that has a slot, once."""
        return tuple(dict.fromkeys(owner for owner in self.owners if owner is not None))


def read_slots(answer: Any, asked: Host) -> SlotMap:
    """The answer to CLUSTER SLOTS. A node that does not know its own name is where it was asked."""
    owners: list[Host | None] = [None] * SLOTS
    nodes: dict[Host, None] = {}
    for first, last, *places in answer:
        hosts = [_host(place, asked) for place in places]
        nodes.update(dict.fromkeys(hosts))
        if hosts:
            owners[first : last + 1] = [hosts[0]] * (last + 1 - first)
    return SlotMap(owners, tuple(nodes))


def moved_to(host: str, port: int, asked: Host) -> Host:
    """Where MOVED or ASK point; without a name it is the same machine."""
    return Host(host or asked.name, port)


def _host(place: Sequence[Any], asked: Host) -> Host:
    name = (place[0] or b"").decode()
    return Host(asked.name if name in {"", "?"} else name, int(place[1]))
