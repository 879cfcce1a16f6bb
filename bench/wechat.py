"""Outside sends through one Celery worker process, against a provider that takes its time.

    python -m bench.wechat [--sends 5000] [--latency 0.05] [--concurrency 100] [--repeat 3] [--database URL]

The ceiling is what a bare client with the same number of requests in flight gets from the same provider, measured in
the same run. The hub's figure counts from the first request to the last answer, with every attempt written before its
call and every result after it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import httpx2

from bench.chat import cpu_of
from tests.services.process import Process
from tests.services.redis import free_port
from tests.support.cluster import Cluster, answers, cluster

APPID = "wx00000000000bec47"
_PEOPLE = 500


def provider(directory: Path, port: int, latency: float) -> Process:
    """The provider's process."""
    command = [sys.executable, "-m", "bench.provider", "--port", str(port), "--latency", str(latency)]
    return Process(
        command, log=directory / "provider.log", ready=lambda _: answers(f"http://127.0.0.1:{port}/bench")
    )


async def ceiling(base: str, sends: int, concurrency: int) -> float:
    """Sends per second of a client that does nothing else."""
    waiting = iter(range(sends))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> None:
            for number in waiting:
                body = {
                    "touser": f"o{number}",
                    "template_id": "BENCH-TEMPLATE",
                    "data": {"thing1": {"value": "x"}},
                }
                async with session.post(f"{base}/cgi-bin/message/template/send", json=body) as answer:
                    await answer.read()

        started = time.monotonic()
        await asyncio.gather(*(one() for _ in range(concurrency)))
        return sends / (time.monotonic() - started)


def prepare(hub: Cluster) -> None:
    """An account, its templates, people with addresses, and a hub template."""
    url = hub.url("a")
    body = {"channel": "wechat_mp", "name": "bench", "appid": APPID, "secret": "0" * 32}
    account = hub.request("POST", f"{url}/v1/wechat/accounts", body)["id"]
    hub.request("POST", f"{url}/v1/wechat/accounts/{account}/templates/sync", {})
    people = [{"user_id": f"u{number}", "openid": f"o{number:027}"} for number in range(_PEOPLE)]
    hub.request("POST", f"{url}/v1/wechat/accounts/{account}/bindings/import", {"bindings": people})
    template = {
        "texts": {"zh-CN": {"title": "{{ title }}"}},
        "default_locale": "zh-CN",
        "variables": {"title": "text"},
        "mappings": [
            {
                "channel": "wechat_mp",
                "template": "BENCH-TEMPLATE",
                "fields": {"thing1": {"value": "{{ title }}", "overflow": "ellipsis"}},
            }
        ],
    }
    hub.request("PUT", f"{url}/v1/templates/bench", template)


def run(hub: Cluster, base: str, sends: int) -> tuple[float, float, int]:
    """Sends per second through the worker, its CPU share meanwhile, and the most requests at once."""
    httpx2.get(f"{base}/bench/reset")
    for _ in range(0, sends, _PEOPLE):
        body = {
            "to": [{"user_id": f"u{number}"} for number in range(_PEOPLE)],
            "template": {"key": "bench"},
            "data": {"title": "审批"},
            "route": {"steps": [{"channel": "wechat_mp", "success": "accepted"}]},
        }
        hub.request("POST", f"{hub.url('a')}/v1/notifications", body)
    cpu, started = cpu_of(hub.pid("worker")), time.monotonic()
    deadline = started + 120
    while (seen := httpx2.get(f"{base}/bench").json())["sends"] < sends and time.monotonic() < deadline:
        time.sleep(0.2)
    share = (cpu_of(hub.pid("worker")) - cpu) / (time.monotonic() - started)
    return seen["sends"] / seen["seconds"], share, seen["most_at_once"]


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(prog="bench wechat")
    parser.add_argument("--sends", type=int, default=5_000)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory, port = Path(folder), free_port()
        base = f"http://127.0.0.1:{port}"
        slow = provider(directory, port, options.latency)
        slow.start()
        settings = {
            "HUB_WECHAT_API": base,
            "HUB_WECHAT_CONCURRENCY": str(options.concurrency),
            "HUB_WECHAT_PACE": "100000",
        }
        database = options.database or f"sqlite+aiosqlite:///{directory / 'hub.db'}"
        try:
            with cluster(directory, database, **settings) as hub:
                hub.start_node("a")
                prepare(hub)
                hub.start_worker()
                _measure(hub, base, options)
        finally:
            slow.stop()


def _measure(hub: Cluster, base: str, options: argparse.Namespace) -> None:
    run(hub, base, _PEOPLE)  # imports, connections, the first token
    bare: list[float] = []
    through: list[float] = []
    for number in range(options.repeat):
        bare.append(asyncio.run(ceiling(base, options.sends, options.concurrency)))
        rate, share, most = run(hub, base, options.sends)
        through.append(rate)
        print(f"{number + 1}: bare client {bare[-1]:7.0f}/s   worker {rate:7.0f}/s", end="")
        print(f"   worker CPU {share:4.0%}   at once {most}")
    ratio = statistics.median(through) / statistics.median(bare)
    allowed = options.concurrency / options.latency
    print(
        f"median: worker {statistics.median(through):.0f}/s, {ratio:.2f} of the bare client ({allowed:.0f}/s allowed)"
    )


if __name__ == "__main__":
    main()
