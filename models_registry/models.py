"""Rows that mirror what the runtime can serve, and what each process of it does."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Coalesce

from common.models import Identified, OrganizationOwned
from jobs.models import UNFINISHED, JobStatus

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
    replaced = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        help_text="The version that it took over from; a roll-back goes there.",
    )  # fmt: skip
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


class Installation(Identified):
    """A model of the catalogue on its way to MODEL_BASE_PATH. Written by `models_registry.installations` alone."""

    model = models.CharField(max_length=200, help_text="Its name in the catalogue.")
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    stage = models.CharField(max_length=64, blank=True)
    fetched_bytes = models.BigIntegerField(default=0)
    total_bytes = models.BigIntegerField(default=0, help_text="Zero: not known yet.")
    error_message = models.TextField(blank=True)
    version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, related_name="+",
        help_text="In whose audit trail it stands: models belong to the server.",
    )  # fmt: skip
    role = models.CharField(max_length=16, help_text="Of the person there, at the request.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["model"], condition=models.Q(status__in=UNFINISHED), name="installation_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return self.model

    @property
    def progress(self) -> float | None:
        """0–1; None where it is not known."""
        return min(1.0, self.fetched_bytes / self.total_bytes) if self.total_bytes else None


class EvaluationManifest(Identified):
    """Recordings that a version is measured on before it is promoted: an organisation's, or the installation's own."""

    organization = models.ForeignKey(
        "accounts.Organization", null=True, blank=True, on_delete=models.CASCADE, related_name="+",
        help_text="Empty: the installation's.",
    )  # fmt: skip
    path = models.CharField(max_length=1000, help_text="JSON Lines, on the machine where models are promoted.")

    class Meta:
        verbose_name = "evaluation manifest"
        constraints: ClassVar = [
            models.UniqueConstraint(
                Coalesce("organization", models.Value(uuid.UUID(int=0), models.UUIDField())),
                name="evaluation_manifest_once",
            )
        ]

    def __str__(self) -> str:
        return self.path


class RolloutMode(models.TextChoices):
    CANARY = "canary", "Canary"  # a share of the requests is answered by the candidate
    SHADOW = "shadow", "Shadow"  # the candidate hears a share of the requests too, and nobody is given what it says


class RolloutStatus(models.TextChoices):
    RUNNING = "running", "Running"
    PROMOTED = "promoted", "Promoted"
    ENDED = "ended", "Ended"
    ROLLED_BACK = "rolled_back", "Rolled back"


class Rollout(Identified):
    """A version that is tried on real requests, beside the active one of its name.

    Every process that serves follows the rows that run. Only `models_registry.watching` ends one, conditionally, so
    that of a person and an automatic roll-back one comes first.
    """

    task = models.CharField(max_length=16, choices=ModelTask.choices)
    name = models.CharField(max_length=100)
    candidate = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="rollouts")
    active_version = models.CharField(max_length=64, help_text="That served when it began, and is compared with.")
    mode = models.CharField(max_length=8, choices=RolloutMode.choices)
    share = models.FloatField(help_text="Of the requests, 0–1; which ones is decided by their jobs' ids.")
    organization = models.ForeignKey(
        "accounts.Organization", null=True, blank=True, on_delete=models.CASCADE, related_name="+",
        help_text="Whose requests; empty: everybody's.",
    )  # fmt: skip
    max_failure_rate = models.FloatField(help_text="Of a canary's requests; more, and it is rolled back.")
    max_slowdown = models.FloatField(help_text="Times the active version's median; more, and it is rolled back.")
    min_samples = models.PositiveIntegerField(help_text="Requests before a canary's speed is judged.")
    forced = models.BooleanField(default=False, help_text="Begun in spite of its error rate, or without one.")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was begun.")
    started_by = models.CharField(max_length=254, blank=True)
    status = models.CharField(max_length=16, choices=RolloutStatus.choices, default=RolloutStatus.RUNNING)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "name"], condition=models.Q(status="running"), name="rollout_one_running"
            ),
            models.CheckConstraint(condition=models.Q(share__gt=0, share__lte=1), name="rollout_share"),
        ]

    def __str__(self) -> str:
        return f"{self.mode} of {self.candidate}"


class Arm(models.TextChoices):
    ACTIVE = "active", "Active"
    CANDIDATE = "candidate", "Candidate"


class RolloutSample(OrganizationOwned):
    """What one version made of one request, in numbers: no text, so that it may stay when the request is deleted."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="samples")
    job_id = models.UUIDField()
    arm = models.CharField(max_length=16, choices=Arm.choices)
    error_code = models.CharField(max_length=64, blank=True, help_text="Empty: it answered.")
    confidence = models.FloatField(null=True)
    audio_seconds = models.FloatField(default=0.0)
    recognise_seconds = models.FloatField(null=True, help_text="Its turn in the queue included.")
    words = models.PositiveIntegerField(null=True, help_text="Of the active version's text; of shadows.")
    wrong_words = models.PositiveIntegerField(null=True, help_text="Where the candidate's text differs from that.")

    class Meta:
        verbose_name = "rollout sample"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rollout", "job_id", "arm"], name="rollout_sample_once")
        ]

    def __str__(self) -> str:
        return f"{self.arm} of {self.job_id}"


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
