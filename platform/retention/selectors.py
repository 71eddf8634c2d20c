"""Reads: the proof of what was deleted."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.actors import Actor
from retention.models import DeletionRecord


def list_deletions(*, actor: Actor) -> QuerySet[DeletionRecord]:
    return DeletionRecord.objects.filter(organization_id=actor.organization.id)
