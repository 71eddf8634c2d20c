"""What the tables of the platform have in common."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import models


class Identified(models.Model):
    """A row with a random id that may be shown to anyone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        abstract = True


class OrganizationOwned(Identified):
    """A row that belongs to one organisation. Reach it through `common.access`, never by id alone."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")

    class Meta:
        abstract = True


def differing(row: models.Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the row's fields do not have yet."""
    return {field: value for field, value in values.items() if getattr(row, field) != value}


def write(row: models.Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Saves those of `values` that differ from what the row has, and returns them: what the audit trail is told. Where
    nothing differs, nothing is written."""
    written = differing(row, values)
    for field, value in written.items():
        setattr(row, field, value)
    if written:
        stamps = (field.name for field in row._meta.concrete_fields if getattr(field, "auto_now", False))
        row.save(update_fields=[*written, *stamps])
    return written
