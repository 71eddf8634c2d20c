"""The course of a delivery: attempts, their log, what a failure costs the endpoint, and the end."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from audit import services as audit
from common import context, db
from common.serializers import json_time
from jobs.queue import Later
from observability import metrics
from webhooks import events, sending, signing, targets
from webhooks.models import TEST_EVENT, DeliveryStatus, Event, WebhookDelivery, WebhookEndpoint
from webhooks.sending import Outcome

log = logging.getLogger(__name__)

CONCURRENCY = 16
"""Deliveries that one process sends at once."""
PER_ENDPOINT = 4
"""Of them, to one endpoint: one that hangs must not keep the others waiting."""

_PURGE_ROWS = 5000

_under_way: Counter[uuid.UUID] = Counter()
_lock = threading.Lock()


def run_attempt(delivery_id: uuid.UUID, attempt: int) -> None:
    """Sends the delivery unless it has ended or another task has sent this attempt. Raises `Later`; nothing else."""
    try:
        delivery = _pending(delivery_id, attempt)
        if delivery is not None:
            context.begin("", organization=str(delivery.organization_id))
            with _slot(delivery.endpoint_id):
                send(delivery)
    except Later:
        raise
    except Exception:
        log.exception("the delivery could not be recorded; trying again", extra={"delivery_id": str(delivery_id)})
        raise Later(30) from None
    finally:
        connection.close()


def send(delivery: WebhookDelivery, resolver: targets.Resolver = targets.resolve) -> None:
    """One attempt, and what follows from it. No transaction is open while it runs."""
    endpoint = delivery.endpoint
    if not endpoint.active and delivery.event != TEST_EVENT:
        _write(delivery, status=DeliveryStatus.FAILED, error="The webhook is disabled.", next_attempt_at=None,
               finished_at=timezone.now())  # fmt: skip
        return
    body = json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"speech-platform-webhooks/{settings.VERSION}",
        **signing.headers(
            event_id=delivery.event_id,
            timestamp=int(time.time()),
            body=body,
            signing_secrets=[signing.secret_of(salt) for salt in _salts(endpoint)],
        ),
    }
    with db.released():
        outcome = sending.post(endpoint.url, headers=headers, body=body, resolver=resolver)
    metrics.webhook_attempted(delivered=outcome.delivered)
    log.info(
        "webhook attempt",
        extra={
            "delivery_id": str(delivery.id),
            "attempt": delivery.attempts + 1,
            "status": outcome.status,
            "error": outcome.error,
            "duration_ms": round(outcome.duration_seconds * 1000),
        },
    )
    _record(delivery, outcome)


def purge() -> int:
    """Deletes deliveries that are older than the retention period; how many."""
    before, deleted = timezone.now() - settings.WEBHOOK_DELIVERY_RETENTION, 0
    try:
        while ids := list(WebhookDelivery.objects.filter(created_at__lt=before).values_list("id")[:_PURGE_ROWS]):
            deleted += WebhookDelivery.objects.filter(id__in=[row[0] for row in ids]).delete()[0]
    finally:
        connection.close()
    return deleted


def _pending(delivery_id: uuid.UUID, attempt: int) -> WebhookDelivery | None:
    rows = WebhookDelivery.objects.select_related("endpoint")
    return rows.filter(id=delivery_id, status=DeliveryStatus.PENDING, attempts=attempt).first()


@contextmanager
def _slot(endpoint_id: uuid.UUID) -> Iterator[None]:
    with _lock:
        if _under_way[endpoint_id] >= PER_ENDPOINT:
            raise Later(random.randint(2, 10))  # noqa: S311  (only spreads the load)
        _under_way[endpoint_id] += 1
    try:
        yield
    finally:
        with _lock:
            _under_way[endpoint_id] -= 1
            if not _under_way[endpoint_id]:
                del _under_way[endpoint_id]


def _salts(endpoint: WebhookEndpoint) -> list[str]:
    """The present one and, for a day after a rotation, the one before."""
    overlap = endpoint.previous_until is not None and endpoint.previous_until > timezone.now()
    return [endpoint.salt, endpoint.previous_salt] if overlap else [endpoint.salt]


# ── After an attempt ────────────────────────────────────────────────────────────────────────────────────────────────


def _record(delivery: WebhookDelivery, outcome: Outcome) -> None:
    now, attempts = timezone.now(), delivery.attempts + 1
    wait = None if outcome.delivered or outcome.status == 410 else _wait_before(attempts, delivery)
    status = DeliveryStatus.DELIVERED if outcome.delivered else DeliveryStatus.FAILED
    entry = {
        "at": json_time(now),
        "status": outcome.status,
        "error": outcome.error,
        "duration_seconds": outcome.duration_seconds,
    }
    with transaction.atomic():
        written = _write(
            delivery,
            status=DeliveryStatus.PENDING if wait else status,
            attempts=attempts,
            response_status=outcome.status,
            response_excerpt=outcome.excerpt,
            error=outcome.error,
            duration_seconds=outcome.duration_seconds,
            next_attempt_at=now + wait if wait else None,
            finished_at=None if wait else now,
            log=[*delivery.log, entry],
        )
        if not written:
            return  # another worker sent this attempt too, and wrote first
        if wait:
            events.enqueue(delivery)
        if delivery.event != TEST_EVENT:
            _judge(delivery.endpoint, outcome)
    if not wait:
        metrics.webhook_ended(status)


def _wait_before(attempts: int, delivery: WebhookDelivery) -> timedelta | None:
    """How long until the next attempt; None after the last."""
    waits = settings.WEBHOOK_RETRY_SECONDS
    if delivery.event == TEST_EVENT or attempts > len(waits):
        return None
    return timedelta(seconds=waits[attempts - 1] * random.uniform(0.8, 1.2))  # noqa: S311  (only spreads the load)


def _write(delivery: WebhookDelivery, **fields: object) -> bool:
    """Changes the row, unless another task did first; then `delivery` stays as it was."""
    rows = WebhookDelivery.objects.filter(
        id=delivery.id, status=DeliveryStatus.PENDING, attempts=delivery.attempts
    )  # fmt: skip
    if not rows.update(**fields):
        return False
    for name, value in fields.items():
        setattr(delivery, name, value)
    return True


def _judge(endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    """Counts failures in a row; disables an endpoint that is gone, or that has failed for days."""
    rows = WebhookEndpoint.objects.filter(id=endpoint.id)
    if outcome.delivered:
        rows.filter(consecutive_failures__gt=0).update(consecutive_failures=0, failing_since=None)
        return
    now = timezone.now()
    rows.update(consecutive_failures=F("consecutive_failures") + 1, failing_since=Coalesce("failing_since", now))
    lasting = rows.filter(
        consecutive_failures__gte=settings.WEBHOOK_DISABLE_FAILURES,
        failing_since__lte=now - settings.WEBHOOK_DISABLE_AFTER,
    )
    if outcome.status == 410:
        _disable(endpoint, "The endpoint answered 410: it is gone.")
    elif lasting.exists():
        days = settings.WEBHOOK_DISABLE_AFTER.days
        _disable(endpoint, f"Every attempt of the last {days} days failed. The last one: {outcome.error}"[:300])


def _disable(endpoint: WebhookEndpoint, reason: str) -> None:
    active = WebhookEndpoint.objects.filter(id=endpoint.id, active=True)
    if not active.update(active=False, disabled_at=timezone.now(), disabled_reason=reason):
        return
    events.forget_subscriptions(endpoint.organization_id)
    audit.record(actor=None, action="webhook.disabled", target=endpoint, reason=reason)
    events.publish(
        organization_id=endpoint.organization_id,
        event=Event.WEBHOOK_DISABLED,
        data=lambda: {"webhook_id": str(endpoint.id), "url": endpoint.url, "reason": reason},
        object_id=endpoint.id,
    )
