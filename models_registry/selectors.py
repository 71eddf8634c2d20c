"""Reads: what is installed and how it does."""

from __future__ import annotations

from django.db.models import QuerySet

from models_registry.models import ModelVersion


def list_models() -> QuerySet[ModelVersion]:
    return ModelVersion.objects.all()
