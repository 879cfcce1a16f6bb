"""The engine's bounds, from the settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hub.core.chat_rules import ChatLimits
from hub.core.dispatch import DispatchLimits
from hub.core.engine import EngineLimits
from hub.core.ingest import IngestLimits
from hub.settings import Settings

_INLINE_LEASE: Final = timedelta(seconds=15)


def engine_limits(settings: Settings) -> EngineLimits:
    """The engine's bounds, as these settings say."""
    return EngineLimits(
        ingest=IngestLimits(
            window=settings.batch_window,
            size=settings.batch_size,
            backlog=settings.ingest_backlog,
            timeout=settings.commit_timeout,
            inline_lease=_INLINE_LEASE,
        ),
        dispatch=DispatchLimits(lease=settings.delivery_lease, call_timeout=settings.delivery_lease * 0.8),
        gap_grace=settings.gap_grace,
        tail_size=settings.tail_size,
        republish_after=settings.republish_after,
        republish_margin=settings.republish_margin,
        chat=ChatLimits(settings.recall_window, settings.edit_window),
    )
