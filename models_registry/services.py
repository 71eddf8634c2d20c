"""Writes: mirrors what the runtime can serve into rows."""

from __future__ import annotations

from analytics.models import Task
from ml import stt, tts
from models_registry.models import ModelStatus, ModelVersion

EMBEDDED_VERSION = "builtin"


def register_embedded() -> list[ModelVersion]:
    """The rows of the recogniser and the synthesiser that come with the platform. Idempotent."""
    recogniser = stt.models()[0]
    voices = tts.voices()
    return [
        _upsert(
            task=Task.STT,
            family=recogniser.engine,
            name=recogniser.name,
            engine=recogniser.engine,
            languages=sorted(recogniser.capabilities.languages),
        ),
        _upsert(
            task=Task.TTS,
            family=voices[0].engine,
            name=voices[0].model,
            engine=voices[0].engine,
            languages=sorted({voice.language for voice in voices}),
        ),
    ]


def _upsert(*, task: str, family: str, name: str, engine: str, languages: list[str]) -> ModelVersion:
    row, _ = ModelVersion.objects.update_or_create(
        task=task,
        name=name,
        version=EMBEDDED_VERSION,
        defaults={
            "family": family,
            "engine": engine,
            "languages": languages,
            "status": ModelStatus.READY,
            "is_default": True,
        },
    )
    return row
