"""Proof of deletion: what was deleted, when, why and by whom. Holds no content."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import Identified


class Reason(models.TextChoices):
    REQUEST = "request", "Requested"
    RETENTION = "retention", "Retention period over"
    ORGANIZATION = "organization", "Organisation deleted"


class DeletionRecord(Identified):
    """One deletion. Outlives the organisation, so it names it by id instead of referring to it."""

    organization_id = models.UUIDField(db_index=True)
    object_type = models.CharField(max_length=32, help_text="tts_job, stt_job, audio, transcript or organization.")
    object_id = models.UUIDField()
    reason = models.CharField(max_length=16, choices=Reason.choices)
    stored_objects = models.PositiveIntegerField(default=0, help_text="Files that were deleted from the storage.")
    deleted_by = models.CharField(max_length=64, blank=True, help_text="user:<id>, key:<id>, or empty for the system.")

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.object_type} {self.object_id} ({self.reason})"
