"""What one process of a hub does: the API, the gateway of live clients, or both. One code base, opened in parts."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """API answers requests and publishes; GATEWAY holds sockets and long polls; ALL is both in one process."""

    ALL = "all"
    API = "api"
    GATEWAY = "gateway"


_LIVE: Final = ("/v1/ws", "/v1/queue")
_EVERYWHERE: Final = ("/healthz", "/readyz", "/metrics", "/docs/problems")


def role_of(path: str) -> Role:
    """Which role answers a path; ALL says that every one does."""
    if _under(path, _EVERYWHERE):
        return Role.ALL
    return Role.GATEWAY if _under(path, _LIVE) else Role.API


def serves(role: Role, path: str) -> bool:
    """Whether a process of this role answers this path."""
    return Role.ALL in (role, role_of(path)) or role is role_of(path)


def _under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
