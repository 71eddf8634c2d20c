"""Where an organisation's events are sent, and what became of each."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from common.models import OrganizationOwned
from webhooks import signing


class Event(models.TextChoices):
    """What an endpoint can subscribe to."""

    JOB_SUCCEEDED = "job.succeeded", "Job succeeded"
    JOB_FAILED = "job.failed", "Job failed"
    JOB_CANCELLED = "job.cancelled", "Job cancelled"
    BATCH_FINISHED = "batch.finished", "Batch finished"
    VOICE_READY = "voice.ready", "Voice ready"
    VOICE_FAILED = "voice.failed", "Voice failed"
    QUOTA_WARNING = "quota.warning", "Quota warning"
    QUOTA_EXCEEDED = "quota.exceeded", "Quota exceeded"
    WEBHOOK_DISABLED = "webhook.disabled", "Another webhook was disabled"


TEST_EVENT = "webhook.test"


class WebhookEndpoint(OrganizationOwned):
    """A URL that is told of events.

    Signing needs the secret itself, so a digest as of an API key would not do. The table holds a salt only, from which
    and from the server's pepper the secret is derived (`webhooks.signing`): a stolen table signs nothing.
    """

    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    events = ArrayField(models.CharField(max_length=32, choices=Event.choices))
    active = models.BooleanField(default=True)
    salt = models.CharField(max_length=32, default=signing.new_salt, editable=False)
    previous_salt = models.CharField(max_length=32, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    consecutive_failures = models.PositiveIntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    created_by = models.ForeignKey(
        "accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    class Meta:
        verbose_name = "webhook"
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["organization"], condition=models.Q(active=True), name="webhook_active"),
        ]

    def __str__(self) -> str:
        """Without path and query, which often hold a token of the receiver."""
        parts = urlsplit(self.url)
        origin = f"{parts.scheme}://{parts.hostname}"
        return f"{self.description} ({origin})" if self.description else origin


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class WebhookDelivery(OrganizationOwned):
    """One event for one endpoint. `attempts` is also the fence: only the task of the next attempt writes."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.CharField(max_length=40, help_text="The receiver's idempotency key, the same at each attempt.")
    event = models.CharField(max_length=32)
    object_id = models.UUIDField(null=True, help_text="What the event is about.")
    payload = models.JSONField(encoder=DjangoJSONEncoder)
    status = models.CharField(max_length=16, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    response_status = models.PositiveSmallIntegerField(null=True, help_text="Of the last attempt.")
    response_excerpt = models.TextField(blank=True, help_text="The beginning of the last answer, 1 kB at most.")
    error = models.CharField(max_length=300, blank=True, help_text="Why the last attempt failed.")
    duration_seconds = models.FloatField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    log = models.JSONField(default=list, help_text="Each attempt: at, status, error, duration_seconds.")

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["endpoint", "-created_at"], name="delivery_by_time"),
            models.Index(fields=["created_at"], name="delivery_age"),
            models.Index(fields=["object_id"], name="delivery_object"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.event_id} ({self.status})"
