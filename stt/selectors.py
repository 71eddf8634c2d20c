"""Reads: transcription jobs, and what they heard."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet

from accounts.actors import Actor
from common import errors
from common.access import get_owned, owned_by
from jobs import selectors as jobs
from ml.types import Segment, Word
from stt.models import SttJob, Transcription, TranscriptionDefaults


def list_jobs(*, actor: Actor, q: str = "", **filters: Any) -> QuerySet[SttJob]:
    """Newest first. q: words of the transcript; `filters` are those of `jobs.selectors.filtered`."""
    found = jobs.filtered(owned_by(actor, SttJob).select_related("transcription", "audio"), **filters)
    if not q:
        return found
    return found.filter(id__in=jobs.with_words(owned_by(actor, Transcription), q).values("job_id"))


def get_batch(*, actor: Actor, batch_id: uuid.UUID) -> list[SttJob]:
    return jobs.get_batch(
        actor=actor, jobs=SttJob.objects.all().select_related("transcription", "audio"), batch_id=batch_id
    )


def get_job(*, actor: Actor, job_id: uuid.UUID) -> SttJob:
    return get_owned(actor, SttJob.objects.select_related("transcription", "audio"), job_id)


def get_transcription(*, actor: Actor, job_id: uuid.UUID) -> Transcription:
    """What is known about a job's transcript; its text and its segments are read when somebody looks at them."""
    found = owned_by(actor, Transcription).filter(job_id=job_id).defer("text", "segments").first()
    if found is None:
        raise errors.NotFound(f"No such transcription: {job_id}.")
    return found


def get_defaults(*, actor: Actor) -> TranscriptionDefaults | None:
    """No query where the organisation was read with its settings, as by its credential."""
    return getattr(actor.organization, "transcription_defaults", None)


def segments(transcription: Transcription) -> tuple[Segment, ...]:
    """The stored segments as the runtime's type, for subtitles and exports."""
    return tuple(
        Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
        for segment in transcription.segments
    )
