"""A Redis Cluster of embedded engines: three masters with all slots, and their replicas."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hub.embedded.engine import EngineUnusable, find_program
from hub.redis_slots import SLOTS, slot_of
from tests.services.process import ServiceMissing
from tests.services.redis import free_port
from tests.services.redis_node import PLAIN, RedisNode, wait_until

MASTERS = 3
NODE_TIMEOUT = 1_000
"""Milliseconds after which a silent node is taken for dead."""


class RedisCluster:
    """Masters and replicas; `url` names the masters."""

    def __init__(self, nodes: Sequence[RedisNode]) -> None:
        self.nodes = list(nodes)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:MASTERS])

    def masters(self) -> list[RedisNode]:
        """Those that are masters now, as the first that answers sees it."""
        seen = self._seen()
        return [node for node in self.nodes if "master" in seen.get(node.port, ("", "", ""))[1].split(",")]

    @property
    def running(self) -> bool:
        """It is never stopped as a whole."""
        return True

    def owner(self, key: str) -> RedisNode:
        """Who serves a key, as the living see it."""
        slot = slot_of(key)
        for node, ranges in self._ranges().items():
            if any(first <= slot <= last for first, last in ranges):
                return node
        raise LookupError(key)

    def flush(self) -> None:
        """Empties it."""
        for node in self.masters():
            answer = node.command("FLUSHALL")
            assert answer == b"+OK\r\n", answer

    def another_life(self) -> None:
        """Every master is another server now, with all that it had."""
        for node in self.masters():
            node.another_life()

    def command(self, *words: str | int | bytes) -> bytes:
        """The same command on every master; the last answer."""
        return [node.command(*words) for node in self.masters()][-1]

    def move(self, key: str, to: RedisNode) -> None:
        """Moves the key's slot with all that is in it, key by key, as an operator's tool does."""
        source = self.begin_move(key, to)
        while keys := source.words("CLUSTER", "GETKEYSINSLOT", slot_of(key), 10):
            self.migrate(source, to, *keys)
        self.settle(key, to)

    def begin_move(self, key: str, to: RedisNode) -> RedisNode:
        """Opens a migration: what is not at the source, which is given back, is asked for at the target."""
        slot, source, ids = slot_of(key), self.owner(key), self._ids()
        assert source is not to
        for node, word, other in ((to, "IMPORTING", source), (source, "MIGRATING", to)):
            answer = node.command("CLUSTER", "SETSLOT", slot, word, ids[other.port])
            assert answer == b"+OK\r\n", answer
        return source

    def migrate(self, source: RedisNode, to: RedisNode, *keys: str | bytes) -> None:
        """Moves these keys, each at one moment."""
        answer = source.command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        assert answer.startswith((b"+OK", b"+NOKEY")), answer

    def settle(self, key: str, to: RedisNode) -> None:
        """Ends a migration: everybody knows who has the slot."""
        owner = self._ids()[to.port]
        for node in [to, *(node for node in self.masters() if node is not to)]:
            answer = node.command("CLUSTER", "SETSLOT", slot_of(key), "NODE", owner)
            assert answer == b"+OK\r\n", answer
        # Moved again before the epoch is known everywhere, a slot can end up with each of two nodes naming the other.
        wait_until(lambda: self._agree(slot_of(key), owner))

    def replica_of(self, master: RedisNode) -> RedisNode:
        """A replica of this master, as the living see it."""
        seen = self._seen()
        mine = seen[master.port][0]
        return next(node for node in self.nodes if seen.get(node.port, ("", "", ""))[2] == mine)

    def whole(self, replicas: int) -> bool:
        """Whether every node sees every slot served, and every replica follows its master."""
        for node in self.nodes:
            if not node.running:
                continue
            if b"cluster_state:ok" not in node.command("CLUSTER", "INFO"):
                return False
        links = [node.command("INFO", "replication") for node in self.nodes if node.running]
        following = sum(b"role:slave" in link and b"master_link_status:up" in link for link in links)
        return following >= replicas

    def _agree(self, slot: int, owner: str) -> bool:
        """Whether every node has the slot there, with the same epoch."""
        epochs: set[str] = set()
        for node in self.nodes:
            if node.running:
                row = next(row for row in _rows(node) if row[0] == owner)
                epochs.add(
                    row[6] if any(first <= slot <= last for first, last in _spans(row)) else "elsewhere"
                )
        return len(epochs) == 1 and "elsewhere" not in epochs

    def _any(self) -> RedisNode:
        return next(node for node in self.nodes if node.running and node.answers())

    def _seen(self) -> dict[int, tuple[str, str, str]]:
        """By port: id, flags, id of its master. Without those that are dead."""
        rows = [row for row in _rows(self._any()) if "fail" not in row[2].split(",")]
        return {int(row[1].split("@")[0].rpartition(":")[2]): (row[0], row[2], row[3]) for row in rows}

    def _ids(self) -> dict[int, str]:
        return {port: seen[0] for port, seen in self._seen().items()}

    def _ranges(self) -> dict[RedisNode, list[tuple[int, int]]]:
        by_port = {node.port: node for node in self.nodes}
        found: dict[RedisNode, list[tuple[int, int]]] = {}
        for row in _rows(self._any()):
            if "master" not in row[2].split(",") or "fail" in row[2].split(","):
                continue
            node = by_port[int(row[1].split("@")[0].rpartition(":")[2])]
            found[node] = _spans(row)
        return found


def _rows(node: RedisNode) -> list[list[str]]:
    """The nodes of its Cluster, as this one sees them."""
    text = node.command("CLUSTER", "NODES").decode()
    return [line.split(" ") for line in text.splitlines() if line.count(" ") > 6]


def _spans(row: list[str]) -> list[tuple[int, int]]:
    """First and last of its runs of slots, without those on their way."""
    spans = [span.partition("-") for span in row[8:] if not span.startswith("[")]
    return [(int(first), int(last or first)) for first, _, last in spans]


@contextmanager
def start_redis_cluster(directory: Path, *, replicas: int = 1) -> Iterator[RedisCluster]:
    """Three masters, and so many replicas (the first of them follow the first masters)."""
    try:
        program = find_program()
    except EngineUnusable as error:
        raise ServiceMissing(str(error)) from None
    with ExitStack() as stack:
        nodes = []
        for number in range(MASTERS + replicas):
            port = free_port()
            options = [
                *("--port", str(port), "--dir", str(directory / f"node{number}"), *PLAIN),
                *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
                *("--cluster-node-timeout", str(NODE_TIMEOUT), "--cluster-port", str(free_port())),
                *("--cluster-replica-validity-factor", "0", "--cluster-migration-barrier", "99"),
            ]
            node = RedisNode(program, directory / f"node{number}", port, options)
            stack.callback(node.kill)
            node.start()
            nodes.append(node)
        _join(nodes)
        cluster = RedisCluster(nodes)
        wait_until(lambda: cluster.whole(replicas))
        yield cluster


def _join(nodes: Sequence[RedisNode]) -> None:
    share = SLOTS // MASTERS + 1
    for number, node in enumerate(nodes):
        node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < MASTERS:
            first, last = number * share, min((number + 1) * share, SLOTS) - 1
            answer = node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            assert answer == b"+OK\r\n", answer
    for node in nodes[1:]:
        bus = node.words("CONFIG", "GET", "cluster-port")[1]
        nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    for number, node in enumerate(nodes[MASTERS:]):
        master = nodes[number % MASTERS]
        name = master.command("CLUSTER", "MYID").split(b"\r\n")[1].decode()
        deadline = time.monotonic() + 20
        while not node.command("CLUSTER", "REPLICATE", name).startswith(b"+OK"):
            assert time.monotonic() < deadline, "a replica does not learn of its master"
            time.sleep(0.02)
