"""Rows that mirror what the runtime can serve, and what each process of it does."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from common.models import Identified

EMBEDDED_VERSION = "builtin"
"""The version of the models that come with the platform: they have no folder and cannot be removed."""


class ModelTask(models.TextChoices):
    """As in `ml.artifacts.TASKS`."""

    STT = "stt", "Speech to text"
    TTS = "tts", "Text to speech"
    PUNCTUATION = "punctuation", "Punctuation"
    DIARIZATION = "diarization", "Diarization"
    SPEAKER = "speaker", "Speaker embedding"
    LANGUAGE = "language", "Spoken-language identification"
    LM = "lm", "Language model"


class ModelStatus(models.TextChoices):
    REGISTERED = "registered", "Registered"
    LOADING = "loading", "Loading"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class ModelVersion(Identified):
    """One version of one model: a folder under MODEL_BASE_PATH, or an embedded model.

    Models belong to the installation, not to an organisation. `model.json` is the truth about the model, the row about
    what the operator decided: which version is active, and which model is the default.
    """

    task = models.CharField(max_length=16, choices=ModelTask.choices)
    family = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    version = models.CharField(max_length=64)
    engine = models.CharField(max_length=64)
    format = models.CharField(max_length=64, blank=True)
    languages = ArrayField(models.CharField(max_length=35), default=list, blank=True)
    path = models.CharField(max_length=400, blank=True, help_text="Below MODEL_BASE_PATH; empty: embedded.")
    licence = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=500, blank=True)
    revision = models.CharField(max_length=64, blank=True, help_text="The commit of the hub that it came from.")
    bytes_on_disk = models.BigIntegerField(default=0)
    manifest_sha256 = models.CharField(max_length=64, blank=True, help_text="Of model.json without its results.")
    validated_sha256 = models.CharField(max_length=64, blank=True, help_text="The manifest that was loaded on trial.")
    results = models.JSONField(default=list, blank=True)

    is_active = models.BooleanField(default=False, help_text="The version that serves under this name.")
    is_default = models.BooleanField(default=False, help_text="Serves requests that name no model.")
    generation = models.PositiveIntegerField(default=0, help_text="Grows when processes are to load it anew.")
    warm_generation = models.PositiveIntegerField(default=0, help_text="Grows when processes are to load it now.")

    status = models.CharField(max_length=16, choices=ModelStatus.choices, default=ModelStatus.REGISTERED)
    memory_bytes = models.BigIntegerField(null=True, blank=True)
    loaded_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = "model version"
        ordering: ClassVar = ["task", "name", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "name", "version"], name="model_version_once"),
            models.UniqueConstraint(
                fields=["task", "name"], condition=models.Q(is_active=True), name="model_version_one_active"
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """As the command line takes it."""
        return f"{self.name}@{self.version}"

    @property
    def is_embedded(self) -> bool:
        return self.version == EMBEDDED_VERSION


class WorkerState(models.Model):
    """What a process says about itself every few seconds; one that is silent for long is gone."""

    id = models.CharField(max_length=200, primary_key=True, help_text="host:process:start")
    kind = models.CharField(max_length=16)
    host = models.CharField(max_length=150)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    memory_bytes = models.BigIntegerField(null=True, blank=True, help_text="Resident memory of the process.")
    reports = models.JSONField(default=list, help_text="A ModelReport for each model: see models_registry.runtime.")

    class Meta:
        verbose_name = "worker"
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.id
