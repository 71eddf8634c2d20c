"""Reads: transcription jobs, and what they heard."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet

from accounts.actors import Actor
from common.access import get_owned, owned_by
from ml.types import Segment, Word
from stt.models import SttJob, Transcription


def list_jobs(*, actor: Actor, status: str | None = None) -> QuerySet[SttJob]:
    jobs = owned_by(actor, SttJob).select_related("transcription")
    return jobs.filter(status=status) if status else jobs


def get_job(*, actor: Actor, job_id: uuid.UUID) -> SttJob:
    return get_owned(actor, SttJob.objects.select_related("transcription", "audio"), job_id)


def segments(transcription: Transcription) -> tuple[Segment, ...]:
    """The stored segments as the runtime's type, for subtitles and exports."""
    return tuple(
        Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
        for segment in transcription.segments
    )
