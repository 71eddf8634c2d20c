"""What is counted of webhooks: where no server runs, whose worker would deliver those of earlier tests meanwhile."""

from __future__ import annotations

from observability import scraping
from tests.api.support import refused_delivery
from tests.conftest import make_tenant
from tests.observability.support import Metrics


def test_webhooks(database: None) -> None:
    """To an address where nobody listens."""
    from webhooks import delivering
    from webhooks.models import DeliveryStatus, WebhookDelivery

    delivery = refused_delivery(make_tenant("no server"))
    WebhookDelivery.objects.filter(id=delivery.id).update(status=DeliveryStatus.PENDING, attempts=99)
    delivery.refresh_from_db()
    before = Metrics(scraping.exposition().decode())
    delivering.send(delivery)
    after = Metrics(scraping.exposition().decode())
    for name, labels in (
        ("speech_webhook_attempts_total", {"outcome": "failed"}),
        ("speech_webhook_deliveries_total", {"status": "failed"}),
    ):
        assert after(name, **labels) == before(name, **labels) + 1
