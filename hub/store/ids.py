"""How ids are made: by everything that runs, and by the command line."""

from __future__ import annotations

import uuid_utils


def new_id(prefix: str) -> str:
    """A prefixed UUIDv7 (RFC 9562): ids sort by the time they were made."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
