"""The tables of what people do to messages: reactions, pins, mentions, what one user hid."""

from __future__ import annotations
