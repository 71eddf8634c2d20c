"""Uploaded audio, transcription jobs and their results."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models

from analytics.models import Task
from common.models import OrganizationOwned
from jobs.models import Job


class AudioFile(OrganizationOwned):
    """An upload, as it came."""

    filename = models.CharField(max_length=255, blank=True, help_text="As the client named it.")
    content_type = models.CharField(max_length=100, blank=True)
    size_bytes = models.BigIntegerField()
    key = models.CharField(max_length=255, help_text="Where it lies in the storage.")

    class Meta:
        verbose_name = "audio file"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.filename or str(self.id)


class TranscriptionDefaults(OrganizationOwned):
    """What an organisation's requests ask for where they say nothing. Null: the platform's own default."""

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, related_name="transcription_defaults"
    )
    itn = models.BooleanField(null=True, blank=True, verbose_name="write numbers as digits")
    punctuate = models.BooleanField(null=True, blank=True)
    profanity_filter = models.BooleanField(null=True, blank=True)
    redact = models.BooleanField(null=True, blank=True, help_text="E-mail addresses, telephone and card numbers.")
    disable = ArrayField(
        models.CharField(max_length=32), default=list, blank=True, help_text="Names of stages to leave out."
    )

    class Meta:
        verbose_name = "transcription defaults"
        verbose_name_plural = "transcription defaults"

    def __str__(self) -> str:
        return f"transcription defaults of {self.organization}"


class SttJob(Job):
    """One recording, transcribed once."""

    task: ClassVar[str] = Task.STT

    filename = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="As the client named it; for as long as the text would be kept.",
    )
    audio = models.OneToOneField(AudioFile, null=True, on_delete=models.SET_NULL, related_name="job")
    options = models.JSONField(default=dict, blank=True, help_text="The request's, over the organisation's defaults.")
    reference_key = models.CharField(
        max_length=255, blank=True, help_text="Where the far end's signal lies in the storage, for echo cancellation."
    )
    duration_seconds = models.FloatField(null=True, blank=True)
    model = models.CharField(max_length=100, blank=True)

    class Meta(Job.Meta):
        verbose_name = "transcription job"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="stt_newest"),
            models.Index(fields=["organization", "status", "-created_at"], name="stt_by_status"),
            models.Index(fields=["heartbeat_at"], condition=models.Q(status="processing"), name="stt_running"),
        ]


class Transcription(OrganizationOwned):
    """What was said."""

    job = models.OneToOneField(SttJob, on_delete=models.CASCADE, related_name="transcription")
    text = models.TextField(blank=True)
    language = models.CharField(max_length=35)
    language_confidence = models.FloatField()
    confidence = models.FloatField()
    segments = models.JSONField(help_text="[{start, end, text, confidence, speaker, words}], seconds.")
    model_used = models.CharField(max_length=100)
    fallback_reason = models.CharField(max_length=200, blank=True)
    quality = models.JSONField(help_text="{snr_db, speech_ratio, clipping_ratio, score}")
    stages = models.JSONField(help_text="The names of the stages that ran.")
    edited_at = models.DateTimeField(null=True, blank=True, help_text="When somebody last corrected the text.")

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [GinIndex(SearchVector("text", config="simple"), name="transcription_words")]

    def __str__(self) -> str:
        return self.text[:80]


class ShadowTranscription(OrganizationOwned):
    """What a version on trial heard in the same recording: to be compared, never an answer, never billed.

    It goes with the transcription that it is compared with, and so with everything that deletes that.
    """

    transcription = models.OneToOneField(Transcription, on_delete=models.CASCADE, related_name="shadow")
    rollout = models.ForeignKey("models_registry.Rollout", on_delete=models.CASCADE, related_name="+")
    version = models.CharField(max_length=64)
    text = models.TextField(blank=True)
    language = models.CharField(max_length=35)
    confidence = models.FloatField()

    class Meta:
        verbose_name = "shadow transcription"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.text[:80]
