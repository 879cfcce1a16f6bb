"""`python -m hub.sandbox --port 9200 --data DIR`: a local WeChat in its own process."""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path

from hub.sandbox import snapshot
from hub.sandbox.demo import demo_state
from hub.sandbox.server import SandboxServer
from hub.sandbox.state import State
from hub.sandbox.world import World


def main() -> None:
    """Serves until interrupted."""
    options = _options()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s %(url)s", defaults={"url": ""}))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    fresh = State(seed=options.seed) if options.empty else demo_state(options.seed)
    world = World((snapshot.load(options.data) if options.data else None) or fresh)
    with contextlib.suppress(KeyboardInterrupt):
        SandboxServer(world, host=options.host, port=options.port, folder=options.data).run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hub.sandbox", description="A local WeChat.")
    parser.add_argument("--host", default="127.0.0.1", help="only this machine by default")
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--data", type=Path, default=None, help="folder of the saved state; none: in memory")
    parser.add_argument("--seed", type=int, default=1, help="ids and tokens of a new world")
    parser.add_argument("--empty", action="store_true", help="begin without the demo accounts and people")
    return parser.parse_args()


if __name__ == "__main__":
    main()
