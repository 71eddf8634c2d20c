"""Usage: one record a job of what was done, for whom, with what; and what an organisation may use in a month."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models

from common.models import Identified, OrganizationOwned
from jobs.models import JobStatus


class Task(models.TextChoices):
    TTS = "tts", "Text to speech"
    STT = "stt", "Speech to text"


class UsageRecord(OrganizationOwned):
    """Never changed after it is written. Quantities are what is billed: zero for a failed job.

    Summaries read `UsageDay`, which adds these up. The job may be deleted; the record stays.
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
        task, status = self.get_task_display(), self.get_status_display().lower()
        return f"{task}, {status}: {self.characters:,} characters, {self.audio_seconds:.1f} s"


class UsageDay(models.Model):
    """What the usage records of a day (UTC) add up to, by all that summaries group by.

    Triggers on the records' table keep it exact, in the transaction that writes a record (migration 0003): pages and
    quotas read these few rows instead of a month of records. Nothing else writes here.
    """

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    task = models.CharField(max_length=8, choices=Task.choices)
    status = models.CharField(max_length=16, choices=JobStatus.choices)
    model = models.CharField(max_length=100, blank=True)
    # No foreign keys: where a person or a key is deleted, the records lose it, and the triggers add up anew.
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    jobs = models.BigIntegerField()
    characters = models.BigIntegerField()
    audio_seconds = models.DecimalField(max_digits=20, decimal_places=6)

    def __str__(self) -> str:
        return f"{self.day} {self.task} {self.status}: {self.jobs}"


class Quota(Identified):
    """What an organisation may use in a calendar month (UTC), and at once. Empty: no limit.

    An organisation without a row has the installation's limits (QUOTA_DEFAULT_…). Write it with
    `analytics.quota.set_quota`.
    """

    organization = models.OneToOneField("accounts.Organization", on_delete=models.CASCADE, related_name="quota")
    monthly_characters = models.PositiveBigIntegerField(null=True, blank=True, help_text="Characters spoken.")
    monthly_audio_seconds = models.PositiveBigIntegerField(null=True, blank=True, help_text="Seconds transcribed.")
    max_concurrent_jobs = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Jobs that compute at the same time."
    )
    monthly_budget = models.DecimalField(
        max_digits=14, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)],
        help_text="In your currency; needs prices.",
    )  # fmt: skip
    price_per_million_characters = models.DecimalField(
        max_digits=14, decimal_places=4, default=0, validators=[MinValueValidator(0)]
    )
    price_per_audio_hour = models.DecimalField(
        max_digits=14, decimal_places=4, default=0, validators=[MinValueValidator(0)]
    )

    class Meta:
        ordering: ClassVar = ["organization__name"]

    def __str__(self) -> str:
        return f"quota of {self.organization}"


class QuotaPeriod(OrganizationOwned):
    """What an organisation with a limit has used, and holds for jobs under way, in one month.

    Only `analytics.quota` writes it, in single UPDATE statements. Seconds are decimal, so that what was reserved is
    released to the millisecond.
    """

    month = models.DateField(help_text="Its first day (UTC).")
    used_characters = models.BigIntegerField(default=0)
    used_audio_seconds = models.DecimalField(max_digits=16, decimal_places=3, default=0)
    reserved_characters = models.BigIntegerField(default=0)
    reserved_audio_seconds = models.DecimalField(max_digits=16, decimal_places=3, default=0)
    notified_80 = models.BooleanField(default=False)
    notified_100 = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["-month"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["organization", "month"], name="quota_period_once")]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class Reservation(OrganizationOwned):
    """What one unfinished job may use. It goes when the job ends; `jobs.queue` looks for those that were left."""

    task = models.CharField(max_length=8, choices=Task.choices)
    job_id = models.UUIDField(unique=True)
    month = models.DateField(help_text="The period that it counts in.")
    characters = models.BigIntegerField(default=0)
    audio_seconds = models.DecimalField(max_digits=16, decimal_places=3, default=0)

    def __str__(self) -> str:
        return f"{self.task} job {self.job_id}: {self.characters} characters, {self.audio_seconds} s"
