"""A PostgreSQL for tests: HUB_TEST_POSTGRES_URL, or the programs of this machine on a private socket."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.database import DatabaseServer
from tests.services.process import Process, ServiceMissing, private_folder, run_once, unprivileged

# Without fsync a killed server keeps its data (the kernel has it); only a killed machine does not.
SETTINGS = ("listen_addresses=", "max_connections=200", "fsync=off", "full_page_writes=off")


@contextmanager
def start_postgres(directory: Path) -> Iterator[DatabaseServer]:
    """A running server; its log is in the directory, its files are in a private folder and go at the end."""
    if url := os.environ.get("HUB_TEST_POSTGRES_URL"):
        server = DatabaseServer(url)
        try:
            yield server
        finally:
            server.drop_databases()
        return
    programs = find_programs()
    user = unprivileged("postgres")
    with private_folder("pg", user) as folder:
        data = folder / "data"
        options = ["-U", "hub", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        initdb: list[str | Path] = [programs / "initdb", "-D", data, *options]
        run_once(initdb, folder=folder, user=user)
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        process = Process(
            [programs / "postgres", "-D", data, "-k", folder, *settings],
            log=directory / "postgres.log",
            ready=lambda pid: is_ready(data / "postmaster.pid", pid),
            user=user,
            stop_signal=signal.SIGINT,
        )
        process.start()
        try:
            yield DatabaseServer(f"postgresql+asyncpg://hub@/postgres?host={folder}", process)
        finally:
            process.stop()


def find_programs() -> Path:
    """The folder of initdb and postgres: PATH's, else the newest of Debian's."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    raise ServiceMissing("no PostgreSQL: initdb is not on PATH, and HUB_TEST_POSTGRES_URL is not set")


def is_ready(pidfile: Path, pid: int) -> bool:
    """The server writes its state as the eighth line; a killed one's file is still there."""
    with suppress(OSError):
        lines = pidfile.read_text().splitlines()
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False
