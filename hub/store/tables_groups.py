"""The tables of groups beside conversation and member: notices that are still to be sent."""

from __future__ import annotations
