"""Writes: an organisation's endpoints, tests and repeated deliveries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from audit import services as audit
from common import errors
from common.models import write
from webhooks import delivering, events, signing, targets
from webhooks.models import TEST_EVENT, DeliveryStatus, WebhookDelivery, WebhookEndpoint

ROTATION_OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation still signs, beside the new one."""


def create_endpoint(
    *, actor: Actor, url: str, events: list[str], description: str = "", active: bool = True
) -> tuple[WebhookEndpoint, str]:
    """The row, and the signing secret, which is not shown again. Raises TargetRefused, and Conflict after too many."""
    targets.check(url)
    with transaction.atomic():
        Organization.objects.select_for_update().get(id=actor.organization.id)  # two at once must not pass the limit
        if WebhookEndpoint.objects.filter(organization=actor.organization).count() >= settings.WEBHOOK_MAX_ENDPOINTS:
            message = f"An organisation has at most {settings.WEBHOOK_MAX_ENDPOINTS} webhooks."
            raise errors.Conflict(message, code="too_many_webhooks")
        row = WebhookEndpoint.objects.create(
            organization=actor.organization,
            created_by=actor.user,
            url=url,
            events=events,
            description=description,
            active=active,
        )
        audit.record(actor=actor, action="webhook.created", target=row, events=events)
    _changed(row)
    return row, signing.secret_of(row.salt)


def update_endpoint(*, actor: Actor, endpoint: WebhookEndpoint, changes: dict[str, Any]) -> WebhookEndpoint:
    """Changes URL, events, description or `active`. Activating forgets the failures until then."""
    if "url" in changes and changes["url"] != endpoint.url:
        targets.check(changes["url"])
    with transaction.atomic():
        if write(endpoint, {**changes, **(_without_failures() if changes.get("active") else {})}):
            audit.record(actor=actor, action="webhook.updated", target=endpoint, changed=sorted(changes))
    _changed(endpoint)
    return endpoint


def rotate_secret(*, actor: Actor, endpoint: WebhookEndpoint) -> tuple[WebhookEndpoint, str]:
    """A new signing secret; the old one goes on signing beside it for ROTATION_OVERLAP."""
    endpoint.previous_salt, endpoint.salt = endpoint.salt, signing.new_salt()
    endpoint.previous_until = timezone.now() + ROTATION_OVERLAP
    with transaction.atomic():
        endpoint.save(update_fields=["salt", "previous_salt", "previous_until"])
        audit.record(actor=actor, action="webhook.secret_rotated", target=endpoint)
    return endpoint, signing.secret_of(endpoint.salt)


def delete_endpoint(*, actor: Actor, endpoint: WebhookEndpoint) -> None:
    """Deletes it with its deliveries; what is still to be sent is not."""
    with transaction.atomic():
        audit.record(actor=actor, action="webhook.deleted", target=endpoint)
        endpoint.delete()
    _changed(endpoint)


def send_test(*, actor: Actor, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Sends `webhook.test` now, once, also to an inactive endpoint; the delivery with its outcome."""
    with transaction.atomic():
        delivery = WebhookDelivery.objects.create(
            organization_id=endpoint.organization_id,
            endpoint=endpoint,
            event_id=events.new_event_id(),
            event=TEST_EVENT,
            object_id=endpoint.id,
            payload=events.payload(TEST_EVENT, {"webhook_id": str(endpoint.id), "message": "This is a test."}),
        )
        audit.record(actor=actor, action="webhook.tested", target=endpoint)
    delivering.send(delivery)
    return delivery


def redeliver(*, actor: Actor, delivery: WebhookDelivery) -> WebhookDelivery:
    """Queues the same event, under the same id, once more. Raises Conflict while it is pending or the webhook off."""
    if delivery.status == DeliveryStatus.PENDING:
        raise errors.Conflict("The delivery is still being attempted.", code="delivery_pending")
    if not delivery.endpoint.active:
        raise errors.Conflict("The webhook is disabled; activate it first.", code="webhook_disabled")
    with transaction.atomic():
        again = WebhookDelivery.objects.create(
            organization_id=delivery.organization_id,
            endpoint=delivery.endpoint,
            event_id=delivery.event_id,
            event=delivery.event,
            object_id=delivery.object_id,
            payload=delivery.payload,
            next_attempt_at=timezone.now(),
        )
        events.enqueue(again)
        audit.record(actor=actor, action="webhook.redelivered", target=delivery.endpoint, event_id=delivery.event_id)
    return again


def _without_failures() -> dict[str, Any]:
    return {"consecutive_failures": 0, "failing_since": None, "disabled_at": None, "disabled_reason": ""}


def _changed(endpoint: WebhookEndpoint) -> None:
    events.forget_subscriptions(endpoint.organization_id)
