"""The bodies of the newest messages, in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final

from hub.core.bodies import EDIT, RECALL
from hub.core.message import Message, MessageId, Published

_BELIEVED: Final = 60.0
"""Seconds. Changes that another node commits are told by the broker, at most once: what was not heard of ends here."""


def changed_bodies(published: Iterable[Published]) -> list[MessageId]:
    """The messages whose bodies were changed by what is published."""
    return [
        item.message.reply_to
        for item in published
        if item.message.control and item.message.reply_to is not None and item.message.kind in (EDIT, RECALL)
    ]


class BodyCache:
    """A burst of readers costs the store one query, not one each. What changes is forgotten, not kept up to date."""

    def __init__(
        self,
        *,
        capacity: int = 4_096,
        max_body: int = 8_192,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._max_body = max_body
        self._monotonic = monotonic
        self._bodies: OrderedDict[MessageId, tuple[Message, float]] = OrderedDict()
        self._controls: dict[MessageId, set[MessageId]] = {}
        self.forgotten = 0
        """How often something was: to be asked before the store is, for `put`."""

    def put(self, messages: Collection[Message], *, since: int | None = None) -> None:
        """Remember these, except the large ones; nothing where something was forgotten `since` they were read."""
        if since is not None and since != self.forgotten:
            return
        now = self._monotonic()
        for message in messages:
            if len(message.body) <= self._max_body:
                self._bodies[message.id] = (message, now)
                if message.control and message.reply_to is not None:
                    self._controls.setdefault(message.reply_to, set()).add(message.id)
        while len(self._bodies) > self._capacity:
            _, (oldest, _) = self._bodies.popitem(last=False)
            self._release(oldest)

    def known(self, messages: Collection[MessageId]) -> dict[MessageId, Message]:
        """Those of them that are here, for the caller to hold: a moment later the cache may have let go of them."""
        found: dict[MessageId, Message] = {}
        oldest = self._monotonic() - _BELIEVED
        for id_ in messages:
            kept = self._bodies.get(id_)
            if kept is not None and kept[1] >= oldest:
                found[id_] = kept[0]
        return found

    def forget(self, messages: Collection[MessageId]) -> None:
        """These have changed, and so may have what told of their earlier changes."""
        self.forgotten += 1
        for id_ in messages:
            for gone in (id_, *self._controls.pop(id_, ())):
                self._bodies.pop(gone, None)

    def _release(self, message: Message) -> None:
        controls = self._controls.get(message.reply_to) if message.reply_to is not None else None
        if controls is not None and message.reply_to is not None:
            controls.discard(message.id)
            if not controls:
                del self._controls[message.reply_to]
