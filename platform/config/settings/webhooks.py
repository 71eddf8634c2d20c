"""Webhooks: where they may go, and how patiently they are sent."""

from __future__ import annotations

from datetime import timedelta

from config import env
from config.settings.core import PRODUCTION

WEBHOOK_ALLOW_HTTP = env.flag("WEBHOOK_ALLOW_HTTP", not PRODUCTION)
WEBHOOK_ALLOWED_NETWORKS = env.networks("WEBHOOK_ALLOWED_NETWORKS")
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
