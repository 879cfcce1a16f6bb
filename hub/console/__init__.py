"""The page that a person sees at `/`: the hub's health, and two phones to try it with. Assets only, no API."""

from hub.console.page import router

__all__ = ["router"]
