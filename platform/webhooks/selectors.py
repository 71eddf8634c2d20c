"""Reads: an organisation's endpoints and their deliveries."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet

from accounts.actors import Actor
from common.access import get_owned, owned_by
from webhooks.models import WebhookDelivery, WebhookEndpoint


def list_endpoints(*, actor: Actor) -> QuerySet[WebhookEndpoint]:
    return owned_by(actor, WebhookEndpoint).select_related("created_by")


def get_endpoint(*, actor: Actor, webhook_id: uuid.UUID) -> WebhookEndpoint:
    return get_owned(actor, list_endpoints(actor=actor), webhook_id)


def list_deliveries(*, actor: Actor, webhook_id: uuid.UUID, status: str | None = None) -> QuerySet[WebhookDelivery]:
    """Newest first, without the payloads. NotFound where there is no such endpoint."""
    endpoint = get_endpoint(actor=actor, webhook_id=webhook_id)
    rows = owned_by(actor, WebhookDelivery).filter(endpoint=endpoint).defer("payload")
    return rows.filter(status=status) if status else rows


def get_delivery(*, actor: Actor, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery:
    endpoint = get_endpoint(actor=actor, webhook_id=webhook_id)
    rows = owned_by(actor, WebhookDelivery).filter(endpoint=endpoint).select_related("endpoint")
    return get_owned(actor, rows, delivery_id)
