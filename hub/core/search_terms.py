"""Pure: text into terms that any full-text engine takes as they are, and hits back into places in the text.

Words of letters and digits are one term each. Scripts without spaces (Chinese, Japanese, Korean, Thai) and emoji come
as runs: every character and every pair of neighbours is a term. What must hold of a hit is more than its terms: a run
must stand there as a whole, which `places` verifies.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MOST_TEXT: Final = 16_384
"""Characters of a message that are searched."""
MOST_QUERY: Final = 200
MOST_TOKENS: Final = 16
"""Of a query; what comes after is not looked for."""
_WORD_BYTES: Final = 36
_AROUND: Final = 40
_MOST_PLACES: Final = 20

_FIELDS: Final = frozenset(
    {
        "text",
        "caption",
        "title",
        "subtitle",
        "name",
        "file_name",
        "filename",
        "description",
        "summary",
        "content",
        "address",
        "label",
    }
)
_DEEP: Final = 4
_RUNS: Final = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x9FFF),
    (0xA000, 0xA4CF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0x1F000, 0x1FAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or a run of characters of which each counts. `starts` and `ends` say where each folded character comes
    from in the text."""

    text: str
    run: bool
    starts: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a text with what was found in it: (first character, one past the last) within `text`."""

    text: str
    places: tuple[tuple[int, int], ...]
    before: bool
    """Something of the text was left out before it."""
    after: bool


def text_of(body: Any) -> str:
    """What a message says in words: its text, captions, names of files, titles of cards and places."""
    return "\n".join(_texts(body, 0))[:MOST_TEXT]


def _texts(body: Any, depth: int) -> Iterator[str]:
    match body:
        case str():
            if depth == 0:
                yield body
        case dict():
            for name, value in body.items():
                if isinstance(value, str):
                    if name in _FIELDS:
                        yield value
                elif depth < _DEEP:
                    yield from _texts(value, depth + 1)
        case list() if depth < _DEEP:
            for value in body:
                yield from _texts(value, depth + 1)
        case _:
            return


def tokens(text: str) -> list[Token]:
    """The words and runs of a text, in their order."""
    found: list[Token] = []
    letters: list[str] = []
    starts: list[int] = []
    run: bool | None = None

    def close() -> None:
        if letters:
            found.append(Token("".join(letters), bool(run), tuple(starts), tuple(at + 1 for at in starts)))
            letters.clear()
            starts.clear()

    for place, character in enumerate(text):
        for folded in _fold(character):
            kind = _kind(folded)
            if kind is None or kind != run:
                close()
            run = kind
            if kind is not None:
                letters.append(folded)
                starts.append(place)
    close()
    return found


def terms(text: str) -> list[str]:
    """Every term of a text, once, sorted."""
    found: set[str] = set()
    for token in tokens(text):
        if not token.run:
            found.add(_word(token.text))
            continue
        found.update(_run(character) for character in token.text)
        found.update(_run(pair) for pair in _pairs(token.text))
    return sorted(found)


def wanted_terms(query: Sequence[Token]) -> list[str]:
    """The terms that a message must all have to be a hit."""
    found: set[str] = set()
    for token in query:
        if not token.run:
            found.add(_word(token.text))
        elif len(token.text) == 1:
            found.add(_run(token.text))
        else:
            found.update(_run(pair) for pair in _pairs(token.text))
    return sorted(found)


def query_of(text: str) -> list[Token]:
    """What is looked for; empty where there is nothing to look for."""
    return tokens(text[:MOST_QUERY])[:MOST_TOKENS]


def places(text: str, query: Sequence[Token]) -> list[tuple[int, int]] | None:
    """Where in the text each of the query's words and runs stands, ascending; None where one of them does not."""
    said = tokens(text)
    found: set[tuple[int, int]] = set()
    for token in query:
        here = [spot for other in said if other.run == token.run for spot in _spots(other, token)]
        if not here:
            return None
        found.update(here)
    return _merged(sorted(found))


def snippet(text: str, spots: Sequence[tuple[int, int]]) -> Snippet:
    """The text around the first place, with the places that are in it."""
    first, last = (max(0, spots[0][0] - _AROUND), spots[0][1] + _AROUND) if spots else (0, 2 * _AROUND)
    piece = text[first:last]
    inside = [(start - first, end - first) for start, end in spots if end <= first + len(piece)]
    return Snippet(piece, tuple(inside[:_MOST_PLACES]), first > 0, first + len(piece) < len(text))


def scope_term(kind: str, id_: str) -> str:
    """A term that says where a message is, so that the index itself keeps apart what must not meet."""
    return f"in{kind}{hashlib.sha256(id_.encode()).hexdigest()[:20]}"


def _spots(said: Token, wanted: Token) -> Iterator[tuple[int, int]]:
    if not wanted.run:
        if said.text == wanted.text:
            yield said.starts[0], said.ends[-1]
        return
    at = said.text.find(wanted.text)
    while at >= 0:
        yield said.starts[at], said.ends[at + len(wanted.text) - 1]
        at = said.text.find(wanted.text, at + 1)


def _merged(spots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in spots:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


@lru_cache(maxsize=16_384)
def _fold(character: str) -> str:
    """Small letters of normal width without accents; nothing for what only changes how another one looks."""
    if character.isascii():
        return character.lower()
    wide = unicodedata.normalize("NFKC", character)
    if any(_is_run(one) for one in wide):
        return wide
    apart = unicodedata.normalize("NFKD", character).casefold()
    return "".join(one for one in apart if not unicodedata.category(one).startswith("M")) or (
        "" if unicodedata.category(character)[0] in "MC" else character
    )


@lru_cache(maxsize=16_384)
def _kind(folded: str) -> bool | None:
    """True in a run, False in a word, None between them."""
    if _is_run(folded):
        return True
    return False if folded.isalnum() else None


def _is_run(character: str) -> bool:
    if character.isascii():
        return False
    code = ord(character)
    return any(low <= code <= high for low, high in _RUNS) or unicodedata.category(character) == "So"


def _pairs(text: str) -> Iterator[str]:
    return (text[place : place + 2] for place in range(len(text) - 1))


def _word(word: str) -> str:
    """No word of ours is on a stop list, too short or too long for an index, or anything but letters and digits."""
    raw = word.encode()
    if len(raw) > _WORD_BYTES:
        return "wl" + hashlib.sha256(raw).hexdigest()[:32]
    return "wx" + raw.hex()


def _run(characters: str) -> str:
    return "cj" + "".join(f"{ord(one):05x}" for one in characters)
