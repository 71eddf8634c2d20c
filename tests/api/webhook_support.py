"""What the tests of webhooks share: making one, waiting for deliveries, saying that something happened."""

from __future__ import annotations

import time
from typing import Any

from tests.conftest import Client, Tenant
from webhooks import events
from webhooks.models import WebhookDelivery


def register(client: Client, url: str, *wanted: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": url, **({"events": list(wanted)} if wanted else {}), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def ended(webhook_id: str, count: int = 1, seconds: float = 20) -> list[WebhookDelivery]:
    """The endpoint's deliveries, oldest first, once `count` of them have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = list(WebhookDelivery.objects.filter(endpoint_id=webhook_id).order_by("created_at"))
        if sum(row.finished_at is not None for row in rows) >= count:
            return rows
        time.sleep(0.02)
    raise AssertionError([(row.status, row.attempts, row.error) for row in rows])


def publish(tenant: Tenant, event: str = "voice.ready", **data: Any) -> None:
    events.publish(organization_id=tenant.organization.id, event=event, data=lambda: data)
