"""Reads the audit trail."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.actors import Actor
from audit.models import AuditEntry
from common.access import owned_by


def list_entries(
    *,
    actor: Actor,
    action: str | None = None,
    by: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEntry]:
    """Newest first.

    action: `api_key.created`, or `api_key` for all that was done with keys. by: an id or an e-mail address.
    since: from then on. until: before then.
    """
    rows = owned_by(actor, AuditEntry)
    if action:
        rows = rows.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if by:
        rows = rows.filter(actor_id=by) if _is_id(by) else rows.filter(actor_label=by.lower())
    if since:
        rows = rows.filter(created_at__gte=since)
    return rows.filter(created_at__lt=until) if until else rows


def _is_id(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
