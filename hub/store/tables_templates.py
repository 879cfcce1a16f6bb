"""The tables of hub templates."""

from __future__ import annotations
