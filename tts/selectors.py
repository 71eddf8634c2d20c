"""Reads: jobs and voices."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet

from accounts.actors import Actor
from common import errors
from common.access import get_owned, owned_by
from jobs import selectors as jobs
from ml import tts as engine
from ml.errors import UnknownVoice
from ml.tts import Variant
from ml.types import SynthesisOptions, Voice
from tts.models import TtsJob


def list_jobs(*, actor: Actor, q: str = "", **filters: Any) -> QuerySet[TtsJob]:
    """Newest first. q: words of the text; `filters` are those of `jobs.selectors.filtered`."""
    found = jobs.filtered(owned_by(actor, TtsJob).defer("timestamps"), **filters)
    return jobs.with_words(found, q) if q else found


def get_batch(*, actor: Actor, batch_id: uuid.UUID) -> list[TtsJob]:
    return jobs.get_batch(actor=actor, jobs=TtsJob.objects.all(), batch_id=batch_id)


def get_job(*, actor: Actor, job_id: uuid.UUID) -> TtsJob:
    return get_owned(actor, TtsJob, job_id)


def get_timestamps(*, actor: Actor, job_id: uuid.UUID) -> dict[str, Any]:
    """As `ml.tts.timeline` tells them. Raises NotFound where nobody asked for them, or they were deleted."""
    told = get_job(actor=actor, job_id=job_id).timestamps
    if not told:
        raise errors.NotFound("The job has no timestamps: ask for them with timestamps=true.", code="no_timestamps")
    return dict(told)


def list_voices(*, language: str | None = None) -> list[Voice]:
    """Built-in voices, those of `language` (a BCP-47 tag or its first part) where it is given."""
    voices = list(engine.voices())
    if language is None:
        return voices
    wanted = language.lower()
    return [voice for voice in voices if f"{voice.language.lower()}-".startswith(f"{wanted}-")]


def list_variants() -> tuple[Variant, ...]:
    """The timbres that any espeak voice can be given."""
    return engine.variants()


def get_voice(*, voice_id: str) -> Voice:
    """A voice, with or without a variant."""
    try:
        return engine.resolve(SynthesisOptions(voice=voice_id))
    except UnknownVoice as error:
        raise errors.NotFound(error.message) from None
