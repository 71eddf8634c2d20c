"""Webhooks: where they may go, and how patiently they are sent."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

from config import env
from config.settings.core import PRODUCTION

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(values: list[str]) -> list[Network]:
    try:
        return [ipaddress.ip_network(value) for value in values]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"WEBHOOK_ALLOWED_NETWORKS must be networks such as 10.1.0.0/16, comma-separated: {error}."
        ) from None


WEBHOOK_ALLOW_HTTP = env.flag("WEBHOOK_ALLOW_HTTP", not PRODUCTION)
WEBHOOK_ALLOWED_NETWORKS = _networks(env.strings("WEBHOOK_ALLOWED_NETWORKS", []))
"""Private networks that webhooks may reach all the same."""

WEBHOOK_CONNECT_SECONDS = 5.0
WEBHOOK_TOTAL_SECONDS = 10.0
WEBHOOK_RETRY_SECONDS = (5, 30, 120, 600, 1800, 7200, 21_600, 43_200)
"""Waits between attempts, about a day in all; each is varied by a fifth."""
WEBHOOK_DISABLE_FAILURES = 20
WEBHOOK_DISABLE_AFTER = timedelta(days=3)
"""An endpoint is disabled after so many failed attempts in a row, the first of them so long ago."""
WEBHOOK_DELIVERY_RETENTION = timedelta(days=30)
WEBHOOK_MAX_ENDPOINTS = 20
"""Of one organisation."""
