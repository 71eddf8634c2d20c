"""What synthesis and transcription jobs share: states, credentials, times, errors.

    queued → processing → succeeded | failed | cancelled

The row is the truth. Only `jobs.services` moves it, by conditional updates whose count is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from common.models import OrganizationOwned

if TYPE_CHECKING:
    from analytics.services import Metered


class JobStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    PROCESSING = "processing", "Processing"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


UNFINISHED = (JobStatus.QUEUED, JobStatus.PROCESSING)

MODELS = {"tts": "tts.TtsJob", "stt": "stt.SttJob"}
"""By task."""


class Job(OrganizationOwned):
    """Work on one text or one recording.

    `attempts` is also the fence: a worker that lost its lease writes with an old number, and so nothing.
    """

    task: ClassVar[str]
    metered: Metered | None = None  # what has been computed so far, while it runs here

    # Not the time of writing the row, which comes after a job that runs at once has begun.
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    user = models.ForeignKey("accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    api_key = models.ForeignKey("accounts.ApiKey", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    batch_id = models.UUIDField(null=True, blank=True, db_index=True)
    custom_id = models.CharField(max_length=100, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    is_async = models.BooleanField(default=False, help_text="Queued, rather than run while its client waits.")
    turn = models.PositiveIntegerField(default=0, help_text="Its place in the queue: organisations take turns.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often a worker has taken it.")
    worker = models.CharField(max_length=128, blank=True, help_text="host:process that runs it.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    progress = models.FloatField(default=0, help_text="The share that is done, 0–1.")
    stage = models.CharField(max_length=32, blank=True, help_text="What is being done.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    timings = models.JSONField(default=dict, blank=True, help_text="Seconds by stage.")

    class Meta:
        abstract = True
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.id} ({self.status})"


class IdempotencyRecord(OrganizationOwned):
    """A request that may be sent again, and its answer. Only `jobs.idempotency` writes it.

    `attempt` is the fence: whoever lost the record to another writes with an old one, and so nothing.
    """

    class Source(models.TextChoices):
        HEADER = "header", "Idempotency-Key"
        RETRY = "retry", "x-stainless-retry-count"

    credential = models.CharField(max_length=64, help_text="Whose request: key:<id> or user:<id>.")
    source = models.CharField(max_length=8, choices=Source.choices)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request.")
    attempt = models.UUIDField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    awaited_at = models.DateTimeField(null=True, help_text="When somebody last waited for the answer.")
    expires_at = models.DateTimeField(db_index=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="Of the answer; empty while it is being made.")
    location = models.CharField(max_length=255, blank=True)
    body = models.TextField(blank=True, help_text="JSON.")
    job_ids = ArrayField(models.UUIDField(), default=list, help_text="The jobs in the answer.")
    content_type = models.CharField(max_length=100, blank=True)
    audio_key = models.CharField(max_length=255, blank=True, help_text="Of an answer that was streamed.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "credential", "source", "key"], name="idempotency_once")
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.key[:40]}"


class Batch(OrganizationOwned):
    """Jobs that one request asked for. Its id is their `batch_id`. Only `jobs.batches` writes it."""

    task = models.CharField(max_length=8)
    size = models.PositiveIntegerField(help_text="Items that were asked for; those that were refused are no jobs.")
    closed = models.BooleanField(default=False, help_text="Whether all of its jobs have been created.")
    finished_at = models.DateTimeField(null=True, help_text="When the last of its jobs ended.")

    class Meta:
        verbose_name = "batch"
        verbose_name_plural = "batches"
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="batch_newest"),
            models.Index(fields=["created_at"], condition=models.Q(closed=False), name="batch_open"),
        ]

    def __str__(self) -> str:
        return f"batch of {self.size}, {self.created_at:%Y-%m-%d %H:%M}"


LISTENER_LEASE_SECONDS = 60
"""An event stream whose process gave no sign of life for so long is gone. The triggers know the number too."""


class EventListener(OrganizationOwned):
    """An open stream of `GET /jobs/events`. The triggers on the job tables notify where an organisation has one.

    The table is unlogged: after a crash of the database nobody listens any more.
    """

    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"listener of {self.organization_id}"
