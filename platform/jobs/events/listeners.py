"""Who listens: a row for each open stream, kept alive by its process, gone from memory of all after LEASE_SECONDS."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from common import errors
from jobs.models import LISTENER_LEASE_SECONDS, EventListener
from jobs.services import lock_organization

_SETTLE_SECONDS = 1.0


def join(organization_id: uuid.UUID) -> uuid.UUID:
    """Registers a listener: what is committed from here on is notified. Raises RateLimited when there are too many."""
    with transaction.atomic():
        lock_organization(organization_id)
        if _alive(organization_id) >= settings.JOB_EVENTS_MAX_LISTENERS:
            raise errors.RateLimited(
                f"The organisation has {settings.JOB_EVENTS_MAX_LISTENERS} open event streams; close one.",
                code="too_many_listeners",
                retry_after_seconds=LISTENER_LEASE_SECONDS,
            )
        row = EventListener.objects.create(organization_id=organization_id, seen_at=Now())
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text")
            (transaction_id,) = cursor.fetchone()
    _wait_for_transactions_before(transaction_id)
    return row.id


def leave(listener_id: uuid.UUID) -> None:
    EventListener.objects.filter(id=listener_id).delete()


def keep_alive(listener_ids: Collection[uuid.UUID]) -> None:
    EventListener.objects.filter(id__in=listener_ids).update(seen_at=Now())


def purge() -> int:
    """Deletes the rows of processes that died."""
    return EventListener.objects.filter(seen_at__lt=Now() - timedelta(seconds=LISTENER_LEASE_SECONDS)).delete()[0]


def _alive(organization_id: uuid.UUID) -> int:
    recent = Now() - timedelta(seconds=LISTENER_LEASE_SECONDS)
    return EventListener.objects.filter(organization_id=organization_id, seen_at__gt=recent).count()


def _wait_for_transactions_before(transaction_id: str) -> None:
    """Until those that began before the listener was there, and so notify nobody, have ended: a snapshot has them.

    Bounded: of a transaction that is open for longer, the listener may miss what it commits.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot()) > %s::xid8", [transaction_id])
            if cursor.fetchone()[0]:
                return
            time.sleep(0.02)
