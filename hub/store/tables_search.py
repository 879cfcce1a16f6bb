"""Terms of messages, for full-text search."""

from __future__ import annotations
