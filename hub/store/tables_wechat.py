"""The tables of accounts at WeChat: secrets encrypted, addresses, templates, subscriptions."""

from __future__ import annotations
