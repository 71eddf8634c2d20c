"""The queue's tasks of this application. Procrastinate finds them here."""

from __future__ import annotations

from django.db import connection
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app


@app.task(name="analytics.quota_warning", queue="notices", retry=RetryStrategy(max_attempts=6, exponential_wait=5))
def quota_warning(organization_id: str, level: int) -> None:
    """Sends one warning. A mail server that is down gets it later."""
    from accounts.models import Organization
    from analytics.notices import notify_quota

    try:
        notify_quota(Organization.objects.select_related("quota").get(id=organization_id), level)
    finally:
        connection.close()
