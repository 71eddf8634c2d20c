"""Home Assistant's protocol (`manage.py wyoming`)."""

from __future__ import annotations

from config import env

WYOMING_API_KEY = env.text("WYOMING_API_KEY")
"""Whose scopes, quota and usage count where the command names no key."""
WYOMING_MAX_CONNECTIONS = env.integer("WYOMING_MAX_CONNECTIONS", 100, minimum=1)
WYOMING_IDLE_SECONDS = env.integer("WYOMING_IDLE_SECONDS", 60, minimum=1)
