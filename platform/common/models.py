"""What the tables of the platform have in common."""

from __future__ import annotations

import uuid

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
