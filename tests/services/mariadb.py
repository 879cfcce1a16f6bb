"""A MariaDB for tests: HUB_TEST_MYSQL_URL, or the programs of this machine on a private socket."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.database import DatabaseServer
from tests.services.process import Process, ServiceMissing, private_folder, run_once, unprivileged


@contextmanager
def start_mariadb(directory: Path) -> Iterator[DatabaseServer]:
    """A running server; its log is in the directory, its files are in a private folder and go at the end."""
    if url := os.environ.get("HUB_TEST_MYSQL_URL"):
        server = DatabaseServer(url)
        try:
            yield server
        finally:
            server.drop_databases()
        return
    install, program = find_program("mariadb-install-db"), find_program("mariadbd")
    user = unprivileged("mysql")
    with private_folder("mysql", user) as folder:
        data, listening = folder / "data", folder / "s"
        options = ["--no-defaults", f"--datadir={data}"]
        first = [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        run_once(first, folder=folder, user=user)
        process = Process(
            # Flushing to the kernel at each commit is enough to survive a kill.
            [
                *(program, *options, f"--socket={listening}", f"--pid-file={folder / 'pid'}"),
                *("--skip-networking", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2"),
                *("--innodb-buffer-pool-size=64M", "--max-connections=200", "--character-set-server=utf8mb4"),
            ],
            log=directory / "mariadb.log",
            ready=lambda _: is_ready(listening),
            user=user,
        )
        process.start()
        try:
            yield DatabaseServer(
                f"mysql+asyncmy://root@localhost/mysql?unix_socket={listening}&charset=utf8mb4", process
            )
        finally:
            process.stop()


def find_program(name: str) -> str:
    """The program on PATH or where Debian has it, which is not on everybody's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/libexec")
    if found is None:
        raise ServiceMissing(f"no MariaDB: {name} is not on PATH, and HUB_TEST_MYSQL_URL is not set")
    return found


def is_ready(path: Path) -> bool:
    """A server that takes connections greets first."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            return len(client.recv(5)) == 5
    except OSError:
        return False
