"""Benches: what the hub can do on this machine, measured now."""
