"""The one-machine default: an engine of the Redis family, the hub's processes and their supervisor."""


class Trouble(Exception):
    """The hub cannot start or go on here; the text is for the person at the terminal."""
