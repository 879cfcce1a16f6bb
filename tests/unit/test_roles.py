"""Which role answers which path."""

from __future__ import annotations

import pytest

from hub.roles import Role, serves


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/v1/ws", Role.GATEWAY),
        ("/v1/queue", Role.GATEWAY),
        ("/v1/queue/ack", Role.GATEWAY),
        ("/v1/queues", Role.API),
        ("/v1/users", Role.API),
        ("/console", Role.API),
        ("/", Role.API),
    ],
)
def test_a_path_belongs_to_one_role(path: str, role: Role) -> None:
    assert [one for one in (Role.API, Role.GATEWAY) if serves(one, path)] == [role]
    assert serves(Role.ALL, path)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs/problems"])
def test_every_role_says_how_it_does(path: str) -> None:
    assert all(serves(role, path) for role in Role)
