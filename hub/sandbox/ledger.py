"""Counts of what really happened, kept apart from the rules that decide, so that tests can convict them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hub.sandbox.state import Message


@dataclass(slots=True)
class Ledger:
    """Every send that reached a phone, every call, every callback try. Begins empty at each start."""

    calls: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    suppressed: int = 0
    past_grants: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    callbacks: Counter[str] = field(default_factory=Counter)
    _by_client_id: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _by_content: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _granted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _spent: Counter[tuple[str, str]] = field(default_factory=Counter)

    def called(self, path: str, outcome: str) -> None:
        """A call was answered: the errcode, or what happened to the connection."""
        self.calls[path] += 1
        self.answers[f"{path} {outcome}"] += 1

    def sent(self, message: Message) -> None:
        """A message was accepted."""
        self.accepted[message.api] += 1
        self.statuses[str(message.status)] += 1
        if message.client_msg_id:
            self._by_client_id[message.appid, message.openid, message.client_msg_id] += 1
        self._by_content[message.openid, message.template_id, repr(message.lines)] += 1

    def granted(self, openid: str, template_id: str) -> None:
        """A person accepted one more message."""
        self._granted[openid, template_id] += 1

    def voided(self, openid: str, template_id: str) -> None:
        """What was left of a person's acceptances is gone."""
        self._granted[openid, template_id] = self._spent[openid, template_id]

    def spent(self, openid: str, template_id: str) -> None:
        """A one-time acceptance was used."""
        key = openid, template_id
        self._spent[key] += 1
        self.past_grants += self._spent[key] > self._granted[key]

    def report(self) -> dict[str, Any]:
        """All of it as JSON. Doubles are client_msg_ids, or contents, that reached one openid twice."""
        return {
            "calls": dict(self.calls),
            "answers": dict(self.answers),
            "troubles": dict(self.troubles),
            "tokens": dict(self.tokens),
            "callbacks": dict(self.callbacks),
            "messages": {
                "accepted": sum(self.accepted.values()),
                "by_api": dict(self.accepted),
                "by_status": dict(self.statuses),
                "suppressed_duplicates": self.suppressed,
            },
            "doubles": [
                {"appid": appid, "openid": openid, "client_msg_id": client_msg_id, "sent": count}
                for (appid, openid, client_msg_id), count in self._by_client_id.items()
                if count > 1
            ],
            "same_content": [
                {"openid": openid, "template_id": template_id, "lines": lines, "sent": count}
                for (openid, template_id, lines), count in self._by_content.items()
                if count > 1
            ],
            "grants": {
                "spent": sum(self._spent.values()),
                "sends_past_grants": self.past_grants,
            },
        }
