"""What the core can refuse or fail with. The rim turns each into a problem document or an error frame.

HubError
├── Refused             the request is at fault; a repeat will not help
│   ├── NotFound
│   ├── Forbidden
│   └── Conflict
└── Unavailable         the hub is at fault, for now; a repeat with the same ids is safe

Store-level signals, never seen outside the core:
SequenceTaken, StaleConversation, AlreadyAccepted
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta


class HubError(Exception):
    """`code` is stable and documented, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Refused(HubError):
    """The request cannot be done as it stands."""


class NotFound(Refused):
    """There is no such thing, or it is not the caller's to see."""


class Forbidden(Refused):
    """The caller may not do this."""


class Conflict(Refused):
    """It contradicts something that was accepted earlier."""


class Unavailable(HubError):
    """A part that the hub needs is away. Nothing was acknowledged."""

    def __init__(self, code: str, detail: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class SequenceTaken(Exception):
    """A number or id of the batch exists already: the fence held. Heal the sequences and draw again."""


class StaleConversation(Exception):
    """The membership that a batch was built from has changed."""

    def __init__(self, conversations: Collection[str]) -> None:
        super().__init__(f"{len(conversations)} conversations changed")
        self.conversations = frozenset(conversations)


class QueueUnavailable(Exception):
    """The fast copy (Redis) cannot be reached; the store can still do the work, slower."""
