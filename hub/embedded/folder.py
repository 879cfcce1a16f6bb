"""The data folder of one hub: who holds it, its secret, its address and its API key."""

from __future__ import annotations

import base64
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hub.embedded import Trouble


class DataFolder:
    """Everything in it is for its owner's eyes only."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder where it is missing, and keeps every other hub out of it meanwhile."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            text = f"cannot write to the data folder {self.path} ({error.strerror}); choose another: --data FOLDER"
            raise Trouble(text) from None
        try:
            self._lock(file)
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
            (self.path / "address").unlink(missing_ok=True)  # of a hub that was killed
            yield
        finally:
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode(errors="replace")
            where = self.address() or "not ready yet"
            text = (
                f"a hub is already running on the data folder {self.path} (process {holder}, {where}); "
                "stop it first, or choose another folder: --data FOLDER"
            )
            raise Trouble(text) from None
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):  # a file system without locks
                raise

    def secret_key(self) -> str:
        """32 random bytes in URL-safe base64, made once."""
        file = self.path / "secret.key"
        if not file.exists():
            self._write(file, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        return file.read_text().strip()

    def kept_secret_key(self) -> str | None:
        """The same, if it has been made."""
        return _text_of(self.path / "secret.key")

    def address(self) -> str | None:
        """Where the hub on this folder answers, while it runs."""
        return _text_of(self.path / "address")

    @contextmanager
    def reachable_at(self, address: str) -> Iterator[None]:
        """Tells other commands on this folder where the hub answers."""
        self._write(self.path / "address", address)
        try:
            yield
        finally:
            with suppress(OSError):
                (self.path / "address").unlink()

    def api_key(self) -> str | None:
        """The first key, in plain text: it is made for trying things out on this machine."""
        return _text_of(self.path / "api_key")

    def keep_api_key(self, key: str) -> None:
        """Remembers the first key."""
        if self.api_key() != key:
            self._write(self.path / "api_key", key)

    def _write(self, file: Path, text: str) -> None:
        """The whole file or nothing of it."""
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
            output.write(text + "\n")
            output.flush()
            os.fsync(output.fileno())
        fresh.replace(file)


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None
