"""The one-machine hub: engine, database, web, worker and beat, from nothing to a screen that says ready."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn
from urllib.parse import urlsplit

from hub.embedded import Trouble, ports, processes, sandbox
from hub.embedded.engine import Engine, find_program
from hub.embedded.folder import DataFolder
from hub.embedded.screen import Ready, lines
from hub.embedded.supervisor import Spec, Stopped, Supervisor
from hub.settings import Settings

STOP_ORDER = ("prepare", "web", "beat", "worker", "sandbox", "engine")
LOOPBACK = "127.0.0.1"
READY_WITHIN = timedelta(seconds=60)
ENGINE_WITHIN = timedelta(minutes=5)  # a long file takes long to read


def main(settings: Settings, *, verbose: bool = False) -> None:
    """Runs the hub until a signal comes; Trouble when it cannot start or a part of it ends by itself."""
    os.umask(0o077)
    folder = DataFolder(settings.data_dir)
    with folder.held():
        wanted = settings.port if "port" in settings.model_fields_set else None
        port = ports.choose(settings.host, wanted)
        with suppress(Stopped):
            asyncio.run(_run(settings, folder, port, verbose=verbose))
        say("The hub has stopped; its data is kept · 已停止，数据已保留")


async def _run(settings: Settings, folder: DataFolder, port: int, *, verbose: bool) -> NoReturn:
    host = settings.host
    phone = _sandbox_address(settings)
    supervisor = Supervisor(
        logs=folder.logs,
        environment={
            **processes.environment(settings, folder, host=host, port=port),
            **(sandbox.environment(phone, allowed=settings.webhook_allow) if phone else {}),
        },
        order=STOP_ORDER,
        echo=say if verbose else None,
    )
    async with supervisor as children:
        if not settings.redis_url:
            await _start_engine(children, settings)
        await children.run(processes.prepare())
        await children.start(processes.web(settings, host=host, port=port))
        await children.start(processes.worker())
        await children.start(processes.beat(folder))
        if phone:
            await children.start(processes.sandbox(folder, phone))
        try:
            ready = asyncio.wait_for(ports.until_ready(host, port), READY_WITHIN.total_seconds())
            await children.unless_ended(ready)
        except TimeoutError:
            text = (
                f"the hub is not ready after {READY_WITHIN.seconds} s; its log is {folder.logs / 'web.log'}"
            )
            raise Trouble(text) from None
        ready_at = ports.address(host, port)
        if phone:
            await _introduce(children, folder, ready_at, phone)
        await _serve(children, Ready(ready_at, folder.api_key() or "", folder.path, phone), folder)


def _sandbox_address(settings: Settings) -> str | None:
    """Where the local WeChat will be; None where the hub has been told of a real one, or wants none."""
    if not settings.sandbox or "wechat_api" in settings.model_fields_set:
        return None
    span = (ports.FIRST_OF_SANDBOX, ports.LAST_OF_SANDBOX)
    return ports.address(LOOPBACK, ports.choose(LOOPBACK, None, span=span))


async def _introduce(children: Supervisor, folder: DataFolder, address: str, phone: str) -> None:
    """A hub without its sandbox is a hub all the same: what fails here is said, and no more."""
    where = urlsplit(phone)
    pair = sandbox.Pair(address, folder.api_key() or "", phone)
    try:
        until = ports.until_ready(LOOPBACK, where.port or 0, path="/")
        await children.unless_ended(asyncio.wait_for(until, READY_WITHIN.total_seconds()))
        await children.unless_ended(asyncio.to_thread(sandbox.introduce, pair))
    except (TimeoutError, sandbox.NotIntroduced) as error:
        say(f"The WeChat sandbox is not connected ({error!r}) · 微信沙箱未连接")


async def _serve(children: Supervisor, ready: Ready, folder: DataFolder) -> NoReturn:
    with folder.reachable_at(ready.address):
        for line in lines(ready):
            say(line)
        try:
            await children.wait()
        except Stopped:
            say("Stopping (Ctrl-C again: at once) · 正在停止 ...")
            raise


async def _start_engine(children: Supervisor, settings: Settings) -> None:
    socket = settings.embedded_socket
    engine = Engine(find_program(), settings.data_dir.resolve() / "redis", socket)
    engine.prepare()

    async def until_it_answers() -> None:
        while not engine.answers():  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.01)

    try:
        await children.start(Spec("engine", engine.command()))
        work = asyncio.wait_for(until_it_answers(), ENGINE_WITHIN.total_seconds())
        await children.unless_ended(work)
    except TimeoutError:
        text = f"the engine is not ready after {ENGINE_WITHIN.seconds} s; its files are in {engine.directory}"
        raise Trouble(text) from None
    except OSError as error:
        text = f"the engine {engine.program} does not start ({error.strerror})"
        raise Trouble(text) from None


def say(line: str) -> None:
    """Prints a line; a terminal that is gone is no reason to stop badly."""
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
