"""Forwarding: messages copied by the hub into another conversation, so that what was said cannot be forged."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hub.core.bodies import FORWARD
from hub.core.chat_rules import MAX_FORWARD, MAX_FORWARD_DEPTH, Doer, Seen, changeable_fault, derived_id
from hub.core.chat_seeing import Seeing
from hub.core.errors import Refused
from hub.core.message import RECALLED, Accepted, Draft, Message, MessageId, Target
from hub.core.ports import Clock, NewId


class Forwarding:
    """One verb. The doer must be able to read every message, and to write where they go to."""

    def __init__(
        self,
        seeing: Seeing,
        *,
        submit: Callable[[Draft], Awaitable[Accepted]],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._seeing = seeing
        self._submit = submit
        self._clock = clock
        self._new_id = new_id

    async def forward(
        self,
        doer: Doer,
        ids: Sequence[MessageId],
        to: Target,
        *,
        client_msg_id: str,
        merged: bool = False,
        title: str = "",
        most_bytes: int,
    ) -> list[Accepted]:
        """Forward these messages, one by one in their order, or `merged` as a single one of the kind `forward`. A
        repeat with the same client_msg_id goes on where the first one stopped. Raises NotFound, Refused and
        Unavailable."""
        if not 1 <= len(ids) <= MAX_FORWARD:
            raise Refused("request_invalid", f"1 to {MAX_FORWARD} messages.")
        seen = await self._seeing.many(doer, ids)
        for one in seen:
            fault = changeable_fault(one.message) if one.message.kind == RECALLED else None
            if fault is not None:
                raise fault
        if merged:
            body = _merged(seen, title)
            if len(body.encode()) > most_bytes:
                raise Refused("content_too_large", f"Together these are more than {most_bytes:,} bytes.")
            drafts = [self._draft(doer, to, FORWARD, body, seen[0].message.id, client_msg_id, 0)]
        else:
            drafts = [
                self._draft(doer, to, m.kind, m.body, m.id, client_msg_id, place)
                for place, m in enumerate(one.message for one in seen)
            ]
        return [await self._submit(draft) for draft in drafts]

    def _draft(
        self,
        doer: Doer,
        to: Target,
        kind: str,
        body: str,
        source: MessageId,
        client_msg_id: str,
        place: int,
    ) -> Draft:
        return Draft(
            id=MessageId(self._new_id("msg")),
            app=doer.app,
            sender=doer.key,
            sender_id=doer.id,
            to=to,
            kind=kind,
            body=body,
            created_at=self._clock(),
            client_msg_id=derived_id(FORWARD, client_msg_id, place),
            as_member=not doer.business,
            forward_of=source,
        )


def _merged(seen: Sequence[Seen], title: str) -> str:
    parts = [(one.message, json.loads(one.message.body)) for one in seen]
    depth = 1 + max(_depth(message, body) for message, body in parts)
    if depth > MAX_FORWARD_DEPTH:
        raise Refused("forward_too_deep", f"Forwards within forwards: at most {MAX_FORWARD_DEPTH} of them.")
    whole: dict[str, Any] = {
        "title": title,
        "count": len(parts),
        "depth": depth,
        "messages": [
            {
                "id": message.id,
                "sender": message.sender_id,
                "kind": message.kind,
                "at": message.created_at.isoformat().replace("+00:00", "Z"),
                "body": body,
            }
            for message, body in parts
        ],
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _depth(message: Message, body: Any) -> int:
    """How many forwards are inside each other here. Only the hub writes this kind, so its word is taken for it."""
    return int(body["depth"]) if message.kind == FORWARD else 0
