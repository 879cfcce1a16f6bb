"""A provider that only waits: it speaks the few calls of WeChat that a send needs, and answers each after a while.

    python -m bench.provider --port 9300 --latency 0.05

`GET /bench` tells how many sends it has answered, and when the first came and the last went.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping

import uvloop

_TEMPLATE = {
    "template_id": "BENCH-TEMPLATE",
    "title": "待审批",
    "primary_industry": "",
    "deputy_industry": "",
    "content": "事项:{{thing1.DATA}}",
    "example": "",
}
_SEND = "/cgi-bin/message/template/send"
_FIXED: Mapping[str, object] = {
    "/cgi-bin/stable_token": {"access_token": "bench-token", "expires_in": 7200},
    "/cgi-bin/template/get_all_private_template": {"template_list": [_TEMPLATE]},
    "/wxaapi/newtmpl/gettemplate": {"errcode": 0, "data": []},
}


class Provider:
    """Counts what it answered."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self.sends = 0
        self.first = 0.0
        self.last = 0.0
        self.inside = 0
        self.most = 0

    async def answer(self, path: str) -> object:
        """What this path answers."""
        if path == "/bench":
            return {"sends": self.sends, "seconds": self.last - self.first, "most_at_once": self.most}
        if path == "/bench/reset":
            self.__init__(self._latency)  # type: ignore[misc]
            return {}
        if path != _SEND:
            return _FIXED.get(path, {"errcode": 40066, "errmsg": "invalid url"})
        self.first = self.first or time.monotonic()
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(self._latency)
        self.inside -= 1
        self.sends += 1
        self.last = time.monotonic()
        return {"errcode": 0, "errmsg": "ok", "msgid": 10_000_000_000 + self.sends}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One keep-alive connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, _, rest = head.partition(b"\r\n")
                lengths = [
                    part for part in rest.lower().split(b"\r\n") if part.startswith(b"content-length:")
                ]
                if lengths:
                    await reader.readexactly(int(lengths[0].split(b":")[1]))
                path = line.split(b" ")[1].partition(b"?")[0].decode()
                body = json.dumps(await self.answer(path)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _main(port: int, latency: float) -> None:
    provider = Provider(latency)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.05)
    options = parser.parse_args()
    uvloop.run(_main(options.port, options.latency))


if __name__ == "__main__":
    main()
