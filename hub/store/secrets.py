"""Encryption at rest: what the database must keep but nobody who copies it may read."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hub.core.errors import Unavailable

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_KEY_CHARACTERS = 52  # 5 bits each: 260 bits


class SecretBox:
    """Seals with HUB_SECRET_KEY. Several keys, separated by commas, all open; the first one seals (rotation)."""

    def __init__(self, keys: str) -> None:
        """Raises ValueError for an empty or malformed key, with the way to make one."""
        parts = [part.strip() for part in keys.split(",") if part.strip()]
        try:
            self._fernet = MultiFernet([Fernet(part) for part in parts])
        except ValueError as error:
            message = (
                "HUB_SECRET_KEY must be 32 random bytes in URL-safe base64; make one with: python3 -c "
                "'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            )
            raise ValueError(message) from error

    def seal(self, text: bytes) -> str:
        """Encrypted and authenticated, as text."""
        return self._fernet.encrypt(text).decode("ascii")

    def open(self, sealed: str) -> bytes:
        """What was sealed. Raises Unavailable where no key of ours opens it."""
        try:
            return self._fernet.decrypt(sealed.encode("ascii"))
        except (InvalidToken, UnicodeEncodeError) as error:
            text = "A stored secret cannot be opened with HUB_SECRET_KEY; was the key replaced?"
            raise Unavailable("secret_unreadable", text) from error


def new_secret() -> str:
    """A secret of 260 random bits, letters and digits only, so that a double click selects it whole."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_CHARACTERS))


def bearer_of(key_id: str, secret: str) -> str:
    """The bearer token of an API key: `hub_<key id without its prefix>_<secret>`."""
    return f"hub_{key_id.removeprefix('key_')}_{secret}"


def key_id_of(token: str) -> str | None:
    """The id of the key that a bearer token claims to be; None where it is not shaped like one."""
    middle, _, secret = token.removeprefix("hub_").rpartition("_")
    if not token.startswith("hub_") or not middle or not secret or not token.isascii():
        return None
    return f"key_{middle}"


def digest(text: str) -> str:
    """SHA-256 in hex: enough for a secret of 260 random bits, where a slow hash would only slow us."""
    return hashlib.sha256(text.encode()).hexdigest()
