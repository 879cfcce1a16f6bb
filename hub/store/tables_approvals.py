"""The tables of tasks that people decide."""

from __future__ import annotations
