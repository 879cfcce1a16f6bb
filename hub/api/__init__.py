"""REST, thin: one router a resource over the core's ports."""

from hub.api.application import include_api, new_app
from hub.api.deps import EngineApi, PresenceApi, Readiness, Services

__all__ = ["EngineApi", "PresenceApi", "Readiness", "Services", "include_api", "new_app"]
