"""One usage record a job: what was done, for whom, with what."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import OrganizationOwned
from jobs.models import JobStatus


class Task(models.TextChoices):
    TTS = "tts", "Text to speech"
    STT = "stt", "Speech to text"


class UsageRecord(OrganizationOwned):
    """Never changed after it is written. Quantities are what is billed: zero for a failed job.

    `organization` and the day are the index that every summary uses. The job may be deleted; the record stays.
    """

    task = models.CharField(max_length=8, choices=Task.choices)
    job_id = models.UUIDField(unique=True)
    status = models.CharField(max_length=16, choices=JobStatus.choices)
    model = models.CharField(max_length=100, blank=True)
    user = models.ForeignKey("accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    api_key = models.ForeignKey("accounts.ApiKey", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    characters = models.PositiveIntegerField(default=0)
    audio_seconds = models.FloatField(default=0)
    compute_seconds = models.FloatField(default=0)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["organization", "created_at"], name="usage_by_day")]

    def __str__(self) -> str:
        return f"{self.task} {self.status}: {self.characters} characters, {self.audio_seconds:.1f} s"
