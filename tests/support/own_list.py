"""A conversation list that is kept by frames alone, as docs/protocol.md says that a client does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

Frame = dict[str, Any]
MANY: Final = 4
"""From here on the whole list is asked for instead of single conversations."""
_OWN: Final = (
    "pinned_at",
    "muted",
    "muted_until",
    "draft",
    "draft_at",
    "cleared_seq",
    "marked_unread",
    "nickname",
)
_EPOCH: Final = datetime.min.replace(tzinfo=UTC)


@dataclass
class OwnList:
    """The list of one device. `wanted` are conversations to be fetched, with `everything` the whole list: whoever holds
    this does so when nothing more waits to be applied, and applies what comes meanwhile afterwards."""

    me: str
    rows: dict[str, Frame] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    everything: bool = True
    fetched: int = 0
    _asked_at: dict[str, int] = field(default_factory=dict)
    """By conversation: the last applied q when it was asked for."""

    # What the hub answers

    def put_all(self, rows: Sequence[Frame], *, q: int) -> None:
        """The list, asked for when everything up to `q` was applied."""
        self.rows = {row["id"]: row for row in rows}
        self._asked_at = dict.fromkeys(self.rows, q)
        self.everything = False
        self.wanted.clear()

    def put(self, id_: str, row: Frame | None, *, q: int) -> None:
        """One conversation, or that it is the user's no more."""
        self.fetched += 1
        self.wanted.discard(id_)
        if row is None:
            self.rows.pop(id_, None)
        else:
            self.rows[id_] = row
            self._asked_at[id_] = q

    # What the hub says

    def take(self, frame: Frame) -> None:
        """A frame that is not stored, or an entry of the queue."""
        match frame["type"]:
            case "welcome" | "rebase" | "behind" | "stale":
                self.everything = True
            case "grew":
                self.wanted.add(frame["conversation"])
            case "read" if frame["user"] == self.me:
                self._read(frame)
            case "conversation":
                self._state(frame)
            case "message" if frame["id"] is not None:
                self._entry(frame)
            case _:
                pass

    def _entry(self, entry: Frame) -> None:
        if not entry.get("control"):
            self._message(entry)
            return
        body = entry["body"]
        match entry["kind"]:
            case "recall" | "edit" if "seq" in body:
                self._changed(entry["conversation"], body["seq"])
            case "recall":
                self.wanted.add(entry["conversation"])
            case "hidden":
                for seq in body["seqs"]:
                    self._changed(body["conversation"], seq)
            case "notice":
                self._notice(entry["conversation"], body)
            case _:
                pass

    def _message(self, entry: Frame) -> None:
        row = self.rows.get(entry["conversation"])
        if row is None:
            self.wanted.add(entry["conversation"])
            return
        mine, seq = row["mine"], entry["seq"]
        if seq <= mine["cleared_seq"]:
            return
        news = entry["sender"] != self.me and seq > mine["read_seq"]
        if seq <= _last_seq(row):
            # The answer may have it counted in, or may be older than its commit.
            if news and entry["q"] > self._asked_at.get(row["id"], 0):
                self.wanted.add(row["id"])
            return
        row["last_message"] = {k: v for k, v in entry.items() if k not in ("q", "type")}
        if not news or entry["kind"] == "recalled":
            return
        mine["unread"] = min(200, mine["unread"] + 1)
        if {self.me, "@all"} & set(entry.get("mentions") or ()):
            mine["mention"] = seq

    def _changed(self, conversation: str, seq: int) -> None:
        row = self.rows.get(conversation)
        if row is not None and (seq == _last_seq(row) or seq > row["mine"]["read_seq"]):
            self.wanted.add(conversation)

    def _notice(self, conversation: str, body: Frame) -> None:
        users = body.get("users", ())
        names = self.me in users
        if body.get("count", 0) > len(users):
            names = True  # not all are named
        match body["event"]:
            case "left" | "removed" if self.me in users:
                self.rows.pop(conversation, None)
                self.wanted.discard(conversation)
            case "joined" | "left" | "removed" | "silenced" | "role" if (
                not names and conversation in self.rows
            ):
                pass  # only how many there are
            case _:
                self.wanted.add(conversation)

    def _read(self, frame: Frame) -> None:
        row = self.rows.get(frame["conversation"])
        if row is None:
            self.wanted.add(frame["conversation"])
            return
        mine = row["mine"]
        if frame["seq"] <= mine["read_seq"]:
            return
        mine["read_seq"] = frame["seq"]
        if frame["seq"] >= _last_seq(row):
            mine["unread"] = mine["mention"] = 0
        elif mine["unread"]:
            self.wanted.add(row["id"])

    def _state(self, frame: Frame) -> None:
        row = self.rows.get(frame["conversation"])
        if row is None:
            self.wanted.add(frame["conversation"])
            return
        mine = row["mine"]
        if frame["rev"] <= mine["rev"]:
            return
        before = mine["cleared_seq"]
        mine |= {name: frame["mine"][name] for name in _OWN} | {"rev": frame["rev"]}
        if mine["cleared_seq"] > before:
            if mine["cleared_seq"] >= _last_seq(row):
                row["last_message"] = None
                mine["unread"] = mine["mention"] = 0
            else:
                self.wanted.add(row["id"])

    # What is shown

    def shown(self) -> list[Frame]:
        """The list in its order, without what differs for good reasons."""
        return shown(list(self.rows.values()))


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """What two lists are compared by, in the order that protocol.md says: pinned ones first (the newest pin first), the
    inbox, then by the time of the last message."""
    return [_shown(row) for row in sorted(rows, key=_place, reverse=True)]


def _place(row: Mapping[str, Any]) -> tuple[datetime, bool, datetime, str]:
    pinned = row["mine"]["pinned_at"]
    last = row["last_message"]
    at = row["created_at"] if last is None else last["at"]
    return (_time(pinned) if pinned else _EPOCH, row["kind"] == "inbox", _time(at), row["id"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _last_seq(row: Mapping[str, Any]) -> int:
    last = row["last_message"]
    return 0 if last is None else int(last["seq"])


def _shown(row: Mapping[str, Any]) -> Frame:
    last = row["last_message"]
    own = {name: row["mine"][name] for name in ("unread", "mention", "read_seq", "rev", "role", *_OWN)}
    group = row["group"] or {}
    return {
        "id": row["id"],
        "title": row["title"],
        "announced": row["announced"],
        "silenced": group.get("silenced"),
        "over": group.get("dissolved_at"),
        "last": None if last is None else (last["id"], last["seq"], last["kind"], last["body"]),
        **own,
    }
