"""Rows that mirror what the runtime can serve."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from analytics.models import Task
from common.models import Identified


class ModelStatus(models.TextChoices):
    REGISTERED = "registered", "Registered"
    LOADING = "loading", "Loading"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class ModelVersion(Identified):
    """One version of one model. Models belong to the installation, not to an organisation."""

    task = models.CharField(max_length=8, choices=Task.choices)
    family = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    version = models.CharField(max_length=64)
    engine = models.CharField(max_length=64)
    languages = ArrayField(models.CharField(max_length=35), default=list, blank=True)
    status = models.CharField(max_length=16, choices=ModelStatus.choices, default=ModelStatus.REGISTERED)
    is_default = models.BooleanField(default=False)
    memory_bytes = models.BigIntegerField(null=True, blank=True)
    loaded_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = "model version"
        ordering: ClassVar = ["task", "name", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "name", "version"], name="model_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"
