"""Values of full-text search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from hub.core.message import AppId, ConversationId, Message, UserKey
from hub.core.records import PageRequest, Slice
from hub.core.search_terms import Snippet


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. `viewer` None is the business system, which sees all messages of its app."""

    query: str
    viewer: UserKey | None = None
    conversation: ConversationId | None = None
    sender: UserKey | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that has all that was looked for, and where."""

    message: Message
    snippet: Snippet


class MessageSearch(Protocol):
    """The database's own index over what messages say. It lags behind the commits by a moment."""

    async def search(self, app: AppId, wanted: Search, page: PageRequest) -> Slice[Hit]:
        """The newest hits first, as far as the viewer may see them: in conversations that they are in, since they
        joined, neither cleared, hidden nor recalled. A page may be short and have a next. Raises Refused
        search_empty, cursor_invalid, not_searchable."""
        ...

    async def index(self, *, limit: int) -> int:
        """Index messages of at most this many batches that are committed and not indexed. Returns how many batches.
        Anybody may do this at any time."""
        ...


_BATCHES: Final = 20
_SECONDS: Final = 2.0


async def keep_indexed(index: MessageSearch) -> None:
    """Index what is waiting, for a moment at most: whoever calls has other things to do, and calls again."""
    began = time.monotonic()
    while await index.index(limit=_BATCHES) == _BATCHES and time.monotonic() - began < _SECONDS:
        pass
