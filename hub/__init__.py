"""A notification hub: one ordered, durable queue per user, delivered through channel adapters."""

__version__ = "0.1.0"
