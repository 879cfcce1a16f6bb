"""A faithful local WeChat: its API, error codes, callbacks, troubles and a phone to look at. Knows no hub."""
