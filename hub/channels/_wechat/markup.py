"""Callback bodies, XML or JSON, into plain values; nothing is expanded, fetched or trusted on the way.

A DTD is refused when it begins, so there are no entities to expand and no external file to name. Size, depth, number of
elements and length of texts are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias
from xml.parsers import expat

Node: TypeAlias = "str | dict[str, Node] | list[Node]"
Fields: TypeAlias = Mapping[str, Node]

MAX_BYTES: Final = 65_536
_MAX_DEPTH: Final = 8
_MAX_NODES: Final = 2_000
_MAX_ATTRIBUTES: Final = 0


class Unreadable(ValueError):
    """Not a body that WeChat would send."""


def parse(body: bytes, *, max_bytes: int = MAX_BYTES) -> Fields:
    """The fields of a body: XML where it begins with `<`, otherwise JSON. Raises Unreadable.

    Numbers come as text, so that a msgid keeps all its digits; a repeated XML element comes as a list.
    """
    if len(body) > max_bytes:
        raise Unreadable(f"more than {max_bytes} bytes")
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    fields = _Tree().read(start) if start.startswith(b"<") else _json(start)
    _Budget().check(fields, 0)
    return fields


def _json(body: bytes) -> Fields:
    try:
        value = json.loads(body.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return _plain(value, 0)  # type: ignore[return-value]


def _no_constants(name: str) -> str:
    raise Unreadable(f"{name} is not JSON")


def _plain(value: object, depth: int) -> Node:
    """The same with text for every scalar: WeChat sends 0, "0" and nothing for the same thing."""
    if depth > _MAX_DEPTH:
        raise Unreadable("nested too deeply")
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Budget:
    """What may come in all, and which characters may not."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def check(self, node: Node | Fields, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise Unreadable("too many elements")
        if isinstance(node, str):
            _check_text(node)
        elif isinstance(node, list):
            for item in node:
                self.check(item, depth + 1)
        else:
            for key, item in node.items():
                _check_text(key)
                self.check(item, depth + 1)


def _check_text(text: str) -> None:
    """JSON can spell what no database takes: NUL and lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unreadable("characters that are no text") from error
    if "\x00" in text:
        raise Unreadable("characters that are no text")


class _Tree:
    """Elements as a dict of their children, or as their text where they have none."""

    def __init__(self) -> None:
        self._stack: list[dict[str, Node]] = []
        self._texts: list[list[str]] = []
        self._root: Node | None = None
        self._nodes = 0
        # UTF-8 whatever the declaration says: another encoding would let the same bytes be read in two ways.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.UnparsedEntityDeclHandler = self._refuse
        self._parser.ExternalEntityRefHandler = self._refuse
        self._parser.ProcessingInstructionHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def read(self, body: bytes) -> Fields:
        try:
            self._parser.Parse(body, True)
        except expat.ExpatError as error:
            raise Unreadable("not well-formed XML in UTF-8") from error
        if not isinstance(self._root, dict):
            raise Unreadable("no elements")
        return self._root

    def _refuse(self, *_: object) -> int:
        raise Unreadable("a DTD, an entity or a processing instruction")

    def _start(self, _name: str, attributes: dict[str, str]) -> None:
        self._nodes += 1
        if len(self._stack) >= _MAX_DEPTH or self._nodes > _MAX_NODES or len(attributes) > _MAX_ATTRIBUTES:
            raise Unreadable("more elements or attributes than WeChat sends")
        self._stack.append({})
        self._texts.append([])

    def _text(self, text: str) -> None:
        self._texts[-1].append(text)

    def _end(self, name: str) -> None:
        children, texts = self._stack.pop(), self._texts.pop()
        node: Node = children or "".join(texts)
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        earlier = parent.get(name)
        if earlier is None:
            parent[name] = node
        elif isinstance(earlier, list):
            earlier.append(node)
        else:
            parent[name] = [earlier, node]
