"""Tells an organisation's endpoints what happened: rows and tasks, in the caller's transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from common.serializers import json_time
from webhooks.models import WebhookDelivery, WebhookEndpoint

Data = dict[str, Any]

CACHE_SECONDS = 2.0
"""Other processes learn of new endpoints after so long. This one does at once: see `forget_subscriptions`."""
_CACHE_SIZE = 10_000

_subscriptions: dict[uuid.UUID, tuple[float, frozenset[str]]] = {}


def publish(
    *, organization_id: uuid.UUID, event: str, data: Callable[[], Data], object_id: uuid.UUID | None = None
) -> None:
    """Queues `event` for every endpoint that subscribes to it. Call it in the transaction that makes it true.

    event: one of `webhooks.models.Event`. data: JSON values, asked for only when somebody listens; never a secret.
    object_id: what it is about, so that its deletion can reach the deliveries.
    """
    if event not in _wanted(organization_id):
        return
    listening = WebhookEndpoint.objects.filter(organization_id=organization_id, active=True, events__contains=[event])
    endpoints = list(listening)
    if endpoints:
        deliver_to(endpoints, event=event, data=data(), object_id=object_id)


def deliver_to(
    endpoints: list[WebhookEndpoint], *, event: str, data: Data, object_id: uuid.UUID | None = None
) -> list[WebhookDelivery]:
    """A delivery and its task for each of the endpoints."""
    event_id, body = new_event_id(), payload(event, data)
    with transaction.atomic():
        rows = WebhookDelivery.objects.bulk_create(
            WebhookDelivery(
                organization_id=endpoint.organization_id,
                endpoint=endpoint,
                event_id=event_id,
                event=event,
                object_id=object_id,
                payload=body,
                next_attempt_at=timezone.now(),
            )
            for endpoint in endpoints
        )
        for row in rows:
            enqueue(row)
    return rows


def new_event_id() -> str:
    return f"evt_{uuid.uuid4().hex}"


def payload(event: str, data: Data) -> dict[str, Any]:
    """What is sent: `{type, timestamp, data}`, as the Standard Webhooks scheme has it."""
    return {"type": str(event), "timestamp": json_time(timezone.now()), "data": data}


def enqueue(delivery: WebhookDelivery) -> None:
    """The task of the delivery's next attempt."""
    from webhooks.tasks import deliver

    deliver.configure(schedule_at=delivery.next_attempt_at).defer(
        delivery_id=str(delivery.id), attempt=delivery.attempts
    )


def forget(*, object_id: uuid.UUID, kept: Data) -> None:
    """Takes what was said about a deleted object out of its deliveries, also those still to be sent; `kept` stays."""
    rows = WebhookDelivery.objects.filter(object_id=object_id)
    for row in rows.only("payload"):
        row.payload = {**row.payload, "data": {**kept, "content_deleted": True}}
        row.save(update_fields=["payload"])


def forget_subscriptions(organization_id: uuid.UUID) -> None:
    _subscriptions.pop(organization_id, None)


def _wanted(organization_id: uuid.UUID) -> frozenset[str]:
    """The events that anybody listens to: no query within CACHE_SECONDS, else one on a small partial index."""
    now = time.monotonic()
    kept = _subscriptions.get(organization_id)
    if kept is None or kept[0] < now:
        active = WebhookEndpoint.objects.filter(organization_id=organization_id, active=True)
        found = frozenset(event for events in active.values_list("events", flat=True) for event in events)
        if len(_subscriptions) >= _CACHE_SIZE:
            _subscriptions.clear()
        kept = _subscriptions[organization_id] = (now + CACHE_SECONDS, found)
    return kept[1]
