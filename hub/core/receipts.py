"""Receipts as text, for parking: a provider may say how a send ended before we have saved the send's id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from hub.core.outcome import Accepted, Delivered, Reason, Rejected, Unknown

Receipt: TypeAlias = Accepted | Delivered | Rejected | Unknown
"""What can be said afterwards: a receipt never asks for another try."""

_KINDS: Mapping[str, type[Accepted | Delivered | Rejected | Unknown]] = {
    "accepted": Accepted,
    "delivered": Delivered,
    "rejected": Rejected,
    "unknown": Unknown,
}


def encode(receipt: Receipt) -> str:
    """As JSON."""
    kind = next(name for name, made in _KINDS.items() if isinstance(receipt, made))
    words: dict[str, Any] = {"kind": kind, "detail": receipt.detail}
    if isinstance(receipt, Rejected | Unknown):
        words |= {"reason": receipt.reason.value, "code": receipt.code}
    else:
        words["provider_id"] = receipt.provider_id
    return json.dumps(words, ensure_ascii=False)


def decode(text: str) -> Receipt:
    """From JSON. Raises ValueError or KeyError for what `encode` did not write."""
    words = json.loads(text)
    match words["kind"]:
        case "accepted":
            return Accepted(words["provider_id"], words["detail"])
        case "delivered":
            return Delivered(words["provider_id"], words["detail"])
        case "rejected":
            return Rejected(Reason(words["reason"]), words["detail"], words.get("code", ""))
        case "unknown":
            return Unknown(Reason(words["reason"]), words["detail"], words.get("code", ""))
        case other:
            message = f"no receipt is of the kind {other!r}"
            raise ValueError(message)
