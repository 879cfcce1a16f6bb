"""A real Chromium over the DevTools protocol: one page, what it shows, and everything it complains of."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.services.process import ServiceMissing

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]
_WITHIN = 20.0


def find_chromium() -> str:
    """The path of the browser. Raises ServiceMissing."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise ServiceMissing("no Chromium on PATH")


class Page:
    """One tab. `complaints` gathers console errors, uncaught exceptions and violations of the CSP."""

    def __init__(self, socket: ClientConnection) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it goes."""
        with suppress(ConnectionClosed):
            async for text in self._socket:
                said = json.loads(text)
                if "id" in said:
                    self._answers.pop(said["id"]).set_result(said)
                else:
                    self._heard(said["method"], said["params"])

    def _heard(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(
                    str([arg.get("value", arg.get("description")) for arg in params["args"]])
                )
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Audits.issueAdded":
                self.complaints.append(str(params["issue"]))
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requested.append(params["url"])
            case _:
                pass

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command and its result."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        said = await asyncio.wait_for(answer, _WITHIN)
        assert "error" not in said, f"{method}: {said['error']}"
        result: dict[str, Any] = said["result"]
        return result

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        said = await self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in said, f"{script}: {said['exceptionDetails']}"
        return said["result"].get("value")

    async def until(self, script: str, within: float = _WITHIN) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + within
        while not await self.run(f"Boolean({script})"):
            if time.monotonic() > deadline:
                shown = await self.run("document.body.innerText")
                raise AssertionError(f"not in time: {script}\n{self.complaints}\n{shown}")
            await asyncio.sleep(0.05)

    async def open(self, url: str) -> None:
        """Go there, and wait until its script has shown the page."""
        await self.command("Page.navigate", url=url)
        await self.until("document.querySelector('#page:not([hidden])')")

    async def type(self, selector: str, text: str) -> None:
        """Replace what a field holds, as a person would."""
        await self.run(f"(f => {{ f.focus(); f.select(); }})(document.querySelector({json.dumps(selector)}))")
        await self.command("Input.insertText", text=text)

    async def press(self, key: str, code: int) -> None:
        """One key, down and up."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
            )

    async def click(self, selector: str) -> None:
        """Press what the selector finds."""
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def size(self, width: int, height: int) -> None:
        """The window, in CSS pixels."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def dark(self, *, on: bool) -> None:
        """What `prefers-color-scheme` says."""
        value = "dark" if on else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        await self.command("Emulation.setEmulatedMedia", features=features)

    async def shoot(self, file: Path) -> None:
        """The whole page as a PNG."""
        width, height = await self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        said = await self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(said["data"]))


@asynccontextmanager
async def browser_page(folder: Path, *, language: str) -> AsyncIterator[Page]:
    """A fresh browser with one empty page; gone at the end."""
    profile = folder / "profile"
    command = [
        find_chromium(),
        *_FLAGS,
        f"--user-data-dir={profile}",
        f"--accept-lang={language}",
        "about:blank",
    ]
    with (folder / "chromium.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with connect(await _target(port), max_size=None, proxy=None) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
                await page.command(f"{domain}.enable")
            try:
                yield page
            finally:
                listening.cancel()
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + _WITHIN
    while not file.exists() or not file.read_text().strip():
        assert process.poll() is None, "the browser ended"
        assert time.monotonic() < deadline, "the browser does not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])


async def _target(port: int) -> str:
    def look() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            targets = json.loads(answer.read())
        return str(next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page"))

    return await asyncio.to_thread(look)
