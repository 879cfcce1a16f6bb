"""`./run bench [chat|fanout|wechat|growth|store] [options]`: what the hub can do on this machine, measured now.

Figures of different machines do not compare; ratios within one run do.
"""

from __future__ import annotations

import importlib
import sys

_BENCHES = {
    "chat": ("bench.chat", "sent over a socket, committed, pushed to the recipient"),
    "fanout": ("bench.fanout", "one message to many sockets, against a C loop; memory of an idle connection"),
    "storm": ("bench.storm", "thousands of clients resume at once against one node"),
    "wechat": ("bench.wechat", "outside sends through one worker, against a provider that takes its time"),
    "growth": ("bench.growth", "a million messages: what grows, and how large it gets"),
    "plans": ("bench.plans", "messages in SQL or in Redis: speed, size, what a crash loses"),
    "store": ("bench.bench_store", "group commits and reads on a database"),
}


def main() -> int:
    """Run the bench named first, with the rest as its own options."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in _BENCHES:
        module = importlib.import_module(_BENCHES[name][0])
        sys.argv = [f"bench {name}", *sys.argv[2:]]
        module.main()
        return 0
    print("usage: ./run bench NAME [options]   (NAME --help lists its options)")
    for bench, (_, text) in _BENCHES.items():
        print(f"  {bench:8} {text}")
    return 0 if name in ("", "-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
