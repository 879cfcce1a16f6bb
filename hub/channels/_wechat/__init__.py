"""Plumbing that the WeChat channels share: codes, callbacks, tokens, the client, field rules. Not a channel."""
