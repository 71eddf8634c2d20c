"""Synthesis jobs."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models

from analytics.models import Task
from jobs.models import Job
from ml.types import MOST_VOICE_CHARACTERS
from tts.defaults.models import SpeechDefaults
from tts.lexicons.models import PronunciationLexicon, VoiceDefaults

__all__ = ["PronunciationLexicon", "SpeechDefaults", "TtsJob", "VoiceDefaults"]


class TtsJob(Job):
    """One text, spoken once."""

    task: ClassVar[str] = Task.TTS

    text = models.TextField()
    characters = models.PositiveIntegerField()
    language = models.CharField(max_length=35)
    voice = models.CharField(max_length=MOST_VOICE_CHARACTERS)
    model = models.CharField(max_length=100)
    format = models.CharField(max_length=16)
    sample_rate = models.PositiveIntegerField(help_text="Hertz.")
    options = models.JSONField(default=dict, blank=True, help_text="speed, pitch, volume, ssml, loudness, lexicon, …")
    warnings = models.JSONField(null=True, blank=True, help_text="What of the request could not be done, in sentences.")
    timestamps = models.JSONField(null=True, blank=True, help_text="When words, sentences and marks are heard.")
    verification = models.JSONField(null=True, blank=True, help_text="What a recogniser heard: wer, text, model.")
    duration_seconds = models.FloatField(null=True, blank=True)
    audio_key = models.CharField(max_length=255, blank=True, help_text="Where the audio lies in the storage.")

    class Meta(Job.Meta):
        verbose_name = "synthesis job"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="tts_newest"),
            models.Index(fields=["organization", "status", "-created_at"], name="tts_by_status"),
            models.Index(fields=["heartbeat_at"], condition=models.Q(status="processing"), name="tts_running"),
            GinIndex(SearchVector("text", config="simple"), name="tts_words"),
        ]
