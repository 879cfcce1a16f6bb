"""The tables of routing: what is scheduled, gathered and counted."""

from __future__ import annotations
