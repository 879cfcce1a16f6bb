"""One connection to Redis that knows which server it leads to, and scripts that only that server can run."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

_RECHECK = 2.0
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. Its source sees the constant EPOCH. It may be run twice, like every command here."""

    name: str
    body: str

    def source(self, epoch: str) -> str:
        """The text that is loaded on the server of this epoch."""
        return f"-- {self.name}\nlocal EPOCH = '{epoch}'\n{self.body}"


Argument: TypeAlias = bytes | str | int
Command: TypeAlias = Sequence[Script | Argument]
"""The words of a command; a Script stands for `EVALSHA sha`, and the number of keys follows it."""


def load_script(package: str, *names: str) -> Script:
    """The script in the package's `.lua` files, one after the other; it is named after the last."""
    text = "\n".join(files(package).joinpath(f"{name}.lua").read_text("utf-8") for name in names)
    return Script(names[-1], text)


class Wire:
    """A connection. After a time-out or a cancellation answers may still come: close it then."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.epoch = ""
        self.life = 0
        """For whoever keeps it: since which time it is one of theirs."""
        self.identified_at = -math.inf
        """When the server was last asked who it is, by the monotonic clock."""

    async def open(self) -> None:
        """Connects, and asks the server who it is."""
        await self._connection.connect()  # type: ignore[no-untyped-call]
        await self._identify()

    async def ask(self, *words: Argument) -> Any:
        """A question to a server that need not be known. Raises what it refuses with."""
        await self._connection.connect()  # type: ignore[no-untyped-call]
        (answer,) = await self._exchange([pack(words, "")])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def converse(self, commands: Sequence[Command], *, asking: bool = False) -> list[Any]:
        """One round trip: answers in order, refusals of single commands as values. `asking` is how a Cluster's node
        is asked for keys of a slot that is on its way to it."""
        if time.monotonic() - self.identified_at > _RECHECK:
            await self._identify()
        exchange = self._exchange_asking if asking else self._exchange
        replies = await exchange([pack(command, self.epoch) for command in commands])
        for _ in range(_ROUNDS):
            lost = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if not lost:
                break
            # INFO comes first and on this connection: a script is loaded only on the server that it names.
            await self._identify()
            again = [commands[i] for i in lost]
            for i, reply in zip(lost, await self._load_and_repeat(again, asking), strict=True):
                replies[i] = reply
        return replies

    async def send(self, *words: Argument) -> None:
        """Sends a command without waiting for its answer."""
        await self._write(pack(words, self.epoch))

    async def receive(self) -> Any:
        """The next thing that the server says, however long it takes."""
        return await self._connection.read_response(timeout=math.inf)

    async def usable(self) -> bool:
        """False where the server has closed it, or something unasked for has come."""
        try:
            return not await self._connection.can_read()
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        """Closes it without ceremony; whoever still waits for an answer hears of it at once."""
        with suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)

    async def _load_and_repeat(self, commands: Sequence[Command], asking: bool) -> list[Any]:
        scripts = {word for command in commands for word in command if isinstance(word, Script)}
        loads = [pack(("SCRIPT", "LOAD", script.source(self.epoch)), "") for script in scripts]
        if asking:
            await self._exchange(loads)
            return await self._exchange_asking([pack(command, self.epoch) for command in commands])
        replies = await self._exchange(loads + [pack(command, self.epoch) for command in commands])
        return replies[len(loads) :]

    async def _exchange_asking(self, packed: Sequence[bytes]) -> list[Any]:
        # ASKING holds for the next command only.
        return (await self._exchange([word for one in packed for word in (_ASKING, one)]))[1::2]

    async def _identify(self) -> None:
        (answer,) = await self._exchange([pack(("INFO", "server", "replication"), "")])
        if isinstance(answer, Exception):
            raise answer
        fields = dict(line.partition(b":")[::2] for line in answer.splitlines())
        if fields.get(b"role") != b"master":
            # Its epoch says nothing about the master that it may be in a moment.
            raise ReadOnlyError("This Redis is a replica")
        self.epoch = _epoch(fields)
        self.identified_at = time.monotonic()

    async def _exchange(self, packed: Sequence[bytes]) -> list[Any]:
        await self._write(b"".join(packed))
        replies: list[Any] = []
        for _ in packed:
            try:
                replies.append(await self.receive())
            except ResponseError as error:
                replies.append(error)
        return replies

    async def _write(self, packed: bytes) -> None:
        await self._connection.send_packed_command(packed, check_health=False)


@lru_cache(maxsize=4_096)
def _sha(script: Script, epoch: str) -> bytes:
    return hashlib.sha1(script.source(epoch).encode(), usedforsecurity=False).hexdigest().encode()


def pack(command: Command, epoch: str) -> bytes:
    """The command as it goes over the wire to the server of this epoch."""
    words: list[Argument] = []
    for word in command:
        if isinstance(word, Script):
            words += (b"EVALSHA", _sha(word, epoch))
        else:
            words.append(word)
    packed: bytes = pack_command(tuple(words))  # type: ignore[arg-type]  # its stub means a tuple of one
    return packed


_ASKING = pack(("ASKING",), "")


def _epoch(fields: Mapping[bytes, bytes]) -> str:
    run, replication = fields.get(b"run_id"), fields.get(b"master_replid")
    if not run or not replication:
        raise Disconnected("INFO must give run_id and master_replid; this server does not")
    return hashlib.sha256(run + b"/" + replication).hexdigest()[:16]
