"""The tables of webhooks: endpoints, events, and each one's way there."""

from __future__ import annotations
