"""Ids, secrets and dice, all from one seed so that a run can be repeated."""

from __future__ import annotations

import base64
import hashlib
import random
from typing import Final

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_LONG: Final = 136
# A real one: larger than 2**53, so that a number in JavaScript or a float loses its last digits.
_BIG_MSGID: Final = 3248682510344192008
_SMALL_MSGID: Final = 200228332


def dice(seed: int, *names: str) -> random.Random:
    """A generator of its own for each name: what one draws does not move another."""
    return random.Random(f"{seed}/{'/'.join(names)}")  # noqa: S311  repeatable on purpose, no secret is at stake


def openid(seed: int, *names: str) -> str:
    """28 letters beginning with o, the same for the same names."""
    digest = hashlib.sha256(f"{seed}/{'/'.join(names)}".encode()).digest()
    return "o" + base64.urlsafe_b64encode(digest).decode()[:27]


class Chance:
    """Draws what WeChat's servers draw."""

    def __init__(self, seed: int, *, draws: int = 0) -> None:
        self.seed = seed
        self._random = dice(seed, "ids", str(draws))

    def access_token(self) -> str:
        """As long and as odd as a real one."""
        return "88_" + "".join(self._random.choices(_LETTERS, k=_LONG))

    def letters(self, count: int) -> str:
        """For templates, codes and tickets."""
        return "".join(self._random.choices(_LETTERS, k=count))

    def digits(self, count: int) -> str:
        """For nonces."""
        return "".join(self._random.choices("0123456789", k=count))

    def hexadecimal(self, count: int) -> str:
        """For appids and secrets."""
        return "".join(self._random.choices("0123456789abcdef", k=count))

    def session_key(self) -> str:
        """16 bytes in base64."""
        return base64.b64encode(self._random.randbytes(16)).decode()

    def rid(self) -> str:
        """A request id as at the end of every errmsg."""
        return "-".join(self.hexadecimal(8) for _ in range(3))

    def echo(self) -> str:
        """What a URL check expects back."""
        return self.digits(19)

    def msgid(self, number: int, *, big: bool) -> int:
        """The number of the nth message."""
        return (_BIG_MSGID if big else _SMALL_MSGID) + number * 3
